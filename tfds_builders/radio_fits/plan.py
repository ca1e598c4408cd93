"""Which source is cut from which image; for one machine and for many alike."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tfds_builders.radio_fits import cutter
from tfds_builders.radio_fits import report as reports

# The rms of a small cutout is known to a few per cent.
_AS_DEEP = 1.1


class Candidate(NamedTuple):
  """An image that holds a source.

  Attributes:
    edge_arcsec: from the source to the nearest edge of the image, negative: the
      first of a sorted list is the most central one.
    name: of the image, which decides between equals.
    path: of the image.
  """

  edge_arcsec: float
  name: str
  path: pathlib.Path


def first_tasks(
  images: Mapping[int, Sequence[Candidate]],
) -> list[cutter.Task]:
  """To cut sources that one image holds, and to judge images of the others."""
  cut: dict[tuple[str, pathlib.Path], list[int]] = {}
  judge: dict[tuple[str, pathlib.Path], list[int]] = {}
  for source, candidates in sorted(images.items()):
    for _, name, path in candidates:
      mine = cut if len(candidates) == 1 else judge
      mine.setdefault((name, path), []).append(source)
  return [
    cutter.Task(path, name, tuple(cut.get(key, ())), tuple(judge.get(key, ())))
    for key in sorted({*cut, *judge})
    for name, path in [key]
  ]


def choose(
  candidates: Iterable[Candidate],
  judged: Mapping[pathlib.Path, float | None],
  overlap: str,
) -> Candidate | reports.Report:
  """The image from which a source that several hold is to be cut.

  Args:
    candidates: the images that hold it.
    judged: of each image that could be read the rms around the source; None
      where too many pixels are missing.
    overlap: 'central' or 'deepest' (`shapes.Cutouts`).

  Returns:
    The image, or where there is none a report that counts the source as lost.
  """
  usable = [c for c in candidates if judged.get(c.path) is not None]
  if not usable:
    if judged:
      return reports.Report(missing=1)
    return reports.Report(unreadable=1)
  if overlap == 'central':
    return min(usable)
  least = min(judged[c.path] for c in usable)
  return min(c for c in usable if judged[c.path] <= least * _AS_DEEP)
