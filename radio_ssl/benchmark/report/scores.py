"""The tables of a report."""

import re
from collections.abc import Sequence

from radio_ssl.benchmark.report import data, pooled, tables

PROPERTIES = {
  'peak_snr': 'brightest pixel over the noise',
  'size_beams': "size over the beam's major axis",
}

_MARKS = {'transductive': 'transductive *', 'unknown': 'unknown ?'}

# Cecconello et al. 2024, arXiv:2411.14078, as its repository prints it:
# ResNet-18 curated, ResNet-18 uncurated, ResNet-50 curated.
_PAPER = {
  'all4one': (0.821, 0.756, 0.885),
  'byol': (0.896, 0.796, 0.900),
  'dino': (0.642, 0.836, 0.777),
  'simclr': (0.910, 0.848, 0.858),
  'swav': (0.729, 0.744, 0.823),
  'wmse': (0.846, 0.646, 0.812),
}


def file_name(*parts: str) -> str:
  """A name for files; what is no letter, digit or '.' becomes '_'."""
  return '-'.join(re.sub(r'[^\w.]', '_', part) for part in parts if part)


def by_accuracy(rows: Sequence[data.Row]) -> list[data.Row]:
  """The best cross-validated first, so that all tables have one order."""

  def accuracy(row: data.Row) -> float:
    return pooled.over(
      [it['cross_validation']['scores']['accuracy'] for it in row.stored]
    ).mean

  return sorted(rows, key=accuracy, reverse=True)


def counts(rows: Sequence[data.Row]) -> tables.Table:
  """How many evaluations there are of each label set and protocol."""
  groups = data.grouped(rows)
  label_sets = list(dict.fromkeys(name for name, _ in groups))
  protocols = list(dict.fromkeys(name for _, name in groups))
  lines = []
  for name in label_sets:
    cells = [
      sum(len(row.results) for row in groups.get((name, protocol), ()))
      for protocol in protocols
    ]
    lines.append((name, *cells, sum(cells)))
  return tables.Table(
    name='finished',
    title='Finished evaluations',
    head=('label set', *protocols, 'all'),
    rows=tuple(lines),
  )


def main(rows: Sequence[data.Row]) -> list[tables.Table]:
  """Scores of the rows of one label set and protocol, a table a split."""
  found = []
  for split in data.SPLITS:
    if any(row.of(split) for row in rows):
      found.append(_scores(by_accuracy(rows), split))
  return found


def _scores(rows: Sequence[data.Row], split: str) -> tables.Table:
  label_set, protocol = rows[0].group
  shown = data.split_name(rows, split)
  lines, absent = [], 0
  for row in rows:
    scores = pooled.scores(row, split)
    if scores is None:
      lines.append((*row.key, 0, *[None] * 5))
      absent += 1
      continue
    seen = data.overlap(row, split)
    lines.append(
      (
        *row.key,
        scores.num_seeds,
        scores.accuracy,
        scores.balanced_accuracy,
        scores.macro_f1,
        scores.calibration_error,
        _MARKS.get(seen, seen),
      )
    )
  num = {len(it[split]['predictions']) for row in rows for it in row.of(split)}
  notes = data.footnotes(rows, split)
  notes += [
    f'{row.key[0]}: of all weights, by this protocol, is training from scratch.'
    for row in rows
    if row.stored[0]['encoder'] == 'scratch'
  ]
  if absent:
    notes.append(f'{absent} of {len(rows)} rows have no scores of {shown}.')
  return tables.Table(
    name=file_name('scores', label_set, protocol, shown),
    title=f'{label_set}, {protocol}: {shown}, '
    f'{" or ".join(map(str, sorted(num)))} sources',
    head=(
      *('method', 'encoder', 'pretrained on', 'seeds', 'accuracy (%)'),
      *('balanced accuracy (%)', 'macro-F1 (%)', 'ECE (%)'),
      'saw scored sources',
    ),
    rows=tuple(lines),
    notes=tuple(notes),
  )


def search(rows: Sequence[data.SearchRow]) -> tables.Table:
  """Cross-validated accuracy by learning rate."""
  rates = sorted({row.lr for row in rows})
  found: dict[tuple[str, str], dict[float, data.SearchRow]] = {}
  for row in rows:
    found.setdefault((row.method, row.encoder), {})[row.lr] = row
  return tables.Table(
    name='learning_rates',
    title='Learning rates that were tried: cross-validated accuracy (%)',
    head=('method', 'encoder', *(f'{rate:g}' for rate in rates)),
    rows=tuple(
      (*key, *(_tried(its.get(rate)) for rate in rates))
      for key, its in found.items()
    ),
    notes=('– was not tried or is not finished.',),
  )


