"""Which source is cut from which image; for one machine and for many alike."""

import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tfds_builders.radio_fits import cutter
from tfds_builders.radio_fits import report as reports

# The rms of a small cutout is known to a few per cent.
_AS_DEEP = 1.1


class Candidate(NamedTuple):
  """An image that holds a source; the least of several is the most central.

  Attributes:
    edge_arcsec: minus the distance from the source to the image's edge.
    name: of the image, which decides between equals.
  """

  edge_arcsec: float
  name: str


class Part(NamedTuple):
  """What is to be done with one image for one source.

  Attributes:
    shared: other images hold the source too: look before cutting.
    source: its number.
  """

  shared: bool
  source: int


def parts(
  source: int, candidates: Sequence[Candidate]
) -> Iterator[tuple[str, Part]]:
  """(image, what is to be done with it) for the images that hold a source."""
  for candidate in candidates:
    yield candidate.name, Part(len(candidates) > 1, source)


def task(path: pathlib.Path, name: str, wanted: Iterable[Part]) -> cutter.Task:
  """The first task of an image."""
  wanted = sorted(wanted)
  return cutter.Task(
    path,
    name,
    tuple(part.source for part in wanted if not part.shared),
    shared=tuple(part.source for part in wanted if part.shared),
  )


def choose(
  source: str,
  candidates: Iterable[Candidate],
  judged: Mapping[str, float | str],
  overlap: str,
) -> str | reports.Report:
  """The image from which a source that several hold is to be cut.

  Args:
    source: its name.
    candidates: the images that hold it.
    judged: of each image that could be read the rms around the source, or why
      it cannot be cut.
    overlap: 'central' or 'deepest' (`shapes.Cutouts`).

  Returns:
    Its name, or where there is none a report that counts the source as lost.
  """
  usable = [
    c for c in candidates if not isinstance(judged.get(c.name, ''), str)
  ]
  if not usable:
    reasons = sorted(judged.values()) or ['unreadable']
    return reports.of_lost([source], max(reasons, key=reasons.count))
  if overlap == 'deepest':
    least = min(judged[c.name] for c in usable)
    usable = [c for c in usable if judged[c.name] <= least * _AS_DEEP]
  return min(usable).name
