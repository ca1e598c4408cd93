"""Comparisons that were fixed beforehand, a family a label set and protocol."""

import dataclasses
from collections.abc import Sequence

from radio_ssl.benchmark.report import data, scores, tables
from radio_ssl.evaluate import comparisons


@dataclasses.dataclass(frozen=True)
class Family:
  """Comparisons whose p-values are corrected together.

  Attributes:
    differences: of the pairs that have results.
    absent: what cannot be compared yet, a line each.
  """

  differences: list[comparisons.Difference]
  absent: list[str]


def compare(
  rows: Sequence[data.Row], pairs: Sequence[tuple[str, str]]
) -> Family:
  """Compares methods on one label set, by one protocol.

  A pair is compared for each encoder and pretraining set that both have. A
  baseline stands for all pretraining sets; where there is one of its name
  alone, for all encoders. 'method@corpus' is of that pretraining set alone, so
  that one method on two of them is a pair too.

  Args:
    rows: of that label set and protocol.
    pairs: of methods, or of methods on pretraining sets.

  Raises:
    ValueError: two were scored on different sources.
  """
  found, absent = [], []
  split = data.final(rows)
  rows = [row for row in rows if row.of(split)]
  for pair in dict.fromkeys(pairs):
    matched = _matches(rows, *pair)
    found += matched
    if not matched:
      absent.append(f'{pair[0]} - {pair[1]}')
  found = list(dict.fromkeys(found))
  if not found:
    return Family([], absent)
  label_set, protocol = rows[0].group
  stored = {row.label: row.of(split) for row in rows}
  try:
    differences = comparisons.family(stored, found)
  except ValueError as error:
    raise ValueError(f'{label_set}, {protocol}: {error}') from error
  return Family(differences, absent)


def _matches(rows, first: str, second: str) -> list[tuple[str, str]]:
  """Labels of the rows to compare, that differ in nothing that is not told."""
  by_key = {row.key: row for row in rows}

  def of(side: str, encoder: str, corpus: str) -> data.Row | None:
    method, _, own = side.partition('@')
    for place in ((encoder, own or corpus), (encoder, '')):
      if (method, *place) in by_key:
        return by_key[(method, *place)]
    # Of one architecture alone, be it another: the encoder of a baseline.
    only = [row for key, row in by_key.items() if key[0] == method]
    return only[0] if len(only) == 1 and not only[0].key[2] else None

  found = []
  for method, *place in by_key:
    if method in (first.partition('@')[0], second.partition('@')[0]):
      a, b = of(first, *place), of(second, *place)
      if a and b:
        found.append((a.label, b.label))
  return found


def table(rows: Sequence[data.Row], family: Family) -> tables.Table:
  """A family as a table; of `rows`, what they have in common."""
  label_set, protocol = rows[0].group
  num = len(family.differences)
  return tables.Table(
    name=scores.file_name('comparisons', label_set, protocol),
    title=f'{label_set}, {protocol}: differences in accuracy, '
    f'{data.split_name(rows, data.final(rows))}',
    head=(
      *('first', 'second', 'seeds', 'first - second (points)', '95 %'),
      *('p', 'p, Holm'),
    ),
    rows=tuple(_line(it) for it in family.differences),
    notes=(
      f'One family of {num} {"comparison" if num == 1 else "comparisons"}: p '
      'by bootstrap over sources and seeds, then corrected within the family '
      '(Holm).',
    ),
  )


def _line(it: comparisons.Difference) -> tuple[tables.Cell, ...]:
  low, high = it.interval
  return (
    *it.names,
    f'{it.seeds[0]}, {it.seeds[1]}',
    f'{100 * it.difference:+.1f}',
    f'{100 * low:+.1f} to {100 * high:+.1f}',
    f'{it.p:.2g}',
    f'{it.p_holm:.2g}',
  )
