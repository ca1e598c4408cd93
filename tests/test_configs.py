"""Every file of configs/ says where it comes from and builds its run."""

import importlib
import pathlib
import re

import pytest

from configs import base, dino_first, simclr_first
from configs.eval import base as eval_base
from radio_ssl import pretrain
from radio_ssl.data import examples, pipeline
from radio_ssl.evaluate import checks
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


class _First(pipeline.DataSet):
  """A thousand cutouts of VLA FIRST, for what reads no pixel of them."""

  def __init__(self, label_names=None):
    super().__init__(
      directory=pathlib.Path('first'),
      geometry=examples.Geometry(150, 150, 'float32', 1.8, 5.4),
      label_names=label_names,
      num_examples={'train': 1098},
    )

  def source(self, split):
    return range(self.num_examples[split])


def _variants(module) -> list[str]:
  """Arguments of `get_config`, a string each, that the docstrings tell of."""
  file = f'configs/{pathlib.Path(module.__file__).name}'
  told = module.__doc__ + module.get_config.__doc__
  return re.findall(rf'--config={file}:(\w+)', told)


@pytest.mark.parametrize(
  'module',
  [
    module
    for module in (*_modules(_FOLDER), *_modules(_FOLDER / 'paper'))
    # tests/benchmark has those.
    if not module.__name__.startswith('configs.benchmark_')
  ],
  ids=lambda m: m.__name__,
)
def test_pretraining_config_plans_a_run_on_first(module):
  is_base = module.__name__.endswith('.base')
  assert is_base or '--config=configs/' in module.__doc__
  for arguments in ((), *((variant,) for variant in _variants(module))):
    config = module.get_config(*arguments)
    assert set(config) == set(base.get_config())
    method = objectives.module(config.objective.name)
    labelled = ('FRI', 'FRII') if objectives.needs_labels(method) else None
    pretrain.plan(config, _First(labelled), axis_name=None)
    if config.eval_after:
      for baseline in (None, *config.eval_baselines):
        checks.settings(config.eval_after, 'run', baseline)


def test_variants_of_configs_are_found():
  assert _variants(dino_first) == ['multicrop']
  assert _variants(simclr_first) == ['lars']


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
