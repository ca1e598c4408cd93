"""How the score grows with labels: the linear probe taught by a few of each.

From each class as many sources are drawn at random, often; a probe learns from
each draw and is scored on sources that it has not seen.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from radio_ssl.data import splits
from radio_ssl.evaluate import linear, metrics, row_space

# With one source of a class none is left to choose L2 by. For two classes it
# has no influence then: the boundary halves the way between the two.
_L2_OF_ONE = 1.0
# Where values of L2 are compared. Few labels can be told apart by many features
# without any penalty: a fit of a weak one that stops early then looks better
# than it is, at 1e-4 (`linear.COARSE_TOLERANCE`) by enough to be chosen.
_TOLERANCE = 1e-6


def curve(
  features: np.ndarray,
  labels: np.ndarray,
  groups: np.ndarray,
  scored: tuple[np.ndarray, np.ndarray] | None,
  *,
  num_classes: int,
  counts: tuple[int, ...],
  num_draws: int,
  num_folds: int,
  seed: int,
) -> list[dict[str, Any]]:
  """Scores for each number of labels of a class, ready for JSON.

  L2 is chosen for each draw, by cross-validation inside it. Features are
  standardised on all training rows, which takes no label.

  Args:
    features: of the training rows, [N, D].
    labels: [N], in 0 .. num_classes - 1.
    groups: [N]; a draw takes one source of a group.
    scored: features [M, D] and labels [M]; None scores each draw on the
      training rows of the groups that it left out.
    num_classes: K.
    counts: labels of each class.
    num_draws: for each count.
    num_folds: of the cross-validation, where a draw has as many of a class.
    seed: of draws and folds.

  Returns:
    For each count 'labels_per_class', and for accuracy, balanced_accuracy and
    macro_f1 the mean, sd and values of the draws; 'l2' of each draw. The draws
    share scored sources: the sd is that of the choice of labels alone.
  """
  mean, axes = row_space.of(features)
  features = (features - mean) @ axes
  if scored:
    scored = (scored[0] - mean) @ axes, scored[1]
  fit = functools.partial(
    linear.fit, features, labels, num_classes=num_classes, standardise=False
  )
  result = []
  for count in counts:
    rng = np.random.default_rng((seed, count))
    draws = [draw(labels, groups, count, rng) for _ in range(num_draws)]
    rows = np.stack(draws)
    l2 = _choose_l2(fit, features, labels, rows, min(num_folds, count), seed)
    probe = fit(l2=l2, rows=rows)
    confusions = _confusions(
      probe, features, labels, groups, rows, scored, num_classes
    )
    result.append(
      {
        'labels_per_class': count,
        **metrics.spread(confusions),
        'l2': l2.tolist(),
      }
    )
  return result


def _confusions(
  probe, features, labels, groups, rows, scored, num_classes: int
) -> np.ndarray:
  """The confusion matrix of each draw, [draws, K, K]."""
  found = []
  inside = probe.log_probabilities(features).argmax(-1)
  outside = scored and probe.log_probabilities(scored[0]).argmax(-1)
  for i, taught in enumerate(rows):
    if scored:
      true, predicted = scored[1], outside[i]
    else:
      new = ~np.isin(groups, groups[taught])
      true, predicted = labels[new], inside[i, new]
    found.append(metrics.confusion_matrix(true, predicted, num_classes))
  return np.stack(found)


def draw(
  labels: np.ndarray, groups: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
  """The rows of a draw, [N] bool: `count` groups of each class, one row each.

  Raises:
    ValueError: a class has too few groups.
  """
  chosen = np.zeros(len(labels), bool)
  # The rarest first: groups may hold sources of two classes.
  names, sizes = np.unique(labels, return_counts=True)
  for label in names[np.argsort(sizes, kind='stable')]:
    free = (labels == label) & ~np.isin(groups, groups[chosen])
    # The first row of each group in a random order is a random row of it.
    order = rng.permutation(np.flatnonzero(free))
    _, first = np.unique(groups[order], return_index=True)
    if len(first) < count:
      raise ValueError(
        f'{count} labels of each class are wanted; class {label} has '
        f'{len(first)} sources. Lower config.label_counts.'
      )
    chosen[order[rng.choice(first, count, replace=False)]] = True
  return chosen


def _choose_l2(
  fit: Callable[..., linear.Probe],
  features: np.ndarray,
  labels: np.ndarray,
  rows: np.ndarray,
  num_folds: int,
  seed: int,
) -> np.ndarray:
  """L2 of each draw, [draws]: that of the least out-of-fold log-loss.

  All draws, folds and values of L2 are solved together.
  """
  if num_folds < 2:
    return np.full(len(rows), _L2_OF_ONE)
  folds = np.full(rows.shape, -1)
  for fold, taught in zip(folds, rows, strict=True):
    # One source of a group is in a draw: there are no groups to keep together.
    fold[taught] = splits.stratified_folds(
      labels[taught], num_folds=num_folds, seed=seed
    )
  # [draws, folds, N]
  training = rows[:, None] & (folds[:, None] != np.arange(num_folds)[:, None])
  grid = np.asarray(linear.L2_GRID)
  probe = fit(
    l2=np.tile(grid, len(rows) * num_folds),
    rows=np.repeat(training.reshape(-1, len(labels)), len(grid), axis=0),
    tolerance=_TOLERANCE,
  )
  log_p = probe.log_probabilities(features)
  own = np.take_along_axis(log_p, labels[None, :, None], axis=2)[..., 0]
  own = own.reshape(len(rows), num_folds, len(grid), len(labels))
  held_out = rows[:, None] & ~training
  loss = -np.einsum('dfln,dfn->dl', own, held_out) / rows.sum(1)[:, None]
  # The last of equals: on a tie the stronger penalty.
  return grid[::-1][np.argmin(loss[:, ::-1], axis=1)]
