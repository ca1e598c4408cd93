"""The plots of the page: bokeh's, so that values show under the pointer."""

import pathlib
from collections.abc import Mapping, Sequence

import bokeh.models
import bokeh.plotting
import numpy as np

from radio_ssl.benchmark.report import curves, data, looks, pooled, scores

Looks = Mapping[tuple[str, str, str], looks.Look]

TOOLS = 'pan,box_zoom,wheel_zoom,reset,save'


def _figure(title: str, **settings) -> bokeh.plotting.figure:
  settings = {'width': 610, 'height': 340, 'tools': TOOLS, **settings}
  figure = bokeh.plotting.figure(
    title=title, toolbar_location='above', **settings
  )
  figure.toolbar.logo = None
  figure.toolbar.autohide = True
  figure.axis.minor_tick_line_color = None
  figure.toolbar.active_drag = None
  return figure


def place_legend(figure: bokeh.plotting.figure, columns: int = 2) -> None:
  """Below the plot, which grows; a click hides what it names."""
  legend = figure.legend[0]
  figure.add_layout(legend, 'below')
  legend.location = 'bottom_left'
  legend.click_policy = 'hide'
  legend.ncols = columns
  legend.label_text_font_size = '11px'
  legend.spacing = 10
  legend.border_line_color = None
  figure.height += 26 * -(-len(legend.items) // columns)


def _draw(
  figure: bokeh.plotting.figure,
  label: str,
  look: looks.Look,
  columns: Mapping[str, Sequence],
) -> list[bokeh.models.GlyphRenderer]:
  """A line with markers through columns x and y; x, low, high as whiskers."""
  source = bokeh.models.ColumnDataSource(dict(columns))
  style = {'color': look.colour, 'legend_label': label, 'source': source}
  figure.line('x', 'y', line_dash=look.dash, line_width=1.5, **style)
  if 'low' in columns:
    figure.segment('x', 'low', 'x', 'high', alpha=0.4, **style)
  points = figure.scatter('x', 'y', marker=look.markers[0], size=7, **style)
  return points


def accuracies(rows: Sequence[data.Row], style: Looks) -> bokeh.plotting.figure:
  """Accuracy of each row with its interval, the best cross-validated first."""
  split = data.final(rows)
  rows = [row for row in scores.by_accuracy(rows) if row.of(split)]
  found = [pooled.scores(row, split) for row in rows]
  labels = [row.label for row in rows]
  figure = _figure(
    f'{", ".join(rows[0].group)}: {data.split_name(rows, split)}\n'
    'accuracy (%), 95 % interval over sources',
    y_range=labels[::-1],
    height=110 + 24 * len(rows),
  )
  source = bokeh.models.ColumnDataSource(
    {
      'label': labels,
      'mean': [100 * it.accuracy.mean for it in found],
      'low': [100 * it.accuracy.low for it in found],
      'high': [100 * it.accuracy.high for it in found],
      'seeds': [it.num_seeds for it in found],
      'colour': [style[row.key].colour for row in rows],
    }
  )
  figure.segment(
    'low', 'label', 'high', 'label', color='colour', line_width=2, source=source
  )
  points = figure.scatter(
    'mean', 'label', color='colour', size=9, source=source
  )
  figure.add_tools(
    bokeh.models.HoverTool(
      renderers=[points],
      tooltips=[
        ('', '@label'),
        ('accuracy', '@mean{0.0} (@low{0.0} to @high{0.0})'),
        ('seeds', '@seeds'),
      ],
    )
  )
  figure.ygrid.grid_line_color = None
  return figure


def label_curves(
  rows: Sequence[data.Row], style: Looks
) -> bokeh.plotting.figure | None:
  """Accuracy over labels of each class, all rows in one plot; None of none."""
  found = {
    row.key: (row, curve)
    for row in scores.by_accuracy(rows)
    if (curve := pooled.label_curve(row))
  }
  if not found:
    return None
  figure = _figure(
    f'{", ".join(rows[0].group)}: accuracy by labels', x_axis_type='log'
  )
  points = []
  for key, (row, curve) in found.items():
    its = list(curve.values())
    columns = {
      'x': list(curve),
      'y': [100 * it.mean for it in its],
      'low': [100 * (it.mean - np.nan_to_num(it.sd)) for it in its],
      'high': [100 * (it.mean + np.nan_to_num(it.sd)) for it in its],
      'label': [row.label] * len(its),
    }
    points.append(_draw(figure, row.label, style[key], columns))
  figure.add_tools(
    bokeh.models.HoverTool(
      renderers=points,
      tooltips=[
        ('', '@label'),
        ('labels of each class', '@x'),
        ('accuracy', '@y{0.0} (± sd: @low{0.0} to @high{0.0})'),
      ],
    )
  )
  counts = sorted({count for _, curve in found.values() for count in curve})
  figure.xaxis.ticker = counts
  figure.xaxis.axis_label = 'labels of each class'
  figure.yaxis.axis_label = 'accuracy (%)'
  place_legend(figure)
  return figure


def reliability(
  rows: Sequence[data.Row], style: Looks
) -> bokeh.plotting.figure:
  """Share of right predictions over their confidence, out of fold."""
  figure = _figure(
    f'{", ".join(rows[0].group)}: right as often as claimed? '
    '(cross-validation)',
    y_range=(0, 1.02),
  )
  points, least = [], 1.0
  for row in scores.by_accuracy(rows):
    found = pooled.calibration(row, 'cross_validation')
    bins = [it for it in found['bins'] if it['num_examples']]
    least = min(least, *(it['low'] for it in bins))
    columns = {
      'x': [it['confidence'] for it in bins],
      'y': [it['accuracy'] for it in bins],
      'num': [it['num_examples'] for it in bins],
      'label': [row.label] * len(bins),
    }
    points.append(_draw(figure, row.label, style[row.key], columns))
  figure.line([0, 1], [0, 1], color='gray', line_dash='dotted')
  figure.x_range = bokeh.models.Range1d(least, 1.02)
  figure.add_tools(
    bokeh.models.HoverTool(
      renderers=points,
      tooltips=[
        ('', '@label'),
        ('claimed', '@x{0.00}'),
        ('right', '@y{0.00}'),
        ('predictions, all seeds', '@num'),
      ],
    )
  )
  figure.xaxis.axis_label = 'confidence'
  figure.yaxis.axis_label = 'share that is right'
  place_legend(figure)
  return figure


def by_property(
  rows: Sequence[data.Row], name: str, style: Looks
) -> bokeh.plotting.figure | None:
  """Accuracy by brightness or size; None where no row knows it."""
  split = data.final(rows)
  found = {
    row.key: (row, bins)
    for row in scores.by_accuracy(rows)
    if (bins := pooled.by_property(row, split, name))
  }
  if not found:
    return None
  figure = _figure(
    f'{", ".join(rows[0].group)}: {data.split_name(rows, split)}'
  )
  points = []
  for key, (row, bins) in found.items():
    columns = {
      'x': list(range(len(bins))),
      'y': [100 * it.accuracy.mean for it in bins],
      'shown': [scores.span(it.low, it.high) for it in bins],
      'num': [it.num_examples for it in bins],
      'label': [row.label] * len(bins),
    }
    points.append(_draw(figure, row.label, style[key], columns))
  figure.add_tools(
    bokeh.models.HoverTool(
      renderers=points,
      tooltips=[
        ('', '@label'),
        (name, '@shown, @num sources'),
        ('accuracy', '@y{0.0}'),
      ],
    )
  )
  # All rows have the same bins: the table has seen to that.
  shown = [scores.span(it.low, it.high) for it in bins]
  figure.xaxis.ticker = list(range(len(shown)))
  figure.xaxis.major_label_overrides = dict(enumerate(shown))
  figure.xaxis.axis_label = scores.PROPERTIES[name]
  figure.yaxis.axis_label = 'accuracy (%)'
  place_legend(figure)
  return figure


def training(
  runs: Mapping[pathlib.Path, data.Row],
  found: Mapping[pathlib.Path, Mapping[str, curves.Curve]],
  style: Looks,
) -> list[bokeh.plotting.figure]:
  """A plot for each curve that a run has, a line a run."""
  figures = []
  for name, shown in curves.NAMES.items():
    having = {run: row for run, row in runs.items() if name in found[run]}
    if not having:
      continue
    figure = _figure(shown)
    lines = []
    for run, row in having.items():
      steps, values = found[run][name]
      source = bokeh.models.ColumnDataSource(
        {'x': steps, 'y': values, 'run': [run.name] * len(steps)}
      )
      lines.append(
        figure.line(
          'x',
          'y',
          color=style[row.key].colour,
          alpha=0.8,
          legend_label=row.key[0],
          source=source,
        )
      )
    figure.add_tools(
      bokeh.models.HoverTool(
        renderers=lines,
        tooltips=[('', '@run'), ('step', '@x{0}'), (shown, '@y{0.000}')],
      )
    )
    figure.xaxis.axis_label = 'step'
    place_legend(figure, columns=5)
    figures.append(figure)
  return figures
