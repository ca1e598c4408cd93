"""From radio FITS images to examples: the way every survey goes in.

`convert` is a generator of plain Python: builders of simulated or downloaded
surveys call it on the files that they made.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from radio_ssl.data import fits
from tfds_builders.radio_fits import cutter, kept, plan, pool
from tfds_builders.radio_fits import order as orders
from tfds_builders.radio_fits import report as reports

_SECONDS_BETWEEN_LINES = 10.0
_CRASHED = (
  'the process that read it died. The file is damaged: fetch it again, or '
  'leave it out.'
)


def convert(
  order: orders.Order,
  *,
  workers: int = 1,
  report: reports.Report | None = None,
  progress: Callable[[str], None] | None = None,
) -> Iterator[cutter.Example]:
  """Examples of images, one at a time.

  Of several images that hold a source one is taken (`Cutouts.overlap`).

  Args:
    order: what is to be done.
    workers: processes; they change neither examples nor keys.
    report: filled in; complete once the generator has ended.
    progress: called with a line now and then.

  Yields:
    (key, example): keys are unique, examples fit `examples.features`. Fluxes,
    sizes and redshifts are the catalogue's; without a catalogue flux `flux_jy`
    is what stands 3 rms above the background (`noise.flux_jy`).

  Raises:
    ValueError: one line, for a bad file, no source in any image, pixels larger
      than half the beam, or no example at all.
  """
  report = report if report is not None else reports.Report()
  report.add(order.report)
  try:
    with pool.of(order.work, workers) as run:
      job = _Job(order, run, report, progress or (lambda _: None))
      yield from job.examples()
  finally:
    kept.close()
  report.check(order.files)


@dataclasses.dataclass
class _Job:
  """The files of a conversion, and the order in which they are worked on."""

  order: orders.Order
  run: pool.Run
  report: reports.Report
  progress: Callable[[str], None]

  def examples(self) -> Iterator[cutter.Example]:
    """(key, example) of the wanted shape, counted in the report."""
    tiled = self.order.work.sources is None
    yield from self._tiles() if tiled else self._cutouts()

  def _tiles(self) -> Iterator[cutter.Example]:
    rest = []
    tasks = [cutter.Task(p, name, None) for name, p in self.order.files.items()]
    for _, begun in self._begun(tasks):
      rest += begun.rest
      yield from self._taken(begun.made)
    yield from self._cut(rest)

  def _cutouts(self) -> Iterator[cutter.Example]:
    images = self._images_of_sources()
    seen: dict[str, cutter.Begun] = {}
    rest = []
    for task, begun in self._begun(self._first_tasks(images)):
      # The examples go on; what was learnt of the file stays.
      seen[task.name] = dataclasses.replace(begun, made=cutter.Made())
      rest += begun.rest
      yield from self._taken(begun.made)
    chosen: dict[str, list[int]] = {}
    for source, candidates in images.items():
      if len(candidates) > 1:
        judged = {
          c.name: seen[c.name].judged[source]
          for c in candidates
          if c.name in seen
        }
        overlap = self.order.work.shape.overlap
        name = str(self.order.work.sources.name[source])
        found = plan.choose(name, candidates, judged, overlap)
        if isinstance(found, reports.Report):
          self.report.add(found)
        else:
          chosen.setdefault(found, []).append(source)
    for name, sources in chosen.items():
      task = cutter.Task(
        self.order.files[name],
        name,
        tuple(sources),
        statistics=seen[name].statistics,
      )
      rest += self.order.work.parts(task)
    yield from self._cut(rest)

  def _first_tasks(
    self, images: Mapping[int, Sequence[plan.Candidate]]
  ) -> list[cutter.Task]:
    parts = sorted(
      itertools.chain.from_iterable(
        itertools.starmap(plan.parts, images.items())
      )
    )
    return [
      plan.task(self.order.files[name], name, [part for _, part in group])
      for name, group in itertools.groupby(parts, lambda item: item[0])
    ]

  def _begun(
    self, tasks: Sequence[cutter.Task]
  ) -> Iterator[tuple[cutter.Task, cutter.Begun]]:
    for task, begun in self._timed('begin', tasks, 'files begun'):
      if not self._is_bad(task.name, begun):
        yield task, begun
      elif task.wanted:
        names = self.order.work.sources.name[list(task.wanted)]
        self.report.add(reports.of_lost(names, 'unreadable'))

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
    names = {path: name for name, path in self.order.files.items()}
    for path, inside in self._timed('find', list(names), 'headers read'):
      name = names[path]
      if not self._is_bad(name, inside):
        self.report.add(reports.of_header(name, inside))
        for source, edge in inside:
          images.setdefault(source, []).append(plan.Candidate(-edge, name))
    self.report.outside += len(self.order.work.sources) - len(images)
    return images

  def _is_bad(self, name: str, found: Any) -> bool:
    """Whether a file is to be passed over; raises where none may be."""
    if isinstance(found, pool.Crashed):
      found = fits.FitsError(f'{self.order.files[name]}: {_CRASHED}', 'crash')
    if not isinstance(found, fits.FitsError):
      return False
    self.report.add(self.order.rejection(name, found))
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
