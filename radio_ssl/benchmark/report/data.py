"""What a report is made of: finished evaluations, seeds of a row together."""

import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from radio_ssl.evaluate import report, summary

# The split that is scored at the end, and the rows it was learnt from.
SPLITS = ('test', 'cross_validation')


@dataclasses.dataclass(frozen=True)
class Result:
  """A finished evaluation.

  Attributes:
    method: 'simclr', ...; or the name of a baseline, such as 'random'.
    encoder: name of the architecture; '' where there is none.
    corpus: name of the pretraining set; '' for baselines.
    seed: of the pretraining.
    label_set: name of the labelled set.
    protocol: name of the protocol, such as 'linear'.
    folder: of the evaluation's output, with `results.json`.
    run: folder of the pretraining, with `metrics.jsonl` and checkpoints; None
      for baselines.
  """

  method: str
  encoder: str
  corpus: str
  seed: int
  label_set: str
  protocol: str
  folder: pathlib.Path
  run: pathlib.Path | None


@dataclasses.dataclass(frozen=True)
class SearchRow:
  """A learning rate that was tried.

  Attributes:
    method: of the pretraining.
    encoder: name of the architecture.
    lr: the learning rate.
    accuracy: cross-validated, in [0, 1]; None where the loss diverged.
    chosen: whether the benchmark went on with it.
  """

  method: str
  encoder: str
  lr: float
  accuracy: float | None
  chosen: bool


