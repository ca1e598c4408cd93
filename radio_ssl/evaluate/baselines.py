"""What an encoder must beat: no training, pixels, catalogue numbers."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sklearn.decomposition

from radio_ssl.augment import inputs
from radio_ssl.data import pipeline
from radio_ssl.evaluate import features

_LOG = logging.getLogger(__name__)

Tables = dict[str, features.Table]


def random(config, dataset, splits, checkpoint_meta) -> Tables:
  """The untrained encoder, of the checkpoint's or else the config's shape."""
  source = checkpoint_meta['config'] if checkpoint_meta else config
  frozen = features.untrained(
    dict(source['encoder']), inputs.Input(**source['input']), seed=config.seed
  )
  return {
    split: features.extract(
      frozen,
      dataset,
      split,
      batch_size=config.batch_size,
      rotations=config.rotations,
    )
    for split in splits
  }


def pixels(config, dataset, splits, checkpoint_meta) -> Tables:
  """Principal components of the scaled pixels.

  Fitted on the first split, which is the training one, without its labels.
  """
  source = checkpoint_meta['config'] if checkpoint_meta else config
  image_input = inputs.Input(**source['input'])

  def flat(batch):
    images = inputs.prepare(batch, image_input, dataset.geometry)
    return images[..., 0].reshape(len(images), -1)

  tables = {
    split: features.tabulate(dataset, split, flat, config.batch_size)
    for split in splits
  }
  train = next(iter(tables.values())).features
  components = min(config.pixel_components, *train.shape)
  pca = sklearn.decomposition.PCA(
    components, svd_solver='full', random_state=config.seed
  ).fit(train)
  return {
    split: _with(table, pca.transform(table.features))
    for split, table in tables.items()
  }


def catalogue(config, dataset, splits, checkpoint_meta) -> Tables:
  """Logarithms of source size and flux, where the set has them."""
  del config, checkpoint_meta
  tables = {
    split: features.tabulate(
      dataset, split, lambda batch: np.zeros((len(batch['index']), 1))
    )
    for split in splits
  }
  train = next(iter(tables.values()))
  columns = [
    name
    for name in ('source_size_arcsec', 'flux_jy')
    if np.isfinite(train.columns[name]).any()
  ]
  if not columns:
    raise ValueError(
      f'{dataset.directory}: no source sizes and no fluxes; the baseline '
      '"catalogue" needs one of them.'
    )
  _LOG.info('Baseline catalogue uses %s.', ', '.join(columns))
  return _logarithms(tables, train, columns)


def _logarithms(tables: Tables, train: features.Table, columns) -> Tables:
  """Log of each column; unknown values take the median of the training ones."""
  floors, medians = {}, {}
  for name in columns:
    values = train.columns[name]
    positive = values[values > 0]
    if not positive.size:
      raise ValueError(f'Column {name} has no positive value to take a log of.')
    floors[name] = positive.min()
    medians[name] = np.nanmedian(values)
  result = {}
  for split, table in tables.items():
    logs = []
    for name in columns:
      values = table.columns[name]
      unknown = np.isnan(values)
      if unknown.any():
        _LOG.info(
          'Split %s: %d of %d values of %s are unknown and take the median.',
          split,
          unknown.sum(),
          len(values),
          name,
        )
      filled = np.where(unknown, medians[name], values)
      logs.append(np.log(np.maximum(filled, floors[name])))
    result[split] = _with(table, np.stack(logs, axis=1))
  return result


def _with(table: features.Table, values: np.ndarray) -> features.Table:
  return features.Table(values, table.labels, table.names, table.columns)


BASELINES: Mapping[
  str, Callable[[Any, pipeline.DataSet, list[str], Mapping | None], Tables]
] = {'random': random, 'pixels': pixels, 'catalogue': catalogue}


def tables(
  name: str,
  config,
  dataset: pipeline.DataSet,
  splits: list[str],
  checkpoint_meta: Mapping | None,
) -> Tables:
  """Tables of a baseline.

  Args:
    name: of the baseline.
    config: of the evaluator.
    dataset: labelled.
    splits: the training split first.
    checkpoint_meta: of the encoder to compare with, or None.

  Raises:
    ValueError: there is no baseline of that name.
  """
  if name not in BASELINES:
    raise ValueError(
      f'No baseline named {name!r}; there are: {", ".join(BASELINES)}.'
    )
  return BASELINES[name](config, dataset, splits, checkpoint_meta)
