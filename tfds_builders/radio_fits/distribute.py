"""The conversion as Apache Beam transforms, for many machines.

Every step is one that `convert` runs too, so keys and examples are the same.
All machines must see the images, and the folder of the data set, under the same
paths. Needs the extra `beam`.
"""

import contextlib
import functools
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options import pipeline_options

from radio_ssl.data import fits
from tfds_builders.radio_fits import cutter, plan
from tfds_builders.radio_fits import order as orders
from tfds_builders.radio_fits import report as reports

_REPORTS = 'reports'
_JUDGED = 'judged'
_REST = 'rest'
_LOOKED_AT = 'looked at'
_EXAMPLES = 'examples'


def settings(runner: str, options: Sequence[str]) -> dict[str, Any]:
  """What `tfds.download.DownloadConfig` needs to run a pipeline.

  Args:
    runner: name of a Beam runner, such as 'DirectRunner' or 'FlinkRunner'.
    options: of the pipeline, each 'name=value' or 'name'.

  Raises:
    ValueError: no such runner or option.
  """
  try:
    known = pipeline_options.PipelineOptions(
      [f'--{option}' for option in options]
    )
    given = known.get_all_options(drop_default=True)
    beam.runners.create_runner(runner)
  except (ValueError, ImportError, SystemExit) as error:
    raise ValueError(
      f'beam_runner {runner!r}, beam_options {list(options)}: {error}'
    ) from error
  names = [option.partition('=')[0] for option in options]
  if unknown := [name for name in names if name not in given]:
    raise ValueError(
      f'beam_options: Beam has no option {unknown[0]!r}, or it is given at its '
      'default: leave it out.'
    )
  return {'beam_runner': runner, 'beam_options': known}


@contextlib.contextmanager
def errors_of_steps() -> Iterator[None]:
  """Finds, in what a runner raises, the one line that a step had to say."""
  try:
    yield
  except Exception as error:  # Each runner raises a class of its own.
    told = re.findall(r'(?:\w+Error: )?([^\n]+?) \[while running', str(error))
    if not told:
      raise
    raise ValueError(told[-1]) from error


class Examples(beam.PTransform):
  """A PCollection of (key, example); the report is written to a file."""

  def __init__(self, order: orders.Order, report: pathlib.Path):
    """Takes what is to be done, and the path of a JSON file to write."""
    super().__init__()
    self._order = order
    self._report = report

  def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
    """The whole conversion."""
    order = self._order
    told = [pipeline | 'known before' >> beam.Create([order.report])]
    if order.work.sources is None:
      tasks = pipeline | 'images' >> beam.Create(
        [cutter.Task(p, name, None) for name, p in order.files.items()]
      )
    else:
      images = self._images_of_sources(pipeline, told)
      tasks = (
        images
        | 'images to open' >> beam.FlatMapTuple(plan.parts)
        | 'by image' >> beam.GroupByKey()
        | 'first tasks' >> beam.MapTuple(functools.partial(_task, order))
      )
    begun = (
      tasks
      | 'spread images' >> beam.Reshuffle()
      | 'begin'
      >> beam.FlatMap(functools.partial(_begin, order)).with_outputs(
        _REPORTS, _JUDGED, _REST, _LOOKED_AT, main=_EXAMPLES
      )
    )
    told.append(begun[_REPORTS])
    rest = begun[_REST]
    if order.work.sources is not None:
      chosen = self._chosen(images, begun, told)
      rest = (rest, chosen) | 'all that is left' >> beam.Flatten()
    cut = (
      rest
      | 'spread parts' >> beam.Reshuffle()
      | 'cut'
      >> beam.FlatMap(functools.partial(_cut, order)).with_outputs(
        _REPORTS, main=_EXAMPLES
      )
    )
    told.append(cut[_REPORTS])
    _ = (
      told
      | 'all reports' >> beam.Flatten()
      | 'one report' >> beam.CombineGlobally(_sum)
      | 'write report'
      >> beam.Map(_write, files=sorted(order.files), path=str(self._report))
    )
    return (begun[_EXAMPLES], cut[_EXAMPLES]) | 'examples' >> beam.Flatten()

  def _images_of_sources(
    self, pipeline: beam.Pipeline, told: list[beam.PCollection]
  ) -> beam.PCollection:
    """(source, its images) for each that is in any."""
    found = (
      pipeline
      | 'headers' >> beam.Create(sorted(self._order.files))
      | 'spread headers' >> beam.Reshuffle()
      | 'find'
      >> beam.FlatMap(functools.partial(_find, self._order)).with_outputs(
        _REPORTS, main='found'
      )
    )
    images = found['found'] | 'by source' >> beam.GroupByKey()
    outside = pipeline | 'all sources' >> beam.Create(
      [reports.Report(outside=len(self._order.work.sources))]
    )
    inside = images | 'is inside' >> beam.Map(
      lambda _: reports.Report(outside=-1)
    )
    told += [found[_REPORTS], outside, inside]
    return images

  def _chosen(
    self,
    images: beam.PCollection,
    begun: Mapping[str, beam.PCollection],
    told: list[beam.PCollection],
  ) -> beam.PCollection:
    """Tasks for the sources that several images hold."""
    chosen = (
      {'candidates': images, 'judged': begun[_JUDGED]}
      | 'judgements' >> beam.CoGroupByKey()
      | 'choose'
      >> beam.FlatMapTuple(
        functools.partial(_choose, self._order)
      ).with_outputs(_REPORTS, main='chosen')
    )
    told.append(chosen[_REPORTS])
    return (
      {'sources': chosen['chosen'], 'statistics': begun[_LOOKED_AT]}
      | 'by chosen image' >> beam.CoGroupByKey()
      | 'tasks of chosen'
      >> beam.FlatMapTuple(functools.partial(_parts, self._order))
    )


