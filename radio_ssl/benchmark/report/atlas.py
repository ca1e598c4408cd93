"""The map and the gallery of an embedding, as the page shows them."""

import dataclasses

import bokeh.models
import bokeh.plotting
import numpy as np

from radio_ssl.benchmark.report import embedding, looks, plots

# What stands under the pointer.
_TOOLTIP = """
<div style="width: 150px">
  <img src="@image" width="144" height="144" alt="">
  <br><b>@class</b><br>@name<br>@split
</div>
"""


@dataclasses.dataclass(frozen=True)
class Picture:
  """An image of the gallery.

  Attributes:
    image: data URI.
    label: name of its class.
    name: of the source.
    cosine: with the query's features; None of the query.
    same: whether it is of the query's class; None of the query.
  """

  image: str
  label: str
  name: str
  cosine: float | None = None
  same: bool | None = None


def plot(its: embedding.Sources) -> bokeh.plotting.figure:
  """The map; the image of a source shows under the pointer."""
  places, how = embedding.positions(its)
  shown = len(its.names)
  drawn = f'{shown} images'
  if shown < its.num_all:
    drawn = f'{shown} of {its.num_all} images, drawn by chance'
  figure = bokeh.plotting.figure(
    title=f'{its.row.group[0]}: {its.row.label}, seed {its.seed}\n{how}, '
    f'{drawn}',
    width=610,
    height=600,
    tools=plots.TOOLS,
    toolbar_location='above',
  )
  figure.toolbar.logo = None
  figure.toolbar.active_drag = None
  names = its.row.label_names
  for number, colour in enumerate(looks.colours(len(names))):
    rows = np.flatnonzero(its.labels == number)
    source = bokeh.models.ColumnDataSource(
      {
        'x': places[rows, 0].astype(np.float32),
        'y': places[rows, 1].astype(np.float32),
        'class': [names[number]] * len(rows),
        'name': [its.names[row] for row in rows],
        'split': [its.splits[row] for row in rows],
        'image': [
          embedding.data_uri(its.pictures[row], embedding.MAP_PIX)
          for row in rows
        ],
      }
    )
    figure.scatter(
      'x',
      'y',
      size=7,
      color=colour,
      alpha=0.7,
      line_color='white',
      line_width=0.5,
      legend_label=f'{names[number]} ({len(rows)})',
      source=source,
    )
  figure.add_tools(bokeh.models.HoverTool(tooltips=_TOOLTIP))
  plots.place_legend(figure, columns=4)
  # Of t-SNE neither distances between groups nor axes mean anything.
  figure.axis.visible = False
  return figure


def gallery(its: embedding.Sources) -> list[list[Picture]]:
  """Rows of the gallery: a query, then those nearest to it."""
  found = []
  for query in embedding.gallery(its):
    line = [_picture(its, query.image)]
    for row, cosine in zip(query.neighbours, query.similarities, strict=True):
      line.append(
        dataclasses.replace(
          _picture(its, row),
          cosine=cosine,
          same=bool(its.labels[row] == its.labels[query.image]),
        )
      )
    found.append(line)
  return found


def _picture(its: embedding.Sources, row: int) -> Picture:
  return Picture(
    image=embedding.data_uri(its.pictures[row], embedding.GALLERY_PIX),
    label=its.row.label_names[its.labels[row]],
    name=its.names[row],
  )
