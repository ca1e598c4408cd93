"""Training curves, read from `metrics.jsonl` of the runs."""

import json
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from radio_ssl.benchmark.report import data

# Those that are shown.
NAMES = {
  'loss': 'loss',
  'effective_rank': 'effective rank of the features',
  'feature_std': 'standard deviation of the features',
  'knn_accuracy': 'accuracy of the online k-NN',
}

# Of a long run this many points are shown.
_MOST = 300

Curve = tuple[np.ndarray, np.ndarray]


def read(run: pathlib.Path) -> dict[str, Curve]:
  """Steps and values, both [N], by name; of a run without metrics, none.

  Raises:
    ValueError: a line is none of `progress.MetricsLog`.
  """
  path = run / 'metrics.jsonl'
  if not path.is_file():
    return {}
  found: dict[str, dict[int, float]] = {}
  for number, line in enumerate(path.read_text().splitlines(), start=1):
    try:
      row = json.loads(line)
      step = row['step']
      for name in NAMES.keys() & row.keys():
        value = float(row[name])
        if math.isfinite(value):
          found.setdefault(name, {})[step] = value
    except (ValueError, KeyError, TypeError) as error:
      raise ValueError(
        f'{path}, line {number}: {line[:40]!r}; wanted a row of metrics as '
        'JSON. Restore the file from a copy, or remove it.'
      ) from error
  return {
    name: _thinned(np.array(sorted(its.items()))) for name, its in found.items()
  }


def _thinned(points: np.ndarray) -> Curve:
  """At most so many of the points [N, 2], the first and the last included."""
  chosen = np.linspace(0, len(points) - 1, min(len(points), _MOST))
  points = points[np.unique(chosen.round().astype(int))]
  return points[:, 0], points[:, 1]


def of(rows: Sequence[data.Row]) -> dict[pathlib.Path, dict[str, Curve]]:
  """Curves of the runs of some rows, each read once."""
  runs = dict.fromkeys(
    result.run for row in rows for result in row.results if result.run
  )
  return {run: read(run) for run in runs}


def by_place(
  rows: Sequence[data.Row],
) -> dict[tuple[str, str], dict[pathlib.Path, data.Row]]:
  """Runs by encoder and pretraining set, each with a row that it is in."""
  found: dict[tuple[str, str], dict[pathlib.Path, data.Row]] = {}
  for row in rows:
    for result in row.results:
      if result.run:
        found.setdefault(row.key[1:], {}).setdefault(result.run, row)
  return found
