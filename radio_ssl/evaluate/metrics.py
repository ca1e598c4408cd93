"""Scores of a classifier, with their uncertainty over sources."""

from collections.abc import Sequence
from typing import Any

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
  confusion = sklearn.metrics.confusion_matrix(
    labels, predicted, labels=numbers
  )
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
  confusions = np.zeros((len(names), num_classes, num_classes), int)
  for confusion, name in zip(confusions, names, strict=True):
    rows = folds == name
    np.add.at(confusion, (labels[rows], predicted[rows]), 1)
  result: dict[str, Any] = {'names': names}
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
