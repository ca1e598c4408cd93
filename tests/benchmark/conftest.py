"""A matrix of two methods on a small sky, and its cells in no time."""

import dataclasses
import json

import ml_collections
import numpy as np
import pytest

from configs import base, byol_first, simclr_first
from configs.eval import base as eval_base
from radio_ssl import testing
from radio_ssl.benchmark import marks, plan
from radio_ssl.data import examples


def _rows(num, *, first):
  """One bright spot, or two: sources a degree apart."""
  generator = np.random.default_rng(first)
  for i in range(first, first + num):
    image = generator.normal(size=(40, 40)).astype(np.float32) * 1e-4
    image[18:22, 12:15] += 0.02
    image[18:22, 22:25] += 0.02 * (i % 2)
    yield examples.example(
      image,
      name=f's{i}',
      source_file='a.fits',
      ra_deg=float(i),
      dec_deg=0.0,
      background_jy_beam=0.0,
      rms_jy_beam=1e-4,
      label=i % 2,
    )


@pytest.fixture(scope='session')
def labelled(tmp_path_factory):
  """Folder of 24 sources to learn from and 10 to score."""
  return testing.write(
    tmp_path_factory.mktemp('labelled'),
    {
      'train': list(_rows(24, first=0)),
      'test': list(_rows(10, first=100)),
    },
    label_names=('one', 'two'),
    pixel_scale_arcsec=1.8,
    beam_major_arcsec=5.4,
  )


def _method(module, **fields):
  config = module.get_config()
  config.input.size_pix = 16
  config.input.field_arcsec = 36.0
  config.batch_size = 4
  config.num_steps = 2
  config.warmup_epochs = 0
  config.objective.update(fields)
  return config


@pytest.fixture
def config(labelled):
  """Two methods, two learning rates, two seeds, one labelled set."""
  where = {'dir': str(labelled), 'name': '', 'config': ''}
  linear = eval_base.get_config()
  linear.num_folds, linear.num_bootstrap, linear.rotations = 2, 20, 1
  linear.pixel_components = 5
  knn = linear.copy_and_resolve_references()
  knn.protocol = 'knn'
  small = {'projector_hidden': 8, 'projector_out': 4}
  return ml_collections.ConfigDict(
    {
      'title': 'Small',
      'base': base.get_config(),
      'methods': {
        'simclr': _method(simclr_first, **small),
        'byol': _method(byol_first, hidden=8, out=4),
      },
      'encoders': {'small': base.encoder('resnet10', width=1 / 16)},
      'corpora': {'sky': dict(where)},
      'seeds': (0, 1),
      'learning_rates': (1e-3, 1e-2),
      'search': {
        'corpus': 'sky',
        'seed': 0,
        'label_set': 'spots',
        'protocol': 'linear',
      },
      'label_sets': {'spots': dict(where)},
      'protocols': {'linear': linear, 'knn': knn},
      'protocol_of_best': {'knn': 1},
      'protocol_label_sets': {},
      'protocol_corpora': {},
      'baselines': {
        'untrained': {'baseline': 'random', 'seeds': (0,)},
        'pixels': {'baseline': 'pixels', 'seeds': (0,)},
      },
      'checkpoints': {},
      'comparisons': ('simclr:untrained',),
    }
  )


@pytest.fixture
def finish(config, tmp_path):
  """Marks a cell as done, with a score: `finish(cell, 0.8)`."""

  def finish(cell: plan.Cell, accuracy: float = 0.5) -> None:
    folder = tmp_path / cell.name
    marks.write(folder / marks.DONE, {'seconds': 2.0, 'resumed': False})
    if not cell.pretrains:
      result = {'cross_validation': {'scores': {'accuracy': accuracy}}}
      (folder / 'results.json').write_text(json.dumps(result))

  return finish


@pytest.fixture
def search(config, finish):
  """Finishes the search, with accuracies by method and learning rate."""

  def search(accuracies) -> None:
    for method, of_method in accuracies.items():
      for lr, accuracy in of_method.items():
        trained = plan.tried(config, method, 'small', lr)
        finish(trained)
        finish(
          dataclasses.replace(
            trained, stage='search', label_set='spots', protocol='linear'
          ),
          accuracy,
        )

  return search


@pytest.fixture
def diverge(tmp_path):
  """Marks a pretraining as one whose loss was not finite."""
  failed = {'why': 'not finite', 'diverged': True}
  return lambda cell: marks.write(tmp_path / cell.name / marks.FAILED, failed)