def _tried(row: data.SearchRow | None) -> str | None:
  if row is None:
    return None
  told = 'diverged' if row.accuracy is None else f'{100 * row.accuracy:.1f}'
  return f'{told} (chosen)' if row.chosen else told


def with_paper(rows: Sequence[data.Row]) -> tables.Table | None:
  """Our accuracies beside those of the paper, where sets agree.

  Args:
    rows: of one label set and protocol.

  Returns:
    None where they are not linear probes on MiraBest.
  """
  stored = rows[0].stored[0]
  directory = stored['dataset']['directory'].split('/')
  if 'mirabest' not in directory or 'linear' not in stored['protocol']:
    return None
  # With few labels as well it is the linear probe over again.
  if stored['config'].get('label_counts'):
    return None
  label_set, protocol = rows[0].group
  split = data.final(rows)
  ours = {row.key: pooled.scores(row, split) for row in rows}
  columns = list(
    dict.fromkeys(key[1:] for key in ours if key[0] in _PAPER and key[2])
  )
  lines = []
  for method, theirs in _PAPER.items():
    its = [ours.get((method, *column)) for column in columns]
    lines.append(
      (
        method,
        *map(tables.Score, theirs),
        *(scores and scores.accuracy for scores in its),
      )
    )
  return tables.Table(
    name=file_name('paper', label_set, protocol),
    title=f'{label_set}, {protocol}: accuracy (%), '
    f'{data.split_name(rows, split)}, beside Cecconello et al. 2024',
    head=(
      *('method', 'paper, ResNet-18, curated'),
      *('paper, ResNet-18, uncurated', 'paper, ResNet-50, curated'),
      *(f'ours, {", ".join(filter(None, column))}' for column in columns),
    ),
    rows=tuple(lines),
    notes=(
      'Not the same measurement: pretraining data, encoder size, probe and '
      'the split of MiraBest that is scored differ. The paper, '
      'arXiv:2411.14078, linear evaluation, as printed in its repository.',
    ),
  )


def span(low: float, high: float) -> str:
  """Ends of a bin, to read."""
  return ' to '.join(
    f'{x:.0f}' if x >= 100 else f'{x:.3g}' for x in (low, high)
  )


def by_property(rows: Sequence[data.Row], name: str) -> tables.Table | None:
  """Accuracy by brightness or size, of one label set and protocol.

  Returns:
    None where no row knows the property.

  Raises:
    ValueError: the rows have different bins.
  """
  rows = by_accuracy(rows)
  split = data.final(rows)
  bins = {row.key: pooled.by_property(row, split, name) for row in rows}
  known = [its for its in bins.values() if its]
  if not known:
    return None
  edges = [(it.low, it.high, it.num_examples) for it in known[0]]
  for row in rows:
    its = [(it.low, it.high, it.num_examples) for it in bins[row.key]]
    if its and its != edges:
      raise ValueError(
        f'{row.results[0].folder}: bins of {name} are not those of the other '
        'results on the set. Evaluate all with one version of radio_ssl.'
      )
  label_set, protocol = rows[0].group
  absent = [row.label for row in rows if not bins[row.key]]
  return tables.Table(
    name=file_name(name, label_set, protocol),
    title=f'{label_set}, {protocol}: accuracy (%) by {PROPERTIES[name]}, '
    f'{data.split_name(rows, split)}',
    head=(
      *('method', 'encoder', 'pretrained on'),
      *(f'{span(low, high)} ({num})' for low, high, num in edges),
    ),
    rows=tuple(
      (
        *row.key,
        *([it.accuracy for it in bins[row.key]] or [None] * len(edges)),
      )
      for row in rows
    ),
    notes=(
      'In brackets how many sources.',
      *([f'Not known for: {"; ".join(absent)}.'] if absent else []),
    ),
  )


def label_curves(rows: Sequence[data.Row]) -> tables.Table | None:
  """Accuracy by labels of a class; None where no row has such scores."""
  curves = {
    row.key: curve
    for row in by_accuracy(rows)
    if (curve := pooled.label_curve(row))
  }
  if not curves:
    return None
  label_set, protocol = rows[0].group
  counts = sorted({count for curve in curves.values() for count in curve})
  left = len(rows) - len(curves)
  return tables.Table(
    name=file_name('label_curve', label_set, protocol),
    title=f'{label_set}, {protocol}: accuracy (%) by labels of each class',
    head=('method', 'encoder', 'pretrained on', *map(str, counts)),
    rows=tuple(
      (*key, *(curve.get(count) for count in counts))
      for key, curve in curves.items()
    ),
    notes=(
      'Mean ± standard deviation over draws of labels and seeds together.',
      *([f'{left} of {len(rows)} rows have no such scores.'] if left else []),
    ),
  )
