"""Scores of a row: over its seeds, or of the predictions of all of them."""

import dataclasses
from typing import Any

import numpy as np

from radio_ssl.benchmark.report import data, tables
from radio_ssl.evaluate import metrics


@dataclasses.dataclass(frozen=True)
class Scores:
  """Mean and standard deviation over the seeds.

  Attributes:
    num_seeds: that have the split.
    accuracy: with the 95 % interval over sources of the mean.
    balanced_accuracy: without one.
    macro_f1: with one.
    calibration_error: expected; None where results do not tell.
  """

  num_seeds: int
  accuracy: tables.Score
  balanced_accuracy: tables.Score
  macro_f1: tables.Score
  calibration_error: tables.Score | None


def scores(row: data.Row, split: str) -> Scores | None:
  """Of a split; None where no seed has it."""
  results = row.of(split)
  if not results:
    return None
  labels, probabilities = row.predictions(split)
  found = metrics.over_seeds(
    labels,
    probabilities.argmax(axis=2),
    num_classes=len(row.label_names),
    num_bootstrap=results[0]['config']['num_bootstrap'],
  )
  its = [result[split]['scores'] for result in results]
  errors = [
    s['calibration']['expected_calibration_error']
    for s in its
    if 'calibration' in s
  ]
  return Scores(
    num_seeds=len(results),
    accuracy=_with_interval(*found['accuracy']),
    balanced_accuracy=over([s['balanced_accuracy'] for s in its]),
    macro_f1=_with_interval(*found['macro_f1']),
    calibration_error=over(errors) if errors else None,
  )


def _with_interval(mean, sd, interval) -> tables.Score:
  return tables.Score(mean, sd, *interval)


def over(values) -> tables.Score:
  """Mean and standard deviation; no deviation of one value."""
  values = np.asarray(values, float)
  sd = values.std(ddof=1) if values.size > 1 else np.nan
  return tables.Score(float(values.mean()), float(sd))


def confusion(row: data.Row, split: str) -> dict[str, Any]:
  """Counts of all seeds together, as `pictures.confusion_matrix` wants them."""
  counts = sum(
    np.array(it[split]['scores']['confusion_matrix']) for it in row.of(split)
  )
  return {
    'confusion_matrix': counts.tolist(),
    'accuracy': float(np.trace(counts) / counts.sum()),
  }


def calibration(row: data.Row, split: str) -> dict[str, Any]:
  """As of `metrics.calibration`, of the predictions of all seeds together.

  Its intervals are too narrow: the seeds have their sources in common.
  """
  labels, probabilities = row.predictions(split)
  return metrics.calibration(
    np.tile(labels, len(probabilities)),
    np.concatenate(probabilities),
  )


@dataclasses.dataclass(frozen=True)
class Bin:
  """Sources of about one brightness or size.

  Attributes:
    low: least value among them.
    high: largest.
    num_examples: how many they are.
    accuracy: over the seeds.
  """

  low: float
  high: float
  num_examples: int
  accuracy: tables.Score


def by_property(row: data.Row, split: str, name: str) -> list[Bin]:
  """Accuracy in bins of 'peak_snr' or 'size_beams'; empty where unknown.

  Raises:
    ValueError: the seeds do not have the same bins.
  """
  found = [
    it[split]['by_property'][name]['bins']
    for it in row.of(split)
    if name in it[split].get('by_property', {})
  ]
  bins = []
  for same in zip(*found, strict=False):
    first = same[0]
    for other in same:
      if (other['low'], other['high']) != (first['low'], first['high']):
        raise ValueError(
          f'{row.results[0].folder}: bins of {name} differ between the seeds '
          f'of {row.label}. Evaluate all with one version of radio_ssl.'
        )
    accuracy = over([bin_['accuracy'] for bin_ in same])
    bins.append(
      Bin(first['low'], first['high'], first['num_examples'], accuracy)
    )
  return bins


def label_curve(row: data.Row) -> dict[int, tables.Score]:
  """Accuracy by labels of a class, over draws of labels and seeds together."""
  values: dict[int, list[float]] = {}
  for it in row.stored:
    for point in it.get('label_curve', ()):
      values.setdefault(point['labels_per_class'], []).extend(
        point['accuracy']['values']
      )
  return {count: over(values[count]) for count in sorted(values)}
