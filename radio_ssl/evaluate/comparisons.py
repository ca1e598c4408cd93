"""Which of two methods is better, and how sure that is.

Differences are paired by source, for all are scored on the same ones. Sources
are drawn anew for the uncertainty of the labelled set, pretraining seeds for
that of the training; p-values of a family of comparisons, which should be
fixed before any is looked at, are corrected together (Holm 1979).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radio_ssl.evaluate import report

Result = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Difference:
  """Accuracy of one method minus that of another.

  Attributes:
    names: of the two.
    seeds: pretraining seeds of each.
    difference: of the mean accuracies over the seeds, in [-1, 1].
    interval: of 95 %, percentiles of the bootstrap.
    p: two-sided, of no difference; at least 2 / (1 + draws).
    p_holm: corrected for the family.
  """

  names: tuple[str, str]
  seeds: tuple[int, int]
  difference: float
  interval: tuple[float, float]
  p: float
  p_holm: float = float('nan')


def difference(
  right: tuple[np.ndarray, np.ndarray],
  names: tuple[str, str] = ('', ''),
  *,
  num_bootstrap: int = 10000,
  seed: int = 0,
) -> Difference:
  """Compares two methods by the sources that they name right.

  Args:
    right: of both methods, [S, N] bool: S pretraining seeds, which may differ
      in number, and the same N sources in the same order.
    names: of the two.
    num_bootstrap: draws of the sources, the same for both methods, and of the
      seeds of each. A single seed is taken as it is: the interval then knows
      nothing of the chance in the training.
    seed: of the draws.
  """
  rng = np.random.default_rng(seed)
  num = right[0].shape[1]
  counts = rng.multinomial(num, np.full(num, 1 / num), num_bootstrap)
  means = []
  for its in right:
    # [draws, S]: the accuracy of each seed on the drawn sources.
    accuracies = counts @ its.T / num
    drawn = rng.integers(0, len(its), accuracies.shape)
    means.append(np.take_along_axis(accuracies, drawn, axis=1).mean(axis=1))
  found = means[0] - means[1]
  low, high = np.percentile(found, [2.5, 97.5])
  side = min((found <= 0).sum(), (found >= 0).sum())
  return Difference(
    names=names,
    seeds=(len(right[0]), len(right[1])),
    difference=float(right[0].mean() - right[1].mean()),
    interval=(float(low), float(high)),
    p=float(min(2 * (1 + side) / (1 + num_bootstrap), 1)),
  )


def holm(p: Sequence[float]) -> np.ndarray:
  """P-values of a family, corrected: Holm 1979, Scand. J. Stat. 6, 65."""
  p = np.asarray(p, float)
  order = np.argsort(p)
  factors = np.arange(len(p), 0, -1)
  corrected = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
  result = np.empty_like(p)
  result[order] = corrected
  return result


def right_of(
  results: Sequence[Result], split: str, names: Sequence[str]
) -> np.ndarray:
  """[S, N]: whether each of S results names each source of a split right.

  Raises:
    ValueError: a result was scored on other sources.
  """
  rows = []
  for result in results:
    found = {row['name']: row for row in result[split]['predictions']}
    if set(found) != set(names):
      raise ValueError(
        f'{result["encoder"]}: scored on {len(found)} sources of {split!r}, '
        f'another result on {len(names)}; compared are those of the same '
        'sources.'
      )
    rows.append(
      [np.argmax(found[n]['probabilities']) == found[n]['label'] for n in names]
    )
  return np.array(rows)


def family(
  results: Mapping[str, Sequence[Result]],
  pairs: Sequence[tuple[str, str]],
  *,
  num_bootstrap: int = 10000,
  seed: int = 0,
) -> list[Difference]:
  """All comparisons of a family, with their corrected p-values.

  Args:
    results: of each method, one a pretraining seed; scored on the same sources.
    pairs: names of the methods to compare.
    num_bootstrap: as for `difference`.
    seed: as for `difference`.

  Raises:
    ValueError: a name without results, or results on other sources.
  """
  for name in (name for pair in pairs for name in pair):
    if name not in results:
      raise ValueError(
        f'No results of {name!r}; there are: {", ".join(sorted(results))}.'
      )
  first = results[pairs[0][0]][0]
  split, _ = report.final(first)
  names = sorted(row['name'] for row in first[split]['predictions'])
  right = {
    name: right_of(results[name], split, names)
    for name in dict.fromkeys(name for pair in pairs for name in pair)
  }
  found = [
    difference(
      (right[a], right[b]), (a, b), num_bootstrap=num_bootstrap, seed=seed
    )
    for a, b in pairs
  ]
  corrected = holm([it.p for it in found])
  return [
    dataclasses.replace(it, p_holm=float(p))
    for it, p in zip(found, corrected, strict=True)
  ]


def table(found: Sequence[Difference]) -> str:
  """A markdown table of a family."""
  lines = [
    '| comparison | seeds | difference in accuracy (95 %) | p | p, Holm |',
    '| --- | --- | --- | --- | --- |',
  ]
  for it in found:
    low, high = it.interval
    lines.append(
      f'| {it.names[0]} - {it.names[1]} | {it.seeds[0]}, {it.seeds[1]} '
      f'| {100 * it.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}) '
      f'| {it.p:.2g} | {it.p_holm:.2g} |'
    )
  return '\n'.join(lines)
