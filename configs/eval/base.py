"""Every field of the evaluator, with unit and meaning."""

import dataclasses

import ml_collections

from configs import base
from radio_ssl.augment import inputs
from radio_ssl.evaluate import supervised


def get_config() -> ml_collections.ConfigDict:
  """The fields that every evaluation has."""
  config = ml_collections.ConfigDict()
  # A module of radio_ssl/evaluate: `linear` or `knn` on features, `linear_sgd`
  # or `finetune` on images.
  config.protocol = 'linear'
  # Of the last two; see radio_ssl/evaluate/supervised.py.
  config.training = ml_collections.ConfigDict(
    dataclasses.asdict(supervised.Training())
  )
  config.training.optimizer = base.optimizer('adamw', lr=5e-4)

  # The labelled set. An empty `test` scores by cross-validation inside `train`
  # alone: use it to choose settings.
  config.data = base.dataset()
  config.data.train = 'train'
  config.data.test = 'test'
  # Either may be a sum of stored splits, 'fold_1+fold_2'. Where `train` is
  # 'fold_*' and `test` empty, each stored fold is scored by what all the others
  # taught; the report has the mean and standard deviation over the folds.
  # Classes to tell apart, separated by commas; '' takes all. The sources of the
  # others are left out of training and test, and counted in the report.
  config.data.classes = ''
  # Catalogue of a hold-out, as `tfds_builders.holdout` writes it; '' for none.
  # An image counts as held out by its place on the sky, whatever its name.
  config.data.holdout = ''
  # 'leave_out': nothing learns from what is held out, or is scored on it; nor
  # on images that share sky with it. 'test', for the final table: the probe
  # learns from what is not held out of `train` and `test` together, and what is
  # held out of both is scored, alone.
  config.data.holdout_use = 'leave_out'

  # 'online' or 'ema' encoder; '' takes the online one.
  config.which = ''
  # Side of the central square that is shown, in place of the encoder's own; ()
  # takes that. Of a survey with another beam the field of as many beams looks
  # alike: to an encoder that saw 172.8 arcsec of FIRST (32 beams) 1440 of NVSS.
  # The features of several are set side by side, (172.8, 86.4): sources are of
  # all sizes.
  config.fields_arcsec = ()
  # Features are the mean over this many views: 1, 4 quarter turns, or 8 with
  # their mirror images: the sky has no up and no handedness.
  config.rotations = 4
  # Folds inside the training split, for the choice of the probe's settings and
  # for the cross-validated score.
  config.num_folds = 5
  # Training sources closer than this on the sky share a fold: a source listed
  # twice, or two in one picture, must not be on both sides.
  config.group_radius_arcsec = 60.0
  # Numbers of labels of each class to learn from, beside all of them, as often
  # as `label_draws` says, by the linear probe; () for none.
  config.label_counts = ()
  config.label_draws = 20
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
