"""One look for each row, the same in all pictures."""

import dataclasses
from collections.abc import Sequence

import bokeh.palettes

from radio_ssl.benchmark.report import data

_DASHES = ('solid', 'dashed', 'dotted', 'dashdot')
# Names of bokeh, and of matplotlib.
_MARKERS = (
  *(('circle', 'o'), ('square', 's'), ('triangle', '^'), ('diamond', 'D')),
  *(('star', '*'), ('inverted_triangle', 'v'), ('plus', 'P'), ('x', 'X')),
)


@dataclasses.dataclass(frozen=True)
class Look:
  """How a row is drawn.

  Attributes:
    colour: of the method, '#rrggbb'.
    dash: of encoder and pretraining set; a name that bokeh and matplotlib know.
    markers: likewise: bokeh's name and matplotlib's.
  """

  colour: str
  dash: str
  markers: tuple[str, str]


def of(rows: Sequence[data.Row]) -> dict[tuple[str, str, str], Look]:
  """Looks by the keys of the rows; they are used again where rows are many."""
  keys = sorted({row.key for row in rows})
  methods = list(dict.fromkeys(method for method, *_ in keys))
  places = list(dict.fromkeys(tuple(place) for _, *place in keys if place[1]))
  found = {}
  for key in keys:
    # What is not pretrained looks like the first place.
    place = places.index(key[1:]) if key[1:] in places else 0
    found[key] = Look(
      colour=colours(len(methods))[methods.index(key[0])],
      dash=_DASHES[place % len(_DASHES)],
      markers=_MARKERS[place % len(_MARKERS)],
    )
  return found


def colours(num: int) -> list[str]:
  """As many colours; from the 21st on they come again."""
  palette = bokeh.palettes.Category10_10
  if num > len(palette):
    palette = bokeh.palettes.Category20_20
  return [palette[i % len(palette)] for i in range(num)]
