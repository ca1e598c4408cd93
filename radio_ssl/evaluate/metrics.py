"""Scores of a classifier, with their uncertainty over sources."""

import itertools
from collections.abc import Sequence
from typing import Any

import astropy.stats
import numpy as np
import sklearn.metrics


def score(
  labels: np.ndarray,
  probabilities: np.ndarray,
  label_names: Sequence[str],
  *,
  num_bootstrap: int = 2000,
  seed: int = 0,
) -> dict[str, Any]:
  """Scores of predictions, ready for JSON.

  Args:
    labels: [N], in 0 .. K - 1.
    probabilities: [N, K]; the largest is the prediction.
    label_names: K names.
    num_bootstrap: resamplings of the N sources for the 95 % intervals
      (percentile method; sources are drawn whatever their class).
    seed: of the resampling.

  Returns:
    accuracy, balanced_accuracy, macro_f1 in [0, 1]; `intervals` of the three;
    `per_class`; `confusion_matrix` [true][predicted]; num_examples. A class
    without sources and predictions counts as F1 = 0; one without sources has
    no part in the balanced accuracy.
  """
  predicted = np.asarray(probabilities).argmax(axis=1)
  numbers = np.arange(len(label_names))
  confusion = confusion_matrix(labels, predicted, len(label_names))
  precision, recall, f1, support = (
    sklearn.metrics.precision_recall_fscore_support(
      labels, predicted, labels=numbers, zero_division=0
    )
  )
  generator = np.random.default_rng(seed)
  draws = _resampled(confusion, num_bootstrap, generator)
  return {
    'num_examples': len(labels),
    'accuracy': float(_accuracy(confusion)),
    'balanced_accuracy': float(_balanced_accuracy(confusion)),
    'macro_f1': float(_macro_f1(confusion)),
    'intervals': {
      'accuracy': _interval(_accuracy(draws)),
      'balanced_accuracy': _interval(_balanced_accuracy(draws)),
      'macro_f1': _interval(_macro_f1(draws)),
    },
    'per_class': {
      name: {
        'precision': float(precision[i]),
        'recall': float(recall[i]),
        'f1': float(f1[i]),
        'support': int(support[i]),
      }
      for i, name in enumerate(label_names)
    },
    'confusion_matrix': confusion.tolist(),
    'calibration': calibration(labels, probabilities),
  }


def calibration(
  labels: np.ndarray, probabilities: np.ndarray, *, num_bins: int = 10
) -> dict[str, Any]:
  """Whether predictions are right as often as they claim, ready for JSON.

  Guo et al. 2017, https://arxiv.org/abs/1706.04599, eqs. (2) and (3).

  Args:
    labels: [N], in 0 .. K - 1.
    probabilities: [N, K]; the largest is prediction and confidence.
    num_bins: of equal width, from 0 to 1; a confidence on an edge belongs to
      the bin below it.

  Returns:
    expected_calibration_error in [0, 1]; `bins` with low, high and
    num_examples, and where there are any, their mean confidence, their
    accuracy and its 95 % interval (Wilson 1927).
  """
  probabilities = np.asarray(probabilities)
  confidence = np.minimum(probabilities.max(axis=1), 1)
  right = probabilities.argmax(axis=1) == labels
  edges = np.linspace(0, 1, num_bins + 1)
  number = np.searchsorted(edges, confidence, side='left') - 1
  error, bins = 0.0, []
  for i, (low, high) in enumerate(itertools.pairwise(edges)):
    rows = number == i
    row = {'low': float(low), 'high': float(high), 'num_examples': 0}
    if rows.any():
      claimed = float(confidence[rows].mean())
      row |= {'confidence': claimed, **_share(right[rows])}
      error += rows.mean() * abs(row['accuracy'] - claimed)
    bins.append(row)
  return {'expected_calibration_error': float(error), 'bins': bins}


def by_property(
  right: np.ndarray, values: np.ndarray, *, num_bins: int = 4
) -> dict[str, Any]:
  """Accuracy of the sources in each quantile of a property, ready for JSON.

  Args:
    right: [N] bool, of the predictions.
    values: [N], NaN where unknown.
    num_bins: of equal numbers of sources; fewer where values repeat.

  Returns:
    `unknown`, the number of sources without a value; `bins` with the low and
    high value in it, num_examples, accuracy and its 95 % interval (Wilson
    1927).
  """
  known = np.isfinite(values)
  values, right = values[known], right[known]
  edges = np.unique(np.quantile(values, np.linspace(0, 1, num_bins + 1)[1:-1]))
  number = np.searchsorted(edges, values, side='right')
  bins = []
  for rows in (number == i for i in np.unique(number)):
    bins.append(
      {
        'low': float(values[rows].min()),
        'high': float(values[rows].max()),
        **_share(right[rows]),
      }
    )
  return {'unknown': int((~known).sum()), 'bins': bins}