def _told(report: reports.Report) -> beam.pvalue.TaggedOutput:
  return beam.pvalue.TaggedOutput(_REPORTS, report)


def _rejection(
  order: orders.Order, name: str, error: fits.FitsError
) -> reports.Report:
  try:
    return order.rejection(name, error)
  except fits.FitsError as error:
    # Beam makes another error of its class and message, which must suffice.
    raise ValueError(str(error)) from error


def _find(order: orders.Order, name: str) -> Iterator[Any]:
  inside = order.work.find(order.files[name])
  if isinstance(inside, fits.FitsError):
    yield _told(_rejection(order, name, inside))
    return
  yield _told(reports.of_header(name, inside))
  for source, edge in inside:
    yield source, plan.Candidate(-edge, name)


def _task(
  order: orders.Order, name: str, parts: Iterable[plan.Part]
) -> cutter.Task:
  return plan.task(order.files[name], name, parts)


def _begin(order: orders.Order, task: cutter.Task) -> Iterator[Any]:
  begun = order.work.begin(task)
  if isinstance(begun, fits.FitsError):
    yield _told(_rejection(order, task.name, begun))
    if task.wanted:
      names = order.work.sources.name[list(task.wanted)]
      yield _told(reports.of_lost(names, 'unreadable'))
    return
  yield from begun.made.examples
  yield _told(begun.made.report)
  yield beam.pvalue.TaggedOutput(_LOOKED_AT, (task.name, begun.statistics))
  for source, rms in begun.judged.items():
    yield beam.pvalue.TaggedOutput(_JUDGED, (source, (task.name, rms)))
  for part in begun.rest:
    yield beam.pvalue.TaggedOutput(_REST, part)


def _choose(
  order: orders.Order, source: int, found: Mapping[str, Iterable[Any]]
) -> Iterator[Any]:
  (candidates,) = map(list, found['candidates'])
  if len(candidates) == 1:
    return
  work = order.work
  chosen = plan.choose(
    str(work.sources.name[source]),
    candidates,
    dict(found['judged']),
    work.shape.overlap,
  )
  if isinstance(chosen, reports.Report):
    yield _told(chosen)
  else:
    yield chosen, source


def _parts(
  order: orders.Order, name: str, found: Mapping[str, Iterable[Any]]
) -> Iterator[cutter.Task]:
  sources = tuple(sorted(found['sources']))
  for statistics in found['statistics'] if sources else ():
    yield from order.work.parts(
      cutter.Task(order.files[name], name, sources, statistics=statistics)
    )


def _cut(order: orders.Order, task: cutter.Task) -> Iterator[Any]:
  made = order.work.cut(task)
  yield from made.examples
  yield _told(made.report)


def _sum(found: Iterable[reports.Report]) -> reports.Report:
  total = reports.Report()
  for report in found:
    total.add(report)
  return total


def _write(report: reports.Report, *, files: list[str], path: str) -> None:
  with open(path, 'w', encoding='utf-8') as file:
    json.dump(report.saved(), file)
  report.check(files)