@dataclasses.dataclass(frozen=True)
class Row:
  """All seeds of one method, encoder and pretraining set, scored alike.

  Attributes:
    results: one a seed, in their order.
    stored: what their `results.json` hold, in the same order.
  """

  results: tuple[Result, ...]
  stored: tuple[dict[str, Any], ...]

  @property
  def key(self) -> tuple[str, str, str]:
    """Method, encoder and pretraining set."""
    first = self.results[0]
    return first.method, first.encoder, first.corpus

  @property
  def group(self) -> tuple[str, str]:
    """Label set and protocol."""
    return self.results[0].label_set, self.results[0].protocol

  @property
  def label(self) -> str:
    """As it is named in legends."""
    return ', '.join(filter(None, self.key))

  @property
  def label_names(self) -> list[str]:
    """Of the classes."""
    return self.stored[0]['label_names']

  def of(self, split: str) -> list[dict[str, Any]]:
    """Those results that have scores of a split."""
    return [it for it in self.stored if split in it]

  def predictions(self, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels [N], and probabilities [S, N, K] of each seed, in one order."""
    sources = [
      {row['name']: row for row in it[split]['predictions']}
      for it in self.of(split)
    ]
    names = sorted(sources[0])
    return (
      np.array([sources[0][name]['label'] for name in names]),
      np.array([[its[n]['probabilities'] for n in names] for its in sources]),
    )


def rows(results: Sequence[Result]) -> list[Row]:
  """Reads results, and puts the seeds of a row together.

  Args:
    results: in any order.

  Returns:
    Rows in the order in which the first of each came.

  Raises:
    ValueError: names the file that is none or does not belong to the others,
      or the seed that comes twice.
  """
  found = collections.defaultdict(list)
  for result in results:
    key = (
      *(result.label_set, result.protocol),
      *(result.method, result.encoder, result.corpus),
    )
    found[key].append((result, summary.read(result.folder / 'results.json')))
  made = []
  for members in found.values():
    members.sort(key=lambda member: member[0].seed)
    _check_seeds([result for result, _ in members])
    made.append(Row(*(tuple(its) for its in zip(*members, strict=True))))
  _check_classes(made)
  for row in made:
    _check_sources(row)
  return made


def grouped(its: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
  """Rows of each label set and protocol."""
  found: dict[tuple[str, str], list[Row]] = {}
  for row in its:
    found.setdefault(row.group, []).append(row)
  return found


def final(its: Sequence[Row]) -> str:
  """The split whose scores count, of rows that stand in one table."""
  return 'test' if any(row.of('test') for row in its) else 'cross_validation'


def split_name(its: Sequence[Row], split: str) -> str:
  """A split as it is shown."""
  if split == 'cross_validation':
    return 'cross-validation'
  results = [result for row in its for result in row.of(split)]
  held = any(result.get('scored') == 'holdout' for result in results)
  return 'hold-out' if held else 'test'


def _check_seeds(members: Sequence[Result]) -> None:
  for first, second in itertools.pairwise(members):
    if first.seed == second.seed:
      raise ValueError(
        f'{second.folder}: seed {second.seed} of {second.method} on '
        f'{second.label_set} is in {first.folder} as well. Give each once.'
      )


def _check_classes(its: Sequence[Row]) -> None:
  """The results of a label set have the same classes, in one order."""
  first: dict[str, tuple[Any, pathlib.Path]] = {}
  for row in its:
    for result, stored in zip(row.results, row.stored, strict=True):
      path = result.folder / 'results.json'
      try:
        its_own = stored['label_names'], stored['dataset']['fingerprint']
      except (KeyError, TypeError) as error:
        raise ValueError(
          f'{path}: no field {error}; wanted a results.json of '
          'radio_ssl.evaluate. Evaluate anew.'
        ) from error
      wanted, other = first.setdefault(result.label_set, (its_own, path))
      if its_own != wanted:
        raise ValueError(
          f'{path}: classes or content of {result.label_set!r} are not those '
          f'of {other}: {its_own}, {wanted}. Evaluate both on the same set.'
        )


def _check_sources(row: Row) -> None:
  """The seeds of a row are scored on the same sources with the same labels."""
  first: dict[str, tuple[Any, pathlib.Path]] = {}
  for result, stored in zip(row.results, row.stored, strict=True):
    path = result.folder / 'results.json'
    for split in SPLITS:
      if split not in stored:
        continue
      labels = {p['name']: p['label'] for p in stored[split]['predictions']}
      wanted, other = first.setdefault(split, (labels, path))
      if labels != wanted:
        raise ValueError(
          f'{path}: {split!r} has {len(labels)} sources, not the '
          f'{len(wanted)} of {other} or with other labels; seeds of a row are '
          'scored on the same ones. Evaluate both on the same set.'
        )


def overlap(row: Row, split: str) -> str:
  """Whether pretraining saw the sources of a split.

  Returns:
    'transductive', if it did, for one seed at least; 'unknown'; 'no'; or ''
    for what is not pretrained.
  """
  its = [_asked_of(it, split) for it in row.of(split)]
  if any(map(report.seen, its)):
    return 'transductive'
  found = [it['overlap'] for it in its if 'overlap' in it]
  if any(reasons(it) for it in found):
    return 'unknown'
  return 'no' if found else ''


def reasons(found: dict[str, Any] | None) -> list[str]:
  """Why an overlap is unknown, of the encoder or of one it began with."""
  told = []
  while found:
    if 'unknown' in found:
      told.append(found['unknown'])
    found = found.get('start')
  return told


def footnotes(its: Sequence[Row], split: str) -> list[str]:
  """What the marks in a table of these rows mean; none without marks."""
  results = [_asked_of(it, split) for row in its for it in row.of(split)]
  told = [
    line.replace('\\*', '* transductive:')
    for line in report.footnote(results)
    if line
  ]
  why = sorted({r for it in results for r in reasons(it.get('overlap'))})
  if why:
    told.append(
      f'? not known whether pretraining saw scored sources: {"; ".join(why)}'
    )
  return told


def _asked_of(result: dict[str, Any], split: str) -> dict[str, Any]:
  """The result, made to tell of the sources of another split."""
  showing = (result.get('overlap') or {}).get('showing', {})
  if split == 'test' or 'test' not in result:
    return result
  others = [
    name for name in showing if name not in ('holdout', _scored(result))
  ]
  return {**result, 'scored': others[0] if others else _scored(result)}


def _scored(result: dict[str, Any]) -> str:
  return result.get('scored') or result['config']['data']['test']
