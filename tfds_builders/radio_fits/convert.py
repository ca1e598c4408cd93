"""From radio FITS images to examples: the way every survey goes in.

`convert` is a generator of plain Python: builders of simulated or downloaded
surveys call it on the files that they made.
"""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from radio_ssl.data import catalogue as catalogues
from radio_ssl.data import exclusion, fits, windows
from tfds_builders.radio_fits import cutter, pool
from tfds_builders.radio_fits import report as reports

_SECONDS_BETWEEN_LINES = 10.0
_CRASHED = (
  'the process that read it died. The file is damaged: fetch it again, or '
  'leave it out.'
)


def convert(
  paths: Sequence[str | pathlib.Path],
  shape: cutter.Tiles | cutter.Cutouts,
  *,
  catalogue: catalogues.Catalogue | None = None,
  exclude: catalogues.Catalogue | None = None,
  skip_bad: bool = False,
  labelled: bool = False,
  workers: int = 1,
  report: reports.Report | None = None,
  progress: Callable[[str], None] | None = None,
  **overrides: Any,
) -> Iterator[cutter.Example]:
  """Examples of images, one at a time.

  A source in several images is cut from the one in which it lies farthest from
  the edge, and from the next one where that has too many missing pixels.

  Args:
    paths: the FITS files.
    shape: how to cut.
    catalogue: the sources of `cutter.Cutouts`; not used by `cutter.Tiles`.
    exclude: sources that no footprint may hold (`exclusion`).
    skip_bad: notes bad files in the report instead of stopping at the first.
    labelled: adds the catalogue's `label` to each example; sources without
      one are left out.
    workers: processes; they change neither examples nor keys.
    report: filled in; complete once the generator has ended.
    progress: called with a line now and then.
    **overrides: 'unit', 'beam_arcsec', 'channel', as for `fits.opened`.

  Yields:
    (key, example): keys are unique, examples fit `examples.features`. Fluxes,
    sizes and redshifts are the catalogue's; without a catalogue flux `flux_jy`
    is what stands 3 rms above the background (`noise.flux_jy`).

  Raises:
    ValueError: one line, for a bad file, no source in any image, pixels larger
      than half the beam, or no example at all.
  """
  if not paths:
    raise ValueError('no FITS files. Check the pattern of --images.')
  report = report if report is not None else reports.Report()
  if isinstance(shape, cutter.Tiles):
    catalogue = None
  elif catalogue is None:
    raise ValueError('cutouts need a catalogue. Set --catalogue.')
  elif labelled:
    report.unlabelled = len(catalogue)
    catalogue = with_labels(catalogue)
    report.unlabelled -= len(catalogue)
  excluded = _exclusion(exclude, report)
  work = cutter.Cutter(shape, catalogue, excluded, overrides, labelled)
  with pool.of(work, workers) as run:
    files = [pathlib.Path(p) for p in paths]
    job = _Job(files, work, run, skip_bad, report, progress or (lambda _: None))
    yield from job.examples()


def with_labels(sources: catalogues.Catalogue) -> catalogues.Catalogue:
  """The sources that have a label.

  Raises:
    ValueError: none has.
  """
  if sources.label is None or not (sources.label != '').any():
    raise ValueError(
      f'{sources.path}: no label column, or an empty one. Name it with '
      '--columns label=NAME, or leave out --labelled.'
    )
  return sources.take(sources.label != '')


def _exclusion(
  sources: catalogues.Catalogue | None, report: reports.Report
) -> exclusion.Exclusion | None:
  if sources is None:
    return None
  sizes = sources.source_size_arcsec
  report.excluded_unsized = int(np.isnan(sizes).sum())
  return exclusion.Exclusion(sources.ra_deg, sources.dec_deg, sizes)


