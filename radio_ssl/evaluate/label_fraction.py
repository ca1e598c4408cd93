"""How the score grows with labels: the linear probe taught by a few of each.

From each class as many sources are drawn at random, often; a probe learns from
each draw and is scored on sources that it has not seen.
"""

import dataclasses
from typing import Any

import numpy as np

from radio_ssl.evaluate import linear, metrics, row_space

# With one source of a class none is left to choose L2 by. For two classes it
# has no influence then: the boundary halves the way between the two.
_L2_OF_ONE = 1.0
# Where values of L2 are compared. Few labels can be told apart by many features
# without any penalty: a fit of a weak one that stops early then looks better
# than it is, at 1e-4 by enough to be chosen.
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
  result = []
  for count in counts:
    rng = np.random.default_rng((seed, count))
    l2, confusions = [], []
    for _ in range(num_draws):
      taught = draw(labels, groups, count, rng)
      probe, chosen = _probe(
        features[taught],
        labels[taught],
        num_classes=num_classes,
        num_folds=min(num_folds, count),
        seed=seed,
      )
      new = ~np.isin(groups, groups[taught])
      x, true = scored or (features[new], labels[new])
      predicted = probe.log_probabilities(x)[0].argmax(-1)
      confusions.append(metrics.confusion_matrix(true, predicted, num_classes))
      l2.append(chosen)
    spread = metrics.spread(np.stack(confusions))
    result.append({'labels_per_class': count, **spread, 'l2': l2})
  return result


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


def _probe(
  features: np.ndarray,
  labels: np.ndarray,
  *,
  num_classes: int,
  num_folds: int,
  seed: int,
) -> tuple[linear.Probe, float]:
  """The probe of a draw [n, D], and its L2, of the least out-of-fold log-loss.

  In the at most n directions of its rows: all other weights are 0.
  """
  axes, _ = np.linalg.qr(features.T)
  features = features @ axes
  settings = {'num_classes': num_classes, 'standardise': False}
  l2 = _L2_OF_ONE
  if num_folds > 1:
    # One source of a group is in a draw: there are no groups to keep together.
    losses = linear.log_losses(
      features,
      labels,
      num_folds=num_folds,
      seed=seed,
      tolerance=_TOLERANCE,
      **settings,
    )
    l2 = linear.best(losses)
  probe = linear.fit(features, labels, l2=np.array([l2]), **settings)
  return dataclasses.replace(probe, weights=axes @ probe.weights), l2
