"""The k nearest neighbours by cosine, weighted as Wu et al. 2018 do.

A neighbour at similarity s votes for its class with exp(s / temperature),
section 3.4 of https://arxiv.org/abs/1805.01978. Ours: features are standardised
on the training rows first, as they are for the linear probe. Encoders put a
large common vector into all of them, beside which all cosines are nearly 1.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from radio_ssl.data import splits

_NEIGHBOURS = (1, 5, 10, 20, 50)
_TEMPERATURES = (0.02, 0.07, 0.2, 1.0)


def similarity(train_features: np.ndarray, features: np.ndarray) -> np.ndarray:
  """Cosines [M, N] of features [M, D] with training features [N, D].

  Both standardised on the training rows; a feature that is constant there says
  nothing.
  """
  mean, scale = train_features.mean(axis=0), train_features.std(axis=0)
  # Rounding leaves a trace of a spread in a constant column.
  constant = scale <= 1e-6 * np.abs(train_features).max(axis=0)
  weight = np.where(constant, 0, 1 / np.where(constant, 1, scale))
  unit, train_unit = (
    _unit((rows - mean) * weight) for rows in (features, train_features)
  )
  return unit @ train_unit.T


def vote(
  train_features: np.ndarray,
  train_labels: np.ndarray,
  features: np.ndarray,
  *,
  num_classes: int,
  k: int,
  temperature: float,
) -> np.ndarray:
  """Class probabilities [M, K].

  Args:
    train_features: [N, D].
    train_labels: [N], in 0 .. num_classes - 1.
    features: [M, D].
    num_classes: K.
    k: neighbours that vote; all where there are fewer.
    temperature: > 0.
  """
  cosines = similarity(train_features, features)
  return _votes(cosines, train_labels, num_classes, k, temperature)


def _votes(cosines, train_labels, num_classes: int, k: int, temperature: float):
  k = min(k, len(train_labels))
  nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
  chosen = np.take_along_axis(cosines, nearest, axis=1)
  weight = np.exp((chosen - chosen.max(axis=1, keepdims=True)) / temperature)
  votes = np.zeros((len(cosines), num_classes))
  for label in range(num_classes):
    votes[:, label] = (weight * (train_labels[nearest] == label)).sum(axis=1)
  return votes / votes.sum(axis=1, keepdims=True)


def _unit(x: np.ndarray) -> np.ndarray:
  norm = np.linalg.norm(x, axis=1, keepdims=True)
  return x / np.where(norm > 0, norm, 1)


def cross_validated_accuracy(
  features: np.ndarray,
  labels: np.ndarray,
  *,
  num_classes: int,
  k: int,
  temperature: float,
  num_folds: int,
  seed: int,
  groups: np.ndarray | None = None,
) -> float:
  """Share of sources whose out-of-fold neighbours name their class.

  `groups` are those of `splits.stratified_folds`; the rest is as in `vote`.
  """
  folds = splits.stratified_folds(
    labels, num_folds=num_folds, seed=seed, groups=groups
  )
  wanted = [(k, temperature)]
  return _accuracies(features, labels, folds, num_classes, wanted)[0]


def _accuracies(
  features, labels, folds, num_classes: int, wanted: Sequence[tuple[int, float]]
) -> list[float]:
  """Out-of-fold accuracy by each of some (k, temperature)."""
  right = np.zeros(len(wanted), int)
  for fold in np.unique(folds):
    out = folds == fold
    cosines = similarity(features[~out], features[out])
    for i, (k, temperature) in enumerate(wanted):
      votes = _votes(cosines, labels[~out], num_classes, k, temperature)
      right[i] += (votes.argmax(axis=1) == labels[out]).sum()
  return (right / len(labels)).tolist()


def predict(
  train_features: np.ndarray,
  train_labels: np.ndarray,
  features: np.ndarray,
  *,
  num_classes: int,
  num_folds: int,
  seed: int,
  groups: np.ndarray | None = None,
) -> tuple[np.ndarray, dict[str, Any]]:
  """Class probabilities of `features`, and the k and temperature chosen.

  They are those of the best out-of-fold accuracy inside the training rows; the
  fewer neighbours on a tie.
  """
  folds = splits.stratified_folds(
    train_labels, num_folds=num_folds, seed=seed, groups=groups
  )
  wanted = list(itertools.product(_NEIGHBOURS, _TEMPERATURES))
  scores = _accuracies(train_features, train_labels, folds, num_classes, wanted)
  k, temperature = wanted[int(np.argmax(scores))]
  votes = vote(
    train_features,
    train_labels,
    features,
    num_classes=num_classes,
    k=k,
    temperature=temperature,
  )
  return votes, {'k': k, 'temperature': temperature}
