"""The rows of a labelled set that one evaluation trains and scores on.

A split may be a sum of stored ones, 'fold_1+fold_2', or all whose name begins
alike, 'fold_*'; and a hold-out takes rows away. Rows that are left out are left
out before anything is fitted or encoded: not even principal components see
them.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from radio_ssl.data import catalogue, examples, pipeline
from radio_ssl.evaluate import holdout

Row = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class Selection:
  """A labelled set whose splits are choices of rows.

  Attributes:
    dataset: as stored, or some classes of it.
    rows: split -> (stored split, number in it) of each row.
    train: the split to learn from.
    test: the one to score; '' for none.
    holdout: what was held out, JSON-ready; None where nothing was.
    held_out: its sources; None likewise.
  """

  dataset: pipeline.DataSet
  rows: Mapping[str, Sequence[Row]]
  train: str
  test: str
  holdout: dict[str, Any] | None = None
  held_out: catalogue.Catalogue | None = None

  @property
  def directory(self) -> pathlib.Path:
    """Of the set."""
    return self.dataset.directory

  @property
  def geometry(self) -> examples.Geometry:
    """Of its images."""
    return self.dataset.geometry

  @property
  def label_names(self) -> tuple[str, ...] | None:
    """Of its classes."""
    return self.dataset.label_names

  def source(self, split: str) -> '_Rows':
    """The records of a split, in the order of `rows`."""
    return _Rows(self.dataset, self.rows[split])

  def part(self, split: str, rows: Iterable[int]) -> 'Selection':
    """Some rows of a split, which is all that there is then to learn from."""
    stored = self.rows[split]
    return dataclasses.replace(
      self, rows={split: [stored[i] for i in rows]}, train=split, test=''
    )

  def stored_folds(self) -> np.ndarray | None:
    """The stored split of each training row; None unless they are folds.

    'fold_*' asks for them: each is scored by what the others taught.
    """
    if '+' in self.train or not self.train.endswith('*'):
      return None
    return np.array([stored for stored, _ in self.rows[self.train]])


class _Rows:
  """Random access to chosen records of several stored splits."""

  def __init__(self, dataset: pipeline.DataSet, rows: Sequence[Row]):
    stored = dict.fromkeys(name for name, _ in rows)
    self._sources = {name: dataset.source(name) for name in stored}
    self._rows = rows

  def __len__(self):
    return len(self._rows)

  def __getitem__(self, index):
    name, row = self._rows[index]
    return self._sources[name][row]


def choose(
  dataset: pipeline.DataSet,
  train: str,
  test: str = '',
  *,
  held_out: str | pathlib.Path = '',
  use: str = 'leave_out',
) -> Selection:
  """The rows to learn from and to score.

  Args:
    dataset: labelled.
    train: split to learn from, as the module tells.
    test: split to score; '' for none.
    held_out: catalogue of a hold-out; '' for none.
    use: 'leave_out' takes what is held out, and what is beside it, away from
      both splits; 'test' learns from what is left of both, and scores the
      images of hold-out sources in both.

  Returns:
    In the second case the splits are called 'train+test' (by their names) and
    'holdout'.

  Raises:
    ValueError: no such split, or one that is summed twice; a hold-out that
      takes nothing, or all.
  """
  rows = {s: _rows(dataset, s) for s in dict.fromkeys((train, test)) if s}
  if not held_out:
    return Selection(dataset, rows, train, test)
  out = holdout.read(held_out)
  fates = _fates(dataset, rows, out)
  facts = {**out.facts(), 'use': use, 'images': _counts(fates)}
  _check(dataset, facts)
  kept = {split: _only(rows, fates, [split], holdout.FREE) for split in rows}
  if use == 'test':
    train, test = '+'.join(rows), 'holdout'
    _check_disjoint(
      dataset, train, [row for its in rows.values() for row in its]
    )
    kept = {
      train: _only(rows, fates, rows, holdout.FREE),
      test: _only(rows, fates, rows, holdout.HELD),
    }
  return Selection(dataset, kept, train, test, facts, out.sources)


def of_other_classes(
  stored: pipeline.DataSet, chosen: Selection, names: Iterable[str]
) -> dict[str, int]:
  """Images of the wanted splits whose class was not asked for, by split."""
  return {
    split: sum(
      len(stored.source(part)) - len(chosen.dataset.source(part))
      for part in _stored(stored, split)
    )
    for split in names
    if split
  }


def _stored(dataset: pipeline.DataSet, split: str) -> list[str]:
  """The stored splits, or slices of one, that a split is the sum of."""
  found = []
  for part in split.split('+'):
    names = [part]
    if part.endswith('*'):
      names = [n for n in dataset.num_examples if n.startswith(part[:-1])]
    if not names:
      raise ValueError(
        f'{dataset.directory}: no split {part!r}; there are: '
        f'{", ".join(dataset.num_examples)}.'
      )
    # fold_10 comes after fold_9.
    found += sorted(names, key=lambda name: (len(name), name))
  return found


def _rows(dataset: pipeline.DataSet, split: str) -> list[Row]:
  stored = _stored(dataset, split)
  rows = [
    (name, i) for name in stored for i in range(len(dataset.source(name)))
  ]
  if len(stored) > 1:
    _check_disjoint(dataset, split, rows)
  return rows


def _check_disjoint(
  dataset: pipeline.DataSet, split: str, rows: Sequence[Row]
) -> None:
  """Refuses a sum of splits that counts a source twice, such as of slices."""
  names = [record['name'] for record in _Rows(dataset, rows)]
  if len(set(names)) < len(names):
    twice, _ = collections.Counter(names).most_common(1)[0]
    raise ValueError(
      f'{dataset.directory}: {twice.decode()} comes twice in the split '
      f'{split!r}. Sum up disjoint ones.'
    )


def _fates(
  dataset: pipeline.DataSet,
  rows: Mapping[str, Sequence[Row]],
  out: holdout.HoldOut,
) -> dict[str, np.ndarray]:
  """What becomes of each row, by `holdout.judge`.

  Of all splits at once: an image of one can show the sky of another's.
  """
  side_pix = max(dataset.geometry.height, dataset.geometry.width)
  names, sky = [], []
  for record in _Rows(dataset, [row for its in rows.values() for row in its]):
    names.append(record['name'].decode())
    sky.append(
      (
        record['ra_deg'],
        record['dec_deg'],
        record['pixel_scale_arcsec'] * side_pix,
        record['source_size_arcsec'],
      )
    )
  table = np.array(sky, np.float64).reshape(-1, 4)
  fates = holdout.judge(out, names, table, dataset.directory)
  ends = np.cumsum([len(its) for its in rows.values()])[:-1]
  return dict(zip(rows, np.split(fates, ends), strict=True))


def _only(
  rows: Mapping[str, Sequence[Row]],
  fates: Mapping[str, np.ndarray],
  wanted: Iterable[str],
  fate: str,
) -> list[Row]:
  """The rows of some splits that have one fate."""
  return [
    row
    for split in wanted
    for row, its in zip(rows[split], fates[split], strict=True)
    if its == fate
  ]


def _counts(fates: Mapping[str, np.ndarray]) -> dict[str, dict[str, int]]:
  """Split -> fate -> images."""
  kinds = holdout.HELD, holdout.BESIDE, holdout.FREE
  return {
    split: {kind: int((its == kind).sum()) for kind in kinds}
    for split, its in fates.items()
  }


def _check(dataset: pipeline.DataSet, facts: Mapping[str, Any]) -> None:
  total = {
    kind: sum(counts[kind] for counts in facts['images'].values())
    for kind in (holdout.HELD, holdout.BESIDE, holdout.FREE)
  }
  splits = ' and '.join(map(repr, facts['images']))
  whose = f'{facts["file"]}: of its {facts["num_sources"]} sources'
  wanted = total[holdout.HELD]
  if facts['use'] == 'leave_out':
    wanted += total[holdout.BESIDE]
  if not wanted:
    raise ValueError(
      f'{whose} none is in {splits} of {dataset.directory}. Name the hold-out '
      'that was drawn from this set, or set holdout= (none).'
    )
  if not total[holdout.FREE]:
    raise ValueError(
      f'{whose} every image of {splits} of {dataset.directory} shows one, or '
      'lies beside one; nothing is left to learn from. Draw a smaller one.'
    )
