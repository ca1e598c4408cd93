"""What an encoder must beat: no training, pixels, catalogue numbers."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sklearn.decomposition

from radio_ssl.augment import inputs
from radio_ssl.data import pipeline
from radio_ssl.evaluate import features

_LOG = logging.getLogger(__name__)

# Redshifts are not used: they tell how a survey was selected.
_CATALOGUE = ('source_size_arcsec', 'flux_jy')

Tables = dict[str, features.Table]
# What a baseline did, ready for JSON.
Facts = dict[str, Any]


def untrained(
  config, checkpoint_meta: Mapping | None
) -> tuple[features.FrozenEncoder, Facts]:
  """An encoder of the checkpoint's or else the config's shape; its facts."""
  source = checkpoint_meta['config'] if checkpoint_meta else config
  image_inputs = features.shown(source, config.fields_arcsec)
  facts = {
    'encoder': dict(source['encoder']),
    'inputs': [dataclasses.asdict(it) for it in image_inputs],
    'seed': config.seed,
  }
  frozen = features.untrained(facts['encoder'], image_inputs, seed=config.seed)
  return frozen, facts


def random(
  config, dataset, splits, checkpoint_meta, extract=features.extract
) -> tuple[Tables, Facts]:
  """The features of the untrained encoder."""
  frozen, facts = untrained(config, checkpoint_meta)
  tables = {
    split: extract(
      frozen,
      dataset,
      split,
      batch_size=config.batch_size,
      rotations=config.rotations,
    )
    for split in splits
  }
  return tables, facts


def pixels(config, dataset, splits, checkpoint_meta) -> tuple[Tables, Facts]:
  """Principal components of the scaled pixels.

  Fitted on the first split, which is the training one, without its labels;
  its cross-validated score has seen the held-out pixels in that way.
  """
  source = checkpoint_meta['config'] if checkpoint_meta else config
  image_inputs = features.shown(source, config.fields_arcsec)

  def flat(batch):
    images = [
      inputs.prepare(batch, it, dataset.geometry) for it in image_inputs
    ]
    return np.concatenate(
      [its[..., 0].reshape(len(its), -1) for its in images], axis=1
    )

  tables = {
    split: features.tabulate(dataset, split, flat, config.batch_size)
    for split in splits
  }
  train = next(iter(tables.values())).features
  if config.pixel_components < 1:
    raise ValueError(
      f'config.pixel_components is {config.pixel_components}; wanted 1 or more.'
    )
  if (train == train[0]).all():
    raise ValueError(
      f'{dataset.directory}: all images of {splits[0]!r} are the same within '
      'the field and limits of config.input; there are no components.'
    )
  # Centred on their mean, N images span N - 1 directions.
  components = min(config.pixel_components, len(train) - 1, train.shape[1])
  pca = sklearn.decomposition.PCA(components, svd_solver='full').fit(train)
  facts = {
    'inputs': [dataclasses.asdict(it) for it in image_inputs],
    'components': components,
    'explained_variance': float(pca.explained_variance_ratio_.sum()),
  }
  return {
    split: _with(table, pca.transform(table.features))
    for split, table in tables.items()
  }, facts


def catalogue(config, dataset, splits, checkpoint_meta) -> tuple[Tables, Facts]:
  """Logarithms of source size and flux, where the set has them.

  A value that is unknown takes the median of the training split; one that is
  not positive takes its least positive value.
  """
  del config, checkpoint_meta
  tables = {
    split: features.tabulate(dataset, split, features.nothing)
    for split in splits
  }
  train = next(iter(tables.values()))
  columns = [name for name in _CATALOGUE if (train.columns[name] > 0).any()]
  if not columns:
    raise ValueError(
      f'{dataset.directory}: no source sizes and no fluxes; the baseline '
      '"catalogue" needs one of them.'
    )
  dropped = [name for name in _CATALOGUE if name not in columns]
  unknown = {
    split: {name: int(np.isnan(t.columns[name]).sum()) for name in columns}
    for split, t in tables.items()
  }
  facts = {'columns': columns, 'dropped': dropped, 'imputed': unknown}
  _LOG.info('Baseline catalogue: %s.', facts)
  return _logarithms(tables, train, columns), facts


def _logarithms(tables: Tables, train: features.Table, columns) -> Tables:
  known = {name: train.columns[name] for name in columns}
  floors = {name: x[x > 0].min() for name, x in known.items()}
  medians = {name: np.nanmedian(x) for name, x in known.items()}
  result = {}
  for split, table in tables.items():
    logs = []
    for name in columns:
      values = table.columns[name]
      filled = np.where(np.isnan(values), medians[name], values)
      logs.append(np.log(np.maximum(filled, floors[name])))
    result[split] = _with(table, np.stack(logs, axis=1))
  return result


def _with(table: features.Table, values: np.ndarray) -> features.Table:
  return dataclasses.replace(table, features=values)


BASELINES: Mapping[
  str,
  Callable[
    [Any, pipeline.DataSet, list[str], Mapping | None], tuple[Tables, Facts]
  ],
] = {'random': random, 'pixels': pixels, 'catalogue': catalogue}


def tables(
  name: str,
  config,
  dataset: pipeline.DataSet,
  splits: list[str],
  checkpoint_meta: Mapping | None,
  extract: Callable[..., features.Table] = features.extract,
) -> tuple[Tables, Facts]:
  """Tables of a baseline, and what it did.

  Args:
    name: of the baseline.
    config: of the evaluator.
    dataset: labelled.
    splits: the training split first.
    checkpoint_meta: of the encoder to compare with, or None.
    extract: as `features.extract`.

  Raises:
    ValueError: there is no baseline of that name.
  """
  if name not in BASELINES:
    raise ValueError(
      f'No baseline named {name!r}; there are: {", ".join(BASELINES)}.'
    )
  its = (config, dataset, splits, checkpoint_meta)
  return random(*its, extract) if name == 'random' else BASELINES[name](*its)
