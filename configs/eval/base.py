"""Every field of the evaluator, with unit and meaning."""

import dataclasses

import ml_collections

from configs import base
from radio_ssl.augment import inputs


def get_config() -> ml_collections.ConfigDict:
  """The fields that every evaluation has."""
  config = ml_collections.ConfigDict()
  # A module of radio_ssl/evaluate: linear or knn.
  config.protocol = 'linear'

  # The labelled set: `dir`, or `name` and `config` in `data_dir` (default
  # $TFDS_DATA_DIR, else ~/tensorflow_datasets). An empty `test` scores by
  # cross-validation inside `train` alone: use it to choose settings.
  config.data = ml_collections.ConfigDict()
  config.data.dir = ''
  config.data.name = ''
  config.data.config = ''
  config.data.data_dir = ''
  config.data.train = 'train'
  config.data.test = 'test'

  # 'online' or 'ema' encoder; '' takes the online one.
  config.which = ''
  # Features are the mean over this many quarter turns, 1 or 4: the sky has no
  # up.
  config.rotations = 4
  # Folds inside the training split, for the choice of the probe's settings and
  # for the cross-validated score.
  config.num_folds = 5
  # Resamplings of the sources for the 95 % intervals.
  config.num_bootstrap = 2000
  # Of folds, bootstrap and untrained encoders.
  config.seed = 0
  # Images at once.
  config.batch_size = 64

  # Baseline 'pixels': principal components kept.
  config.pixel_components = 100
  # Baselines 'random' and 'pixels' where no checkpoint is given to copy.
  config.encoder = base.encoder('resnet18')
  config.input = ml_collections.ConfigDict(dataclasses.asdict(inputs.Input()))
  return config
