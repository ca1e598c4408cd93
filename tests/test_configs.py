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


# From the benchmark's repository: fields of the objective, optimiser, its rate
# and decay.
_PAPER = {
  'all4one': (
    {
      'projector_hidden': 2048,
      'projector_out': 256,
      'predictor_hidden': 4096,
      'queue_size': 98304,
      'temperature': 0.2,
    },
    ('lars', 1.0, 1e-5),
  ),
  'byol': (
    {'hidden': 1024, 'out': 256, 'ema_decay': 0.99, 'norm_z': False},
    ('lars', 0.5, 1e-6),
  ),
  'dino': (
    {
      'projector_hidden': 2048,
      'projector_out': 256,
      'num_prototypes': 4096,
      'ema_decay': 0.9995,
      'student_temperature': 0.1,
      'first_teacher_temperature': 0.04,
      'teacher_temperature': 0.07,
      'teacher_warmup_epochs': 50,
    },
    ('lars', 0.3, 1e-6),
  ),
  'simclr': (
    {'projector_hidden': 4096, 'projector_out': 512, 'temperature': 0.2},
    ('lars', 0.3, 1e-4),
  ),
  'swav': (
    {
      'projector_hidden': 2048,
      'projector_out': 128,
      'num_prototypes': 3000,
      'queue_size': 3840,
      'temperature': 0.1,
      'sinkhorn_iterations': 3,
      'sinkhorn_epsilon': 0.05,
    },
    ('lars', 0.6, 1e-6),
  ),
  'wmse': (
    {'projector_hidden': 1024, 'projector_out': 64, 'whitening_size': 128},
    ('adam', 2e-3, 1e-6),
  ),
}


@pytest.mark.parametrize('name', _PAPER)
def test_paper_config_has_the_settings_of_the_benchmark(name):
  config = importlib.import_module(f'configs.paper.{name}').get_config()
  fields, (optimizer, lr, weight_decay) = _PAPER[name]
  assert config.objective.name == name
  assert fields == {k: config.objective[k] for k in fields}
  assert config.optimizer.name == optimizer
  assert (config.optimizer.lr, config.optimizer.weight_decay) == (
    lr,
    weight_decay,
  )
  if optimizer == 'lars':
    assert config.optimizer.trust_coefficient == 0.02
    assert config.optimizer.clip
  assert (config.warmup_epochs, config.final_lr_fraction) == (10, 0)
  shown = config.input
  assert (shown.size_pix, shown.channels) == (224, 3)
  assert (shown.interval, shown.stretch) == ('minmax', 'linear')
  group = config.views['global']
  assert group.channel_stretches == (
    ('power', 'squared', 'sinh'),
    ('linear',),
    ('log', 'sqrt', 'asinh'),
  )
  assert (group.crop_area, group.bicubic) == ((0.65, 1), True)
  assert (group.contrast_probability, group.contrast) == (0.5, (0.2, 1.8))
  assert (group.blur_probability, group.flip) == (0.25, True)
  assert not group.rotate
  assert group.noise_sigma == group.brightness == (0, 0)
  assert group.gamma == (1, 1)


@pytest.mark.parametrize(
  'module',
  [m for m in _modules(_FOLDER) if m.__name__.endswith('_first')],
  ids=lambda m: m.__name__,
)
def test_config_of_a_small_corpus_fits_it(module):
  config, corpus = module.get_config(), _First().num_examples['train']
  assert config.objective.get('queue_size', 0) <= corpus / 2
  assert config.objective.get('num_prototypes', 0) <= corpus / 10
  assert config.views['global'].rotate
  assert config.input.interval == 'noise'
  if module.__name__ != 'configs.simclr_lite0_first':
    assert 'Ours' in module.__doc__ and 'arXiv:' in module.__doc__


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
