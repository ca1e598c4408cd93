"""Every field of every pretraining run, with unit and meaning.

A config file imports this one, overrides, and returns. On the command line any
field is `--config.field=value`. Fields of the method, the encoder and the
optimiser belong to them; `objective`, `encoder` and `optimizer` below fill them
in, so that a wrong one is refused.
"""

import dataclasses

import ml_collections

from radio_ssl.augment import inputs, views
from radio_ssl.models import base as models
from radio_ssl.objectives import base as objectives
from radio_ssl.train import optimizers


def get_config() -> ml_collections.ConfigDict:
  """The fields that every run has, with their defaults."""
  config = ml_collections.ConfigDict()

  # Fixes the initial parameters, the order of the images and all views.
  config.seed = 0

  # What is read. main.py builds it first if it is missing and its builder needs
  # no files of the user's.
  config.data = dataset()
  config.data.split = 'train'
  # Threads that read and decode, in each process.
  config.data.num_threads = 4
  # Processes that do so, each with its threads; 0 for none but the program's
  # own, of which a GPU can want more.
  config.data.num_workers = 0

  # How a stored image becomes what the encoder sees; the same in training,
  # evaluation and prediction. See radio_ssl/augment/inputs.py.
  config.input = _fields(inputs.Input())

  # One entry per group of views that the method declares.
  # See radio_ssl/augment/views.py.
  config.views = ml_collections.ConfigDict()
  config.views['global'] = _fields(views.ViewGroup())

  config.encoder = encoder('resnet18')
  # A run, checkpoint or export whose encoder this one begins with, as
  # `radio_ssl.convert` makes of weights from elsewhere; '' for a random one.
  config.start = ''
  config.objective = objective('simclr')
  config.optimizer = optimizer('adamw')

  # Images over all devices and processes.
  config.batch_size = 128
  config.num_epochs = 100
  # Steps; 0 takes num_epochs * num_examples // batch_size.
  config.num_steps = 0
  # The learning rate rises from 0 over this many epochs, ...
  config.warmup_epochs = 10
  # ... then falls on a half cosine to this share of its peak.
  config.final_lr_fraction = 0.0
  # The optimiser's weight decay moves on a half cosine to this multiple of it;
  # DINO's on ViTs to 10 times 0.04.
  config.final_decay_factor = 1.0
  # Branches of the parameters, such as 'predictor', that have the peak at every
  # step; and factors of the learning rate, {branch: factor}. The rate that is
  # logged is that of the others.
  config.constant_lr = ()
  config.lr_factors = ml_collections.ConfigDict()

  # Clocks, in steps; the first and the last step are always logged, the last
  # is always saved.
  config.log_every = 20
  config.save_every = 500
  # Checkpoints that are kept, the newest ones.
  config.keep = 2

  config.monitor = monitor()

  # The evaluator's config that main.py runs on the final checkpoint, and the
  # baselines beside it; none while it is empty. `--eval=FILE` of main.py sets
  # it; an empty `data.data_dir` is that of `config.data`.
  config.eval_after = ml_collections.ConfigDict()
  config.eval_baselines = ()
  return config


def dataset(name: str = '', config: str = '') -> ml_collections.ConfigDict:
  """Where a data set is.

  `dir` is its folder; or `name` and `config` find it in `data_dir`, default
  $TFDS_DATA_DIR, else ~/tensorflow_datasets.
  """
  return ml_collections.ConfigDict(
    {'dir': '', 'name': name, 'config': config, 'data_dir': ''}
  )


def monitor() -> ml_collections.ConfigDict:
  """The fields of the online score: cosine kNN on a labelled set.

  Every `every` steps and at the end. Sources of `validation` are named by their
  neighbours in `train`; while it is empty, by cross-validation inside `train`.
  The test split is not for this, and what the catalogue `holdout` holds out has
  no part in it (see configs/eval/base.py). Off while both `dir` and `name` are
  empty; an empty `data_dir` is that of `config.data`.
  """
  fields = dataset()
  fields.train = 'train'
  fields.validation = ''
  fields.holdout = ''
  fields.every = 500
  return fields


def encoder(name: str, **overrides) -> ml_collections.ConfigDict:
  """The fields of an encoder of `radio_ssl.models`."""
  return _named(name, models.defaults(name), overrides)


def objective(name: str, **overrides) -> ml_collections.ConfigDict:
  """The fields of an objective, a module of `radio_ssl.objectives`."""
  default = objectives.module(name).Config()
  return _named(name, dataclasses.asdict(default), overrides)


def optimizer(name: str, **overrides) -> ml_collections.ConfigDict:
  """The fields of an optimiser of `radio_ssl.train.optimizers`."""
  return _named(name, dataclasses.asdict(optimizers.kind(name)()), overrides)


def _fields(dataclass_value) -> ml_collections.ConfigDict:
  return ml_collections.ConfigDict(dataclasses.asdict(dataclass_value))


def _named(name, defaults, overrides) -> ml_collections.ConfigDict:
  unknown = sorted(set(overrides) - set(defaults))
  if unknown:
    raise ValueError(
      f'{name} has no field {", ".join(unknown)}; '
      f'there are: {", ".join(defaults)}.'
    )
  return ml_collections.ConfigDict({'name': name, **defaults, **overrides})
