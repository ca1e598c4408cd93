"""The pictures of a report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure


def confusion_matrix(
  scores: Mapping[str, Any], labels: Sequence[str], title: str
) -> Figure:
  """Counts and shares of each true class; `scores` as of `metrics.score`."""
  counts = np.asarray(scores['confusion_matrix'])
  support = counts.sum(axis=1)
  share = 100 * counts / np.maximum(support, 1)[:, None]
  side = 2.5 + 0.7 * len(labels)
  figure = Figure(figsize=(side + 1, side), layout='constrained')
  axes = figure.subplots()
  image = axes.imshow(share, cmap='Blues', vmin=0, vmax=100)
  figure.colorbar(image, label='share of the true class (%)', shrink=0.8)
  axes.set(
    xlabel='predicted class',
    ylabel='true class (sources)',
    title=f'{title}\naccuracy {100 * scores["accuracy"]:.1f} %',
  )
  ticks = range(len(labels))
  long = max(map(len, labels)) > 8
  axes.set_xticks(
    ticks,
    labels,
    rotation=45 if long else 0,
    rotation_mode='anchor',
    ha='right' if long else 'center',
  )
  axes.set_yticks(
    ticks, [f'{x} ({n})' for x, n in zip(labels, support, strict=True)]
  )
  axes.tick_params(length=0)
  for i, j in np.argwhere(counts):
    axes.text(
      j,
      i,
      f'{counts[i, j]}\n{share[i, j]:.0f} %',
      ha='center',
      va='center',
      color='white' if share[i, j] > 60 else 'black',
    )
  return figure


def reliability(calibration: Mapping[str, Any], title: str) -> Figure:
  """Share of right predictions over their confidence, with the counts.

  Args:
    calibration: as of `metrics.calibration`.
    title: of the picture.
  """
  bins = [row for row in calibration['bins'] if row['num_examples']]
  figure = Figure(figsize=(4.5, 5.5), layout='constrained')
  upper, lower = figure.subplots(
    2, sharex=True, gridspec_kw={'height_ratios': (3, 1)}
  )
  upper.plot([0, 1], [0, 1], color='0.6', linestyle='--')
  confidence = [row['confidence'] for row in bins]
  accuracy = np.array([row['accuracy'] for row in bins])
  ends = np.array([row['interval'] for row in bins]).T
  # The interval holds the share itself, up to rounding.
  error = np.maximum(np.abs(ends - accuracy), 0)
  upper.errorbar(confidence, accuracy, error, marker='o', capsize=3)
  upper.set(
    ylabel='share that is right (95 %)',
    ylim=(0, 1),
    title=f'{title}\nexpected calibration error '
    f'{100 * calibration["expected_calibration_error"]:.1f} %',
  )
  lower.bar(
    [row['low'] for row in bins],
    [row['num_examples'] for row in bins],
    width=[row['high'] - row['low'] for row in bins],
    align='edge',
    edgecolor='white',
  )
  least = min(row['low'] for row in bins)
  lower.set(xlabel='confidence', ylabel='sources', xlim=(least, 1))
  return figure


def label_curve(
  points: Sequence[Mapping[str, Any]], scores: Mapping[str, Any], title: str
) -> Figure:
  """Accuracy over the number of labels of each class.

  Args:
    points: as of `label_fraction.curve`.
    scores: of the probe that has all labels.
    title: of the picture.
  """
  figure = Figure(figsize=(5, 4), layout='constrained')
  axes = figure.subplots()
  counts = [point['labels_per_class'] for point in points]
  axes.errorbar(
    counts,
    [100 * point['accuracy']['mean'] for point in points],
    [100 * point['accuracy']['sd'] for point in points],
    marker='o',
    capsize=3,
    label='draws of labels, mean ± sd',
  )
  axes.axhline(
    100 * scores['accuracy'], color='0.4', linestyle='--', label='all labels'
  )
  axes.set(
    xscale='log',
    xlabel='labels of each class',
    ylabel='accuracy (%)',
    title=title,
  )
  axes.set_xticks(counts, counts)
  axes.minorticks_off()
  axes.legend(loc='lower right')
  return figure