def _share(right: np.ndarray) -> dict[str, Any]:
  """How many are right; the interval of Wilson stays within [0, 1]."""
  interval = astropy.stats.binom_conf_interval(
    right.sum(), len(right), 0.95, 'wilson'
  )
  return {
    'num_examples': len(right),
    'accuracy': float(right.mean()),
    'interval': interval.tolist(),
  }


def over_seeds(
  labels: np.ndarray,
  predicted: np.ndarray,
  *,
  num_classes: int,
  num_bootstrap: int = 2000,
  seed: int = 0,
) -> dict[str, tuple[float, float, list[float]]]:
  """Scores of one method, pretrained from several seeds.

  Args:
    labels: [N], in 0 .. K - 1.
    predicted: [S, N], of S seeds.
    num_classes: K.
    num_bootstrap: resamplings of the N sources, the same ones for every seed.
    seed: of the resampling.

  Returns:
    For accuracy and macro_f1: the mean over the seeds; their standard
    deviation (NaN for one seed); the 95 % interval of that mean over sources.
  """
  shape = (num_classes, num_classes)
  cells = np.eye(num_classes**2)[np.asarray(labels) * num_classes + predicted]
  generator = np.random.default_rng(seed)
  num = len(labels)
  counts = generator.multinomial(num, np.full(num, 1 / num), num_bootstrap)
  draws = np.einsum('bn,snc->sbc', counts, cells)
  result = {}
  for name, statistic in (('accuracy', _accuracy), ('macro_f1', _macro_f1)):
    values = statistic(cells.sum(axis=1).reshape(-1, *shape))
    means = statistic(draws.reshape(*draws.shape[:2], *shape)).mean(axis=0)
    sd = values.std(ddof=1) if len(values) > 1 else np.nan
    result[name] = float(values.mean()), float(sd), _interval(means)
  return result


def over_folds(
  labels: np.ndarray, probabilities: np.ndarray, folds: np.ndarray
) -> dict[str, Any]:
  """Scores of each fold by itself, ready for JSON.

  Args:
    labels: [N], in 0 .. K - 1.
    probabilities: [N, K], of each source by a probe that has not seen its fold.
    folds: [N] names.

  Returns:
    `names` of the folds; for accuracy, balanced_accuracy and macro_f1 the
    `values` of the folds, their `mean` and standard deviation `sd`. Any two
    probes share training sources: the sd is no error of the mean.
  """
  names = sorted(set(folds.tolist()), key=lambda name: (len(name), name))
  num_classes = probabilities.shape[1]
  predicted = np.asarray(probabilities).argmax(axis=1)
  confusions = [
    confusion_matrix(labels[rows], predicted[rows], num_classes)
    for rows in (folds == name for name in names)
  ]
  return {'names': names, **spread(np.stack(confusions))}


def confusion_matrix(
  labels: np.ndarray, predicted: np.ndarray, num_classes: int
) -> np.ndarray:
  """Counts [true, predicted] of labels and predictions [N]."""
  return sklearn.metrics.confusion_matrix(
    labels, predicted, labels=np.arange(num_classes)
  )


def spread(confusions: np.ndarray) -> dict[str, Any]:
  """Scores of several confusion matrices, ready for JSON.

  Args:
    confusions: [M, K, K], M > 1.

  Returns:
    For accuracy, balanced_accuracy and macro_f1 the `values`, their `mean` and
    standard deviation `sd`.
  """
  result = {}
  for name, statistic in (
    ('accuracy', _accuracy),
    ('balanced_accuracy', _balanced_accuracy),
    ('macro_f1', _macro_f1),
  ):
    values = statistic(confusions)
    result[name] = {
      'values': values.tolist(),
      'mean': float(values.mean()),
      'sd': float(values.std(ddof=1)),
    }
  return result


def _resampled(
  confusion: np.ndarray, num: int, generator: np.random.Generator
) -> np.ndarray:
  """Confusion matrices [num, K, K] of as many sources drawn anew.

  Drawing sources with replacement draws the cells of the matrix: a multinomial.
  """
  counts = confusion.reshape(-1)
  draws = generator.multinomial(counts.sum(), counts / counts.sum(), size=num)
  return draws.reshape(num, *confusion.shape)


def _accuracy(confusion: np.ndarray) -> np.ndarray:
  right = np.trace(confusion, axis1=-2, axis2=-1)
  return right / confusion.sum(axis=(-2, -1))


def _balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
  right = np.diagonal(confusion, axis1=-2, axis2=-1)
  support = confusion.sum(axis=-1)
  recall = right / np.maximum(support, 1)
  return recall.sum(axis=-1) / (support > 0).sum(axis=-1)


def _macro_f1(confusion: np.ndarray) -> np.ndarray:
  right = np.diagonal(confusion, axis1=-2, axis2=-1)
  both = confusion.sum(axis=-1) + confusion.sum(axis=-2)
  return (2 * right / np.maximum(both, 1)).mean(axis=-1)


def _interval(values: np.ndarray) -> list[float]:
  return np.percentile(values, [2.5, 97.5]).tolist()
