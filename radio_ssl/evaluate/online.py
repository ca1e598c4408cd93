"""The score of an encoder while it trains: cosine kNN on a labelled set.

Of a validation split by its neighbours in the training split; or, where a set
has none, by cross-validation inside the training split.
"""

import numpy as np

from radio_ssl.augment import inputs
from radio_ssl.data import pipeline, splits
from radio_ssl.evaluate import features, knn, selection

_NEIGHBOURS = 10
_TEMPERATURE = 0.07
_NUM_FOLDS = 5
# Sources closer than this share a fold: one that is listed twice, or two in one
# picture, must not be on both sides.
_GROUP_RADIUS_ARCSEC = 60.0


def check(
  monitor, dataset: pipeline.DataSet, image_input: inputs.Input
) -> None:
  """Refuses before the first step what could not be scored after it.

  Args:
    monitor: `config.monitor` of the run.
    dataset: the labelled set that it names.
    image_input: of the encoder.

  Raises:
    ValueError: names the data set, what is wrong with it and the remedy.
  """
  try:
    chosen = _choose(monitor, dataset)
    tables = [features.tabulate(chosen, s, _constant) for s in chosen.rows]
    inputs.validate(image_input, dataset.geometry)
    _accuracy(tables, dataset.label_names)
  except ValueError as error:
    raise ValueError(
      f'{dataset.directory}, of config.monitor: {error}'
    ) from error


def accuracy(
  frozen: features.FrozenEncoder, dataset: pipeline.DataSet, monitor
) -> float:
  """Share of the scored sources whose neighbours name their class."""
  chosen = _choose(monitor, dataset)
  tables = [features.extract(frozen, chosen, split) for split in chosen.rows]
  return _accuracy(tables, dataset.label_names)


def _constant(batch) -> np.ndarray:
  return np.ones((len(batch['index']), 1))


def _choose(monitor, dataset: pipeline.DataSet) -> selection.Selection:
  """What is held out is neither scored nor anyone's neighbour."""
  return selection.choose(
    dataset, monitor.train, monitor.validation, held_out=monitor.holdout
  )


def _accuracy(tables: list[features.Table], label_names) -> float:
  settings = {
    'num_classes': len(label_names),
    'k': _NEIGHBOURS,
    'temperature': _TEMPERATURE,
  }
  train = tables[0]
  if len(tables) == 1:
    groups = splits.groups_by_position(
      train.columns['ra_deg'], train.columns['dec_deg'], _GROUP_RADIUS_ARCSEC
    )
    return knn.cross_validated_accuracy(
      train.features,
      train.labels,
      num_folds=_NUM_FOLDS,
      seed=0,
      groups=groups,
      **settings,
    )
  scored = tables[1]
  if shared := set(train.names) & set(scored.names):
    raise ValueError(
      f'its two splits share {len(shared)} sources, such as {min(shared)}; '
      'name disjoint ones.'
    )
  unknown = np.setdiff1d(scored.labels, train.labels)
  if unknown.size:
    raise ValueError(
      f'no source of the class {label_names[unknown[0]]!r} to learn from; set '
      'config.monitor.validation= (none), or take another split.'
    )
  votes = knn.vote(train.features, train.labels, scored.features, **settings)
  return float((votes.argmax(axis=1) == scored.labels).mean())
