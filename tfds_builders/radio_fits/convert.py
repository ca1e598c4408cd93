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
from tfds_builders.radio_fits import cutter, plan, pool, shapes
from tfds_builders.radio_fits import report as reports

_SECONDS_BETWEEN_LINES = 10.0
_CRASHED = (
  'the process that read it died. The file is damaged: fetch it again, or '
  'leave it out.'
)


def convert(
  paths: Sequence[str | pathlib.Path],
  shape: shapes.Tiles | shapes.Cutouts,
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

  Of several images that hold a source one is taken (`Cutouts.overlap`).

  Args:
    paths: the FITS files.
    shape: how to cut.
    catalogue: the sources of `shapes.Cutouts`; not used by `shapes.Tiles`.
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
  if isinstance(shape, shapes.Tiles):
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
    yield from self._tiles() if tiled else self._cutouts()
    if not self.report.examples:
      raise ValueError(
        f'{self.paths[0]} ...: no example to make. {self.report.summary()} '
        'Check size, catalogue and exclusion.'
      )

  def _tiles(self) -> Iterator[cutter.Example]:
    rest = []
    tasks = [cutter.Task(p, self.names[p], None) for p in self.paths]
    for _, begun in self._begun(tasks):
      rest += begun.rest
      yield from self._taken(begun.made)
    yield from self._cut(rest)

  def _cutouts(self) -> Iterator[cutter.Example]:
    images = self._images_of_sources()
    judged = {s: {} for s, candidates in images.items() if len(candidates) > 1}
    seen: dict[pathlib.Path, windows.Statistics] = {}
    rest = []
    for task, begun in self._begun(plan.first_tasks(images)):
      seen[task.path] = begun.statistics
      rest += begun.rest
      for source, rms in begun.judged.items():
        judged[source][task.path] = rms
      yield from self._taken(begun.made)
    chosen: dict[pathlib.Path, list[int]] = {}
    for source, of_images in judged.items():
      found = plan.choose(images[source], of_images, self.work.shape.overlap)
      if isinstance(found, reports.Report):
        self.report.add(found)
      else:
        chosen.setdefault(found.path, []).append(source)
    for path, sources in chosen.items():
      rest += self.work.parts(
        cutter.Task(
          path, self.names[path], tuple(sources), statistics=seen[path]
        )
      )
    yield from self._cut(rest)

  def _begun(
    self, tasks: Sequence[cutter.Task]
  ) -> Iterator[tuple[cutter.Task, cutter.Begun]]:
    for task, begun in self._timed('begin', tasks, 'files begun'):
      if not self._is_bad(task.path, begun):
        yield task, begun
      elif task.wanted:
        self.report.unreadable += len(task.wanted)

  def _cut(self, tasks: Sequence[cutter.Task]) -> Iterator[cutter.Example]:
    for task, made in self._timed('cut', tasks, 'parts cut'):
      if isinstance(made, pool.Crashed):
        raise ValueError(f'{task.path}: {_CRASHED}')
      yield from self._taken(made)

  def _taken(self, made: cutter.Made) -> list[cutter.Example]:
    self.report.add(made.report)
    return made.examples

  def _images_of_sources(self) -> dict[int, list[plan.Candidate]]:
    """The images of each source that is in any."""
    images: dict[int, list[plan.Candidate]] = {}
    for path, inside in self._timed('find', self.paths, 'headers read'):
      if not self._is_bad(path, inside):
        name = self.names[path]
        if not inside:
          self.report.files[name] = {'status': 'not needed'}
        for source, edge in inside:
          images.setdefault(source, []).append(
            plan.Candidate(-edge, name, path)
          )
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