@dataclasses.dataclass
class _Job:
  """The files of a conversion, and the order in which they are worked on."""

  paths: list[pathlib.Path]
  work: cutter.Cutter
  run: pool.Run
  skip_bad: bool
  report: reports.Report
  progress: Callable[[str], None]

  def __post_init__(self):
    common = os.path.commonpath([p.resolve().parent for p in self.paths])
    # Keys decide the order of records: they must not hold where the files lie.
    self.names = {
      p: os.path.relpath(p.resolve().parent / p.name, common)
      for p in self.paths
    }

  def examples(self) -> Iterator[cutter.Example]:
    """(key, example) of the wanted shape, counted in the report."""
    tiled = self.work.sources is None
    for key, example in self._tiles() if tiled else self._cutouts():
      self.report.count(example)
      yield key, example
    if not self.report.examples:
      raise ValueError(
        f'{self.paths[0]} ...: no example to make. {self.report.summary()} '
        'Check size, catalogue and exclusion.'
      )

  def _tiles(self) -> Iterator[cutter.Example]:
    tasks = [cutter.Task(p, self.names[p], None) for p in self.paths]
    for made in self._made(tasks, {}):
      yield from made.examples

  def _cutouts(self) -> Iterator[cutter.Example]:
    left = self._images_of_sources()
    seen: dict[pathlib.Path, windows.Statistics] = {}
    while left:
      # The first round takes the best image of every source; later ones are
      # for sources whose image has no pixels there, or turned out bad.
      by_path: dict[pathlib.Path, list[int]] = {}
      for source, paths in left.items():
        by_path.setdefault(paths.pop(0), []).append(source)
      tasks = [
        cutter.Task(p, self.names[p], tuple(by_path[p]), seen.get(p))
        for p in self.paths
        if p in by_path
      ]
      done: set[int] = set()
      for made in self._made(tasks, seen):
        done.update(made.done)
        yield from made.examples
      self.report.missing += sum(
        source not in done and not paths for source, paths in left.items()
      )
      left = {s: paths for s, paths in left.items() if paths and s not in done}

  def _made(
    self,
    tasks: Sequence[cutter.Task],
    seen: dict[pathlib.Path, windows.Statistics],
  ) -> Iterator[cutter.Made]:
    """What comes of tasks; notes in `seen` the files that were looked at."""
    rest = [task for task in tasks if task.path in seen]
    new = [task for task in tasks if task.path not in seen]
    for task, begun in self._timed('begin', new, 'files begun'):
      if not self._is_bad(task.path, begun):
        self.report.files[task.name] = begun.file
        rest += begun.rest
        seen[task.path] = begun.statistics
        yield self._counted(begun.made)
    for task, made in self._timed('cut', rest, 'parts cut'):
      if isinstance(made, pool.Crashed):
        raise ValueError(f'{task.path}: {_CRASHED}')
      yield self._counted(made)

  def _counted(self, made: cutter.Made) -> cutter.Made:
    self.report.excluded += made.excluded
    self.report.missing += made.missing
    self.report.unsized += made.unsized
    return made

  def _images_of_sources(self) -> dict[int, list[pathlib.Path]]:
    """For each source in any image, its images, the most central one first."""
    found: list[tuple[int, float, pathlib.Path]] = []
    for path, inside in self._timed('find', self.paths, 'headers read'):
      if not self._is_bad(path, inside):
        found += [(source, -edge, path) for source, edge in inside]
        self.report.files[self.names[path]] = {'status': 'not needed'}
    images: dict[int, list[pathlib.Path]] = {}
    for source, _, path in sorted(found, key=lambda item: item[:2]):
      images.setdefault(source, []).append(path)
    self.report.outside += len(self.work.sources) - len(images)
    return images

  def _is_bad(self, path: pathlib.Path, found: Any) -> bool:
    """Whether a file is to be passed over; raises where none may be."""
    if isinstance(found, pool.Crashed):
      found = fits.FitsError(f'{path}: {_CRASHED}', 'crash')
    if not isinstance(found, fits.FitsError):
      return False
    if not self.skip_bad:
      raise found
    reason = str(found).removeprefix(f'{path}: ')
    self.report.reject(self.names[path], found.kind, reason)
    return True

  def _timed(
    self, method: str, items: Sequence[Any], what: str
  ) -> Iterator[tuple[Any, Any]]:
    """`run`, with a line of progress every few seconds."""
    start = said = time.monotonic()
    for done, pair in enumerate(self.run(method, items), start=1):
      yield pair
      now = time.monotonic()
      if now - said > _SECONDS_BETWEEN_LINES:
        said = now
        left = (now - start) / done * (len(items) - done)
        self.progress(
          f'{done}/{len(items)} {what}, {self.report.examples} examples, '
          f'{left:.0f} s left'
        )
