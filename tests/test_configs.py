"""Every file of configs/ says where it comes from and builds its run."""

import importlib
import pathlib

import pytest

from configs import base
from configs.eval import base as eval_base
from radio_ssl.evaluate import checks
from radio_ssl.models import base as models
from radio_ssl.objectives import base as objectives
from radio_ssl.train import optimizers

_FOLDER = pathlib.Path(__file__).parents[1] / 'configs'


def _modules(folder: pathlib.Path):
  package = '.'.join(folder.relative_to(_FOLDER.parent).parts)
  return [
    importlib.import_module(f'{package}.{path.stem}')
    for path in sorted(folder.glob('*.py'))
    if path.stem != '__init__'
  ]


@pytest.mark.parametrize(
  'module',
  [*_modules(_FOLDER), *_modules(_FOLDER / 'paper')],
  ids=lambda m: m.__name__,
)
def test_pretraining_config_has_the_fields_of_its_parts(module):
  config = module.get_config()
  assert set(config) == set(base.get_config())
  is_base = module.__name__.endswith('.base')
  assert is_base or '--config=configs/' in module.__doc__
  method = objectives.make(
    config.objective,
    encoder=models.make_encoder(config.encoder),
    axis_name=None,
    num_steps=100,
    steps_per_epoch=10,
    num_examples=1280,
    batch_size=config.batch_size,
  )
  assert set(config.views) == set(method.views)
  optimizers.parse(config.optimizer)
  if config.eval_after:
    for baseline in (None, *config.eval_baselines):
      checks.settings(config.eval_after, 'run', baseline)


@pytest.mark.parametrize(
  'module', _modules(_FOLDER / 'eval'), ids=lambda m: m.__name__
)
def test_evaluation_config_is_accepted(module):
  config = module.get_config()
  assert set(config) == set(eval_base.get_config())
  checks.settings(config, 'run', None)


@pytest.mark.parametrize('name', optimizers.OPTIMIZERS)
@pytest.mark.parametrize('method', ['simclr', 'byol'])
def test_every_optimizer_is_an_argument_of_the_shipped_configs(method, name):
  module = importlib.import_module(f'configs.{method}_first')
  config = module.get_config(name)
  assert config.optimizer.name == name
  assert config.objective.name == method
  optimizers.parse(config.optimizer)
