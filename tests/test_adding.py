"""Adding a method takes two files and no edit: README's claim, tried."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from radio_ssl.data import examples

_ROOT = pathlib.Path(__file__).parents[1]
_OBJECTIVE = '''
"""Views of an image agree, and no feature is the same for all images."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from radio_ssl.objectives import base


@dataclasses.dataclass(frozen=True)
class Config:
  spread: float = 1.0


def agreement(z, spread):
  apart = jnp.mean(jnp.square(z[0] - z[1]))
  deviation = jnp.sqrt(jnp.var(z, axis=1) + 1e-4)
  return apart + spread * jnp.mean(jnp.maximum(0, 1 - deviation))


@dataclasses.dataclass(frozen=True)
class Agree:
  config: Config
  network: object
  views: ClassVar = {'global': 2}

  def init(self, rng, batch):
    images = batch['views']['global'][0]
    variables = self.network.init(rng, images, train=True)
    return (
      {'encoder': variables['params']},
      {'batch_stats': {'encoder': variables['batch_stats']}},
    )

  def loss(self, params, model_state, batch, *, step, rng):
    images = batch['views']['global']
    out, mutated = self.network.apply(
      {
        'params': params['encoder'],
        'batch_stats': model_state['batch_stats']['encoder'],
      },
      images.reshape(-1, *images.shape[2:]),
      train=True,
      mutable=['batch_stats'],
    )
    z = out.pooled.reshape(2, -1, out.pooled.shape[-1])
    loss = agreement(z, self.config.spread)
    state = {'batch_stats': {'encoder': mutated['batch_stats']}}
    return base.LossOutput(loss, state, {'agreement': loss}, out.pooled)

  def after_update(self, old_params, params, model_state, step):
    return params, model_state


def make(config, *, encoder, **context):
  return Agree(config, encoder)
'''
_CONFIG = """
from configs import base


def get_config():
  config = base.get_config()
  config.objective = base.objective('agree', spread=2.0)
  config.encoder = base.encoder('resnet10', width=0.125)
  config.input.size_pix = 16
  config.input.field_arcsec = 40.0
  config.input.allow_coarse_pixels = True
  config.batch_size = 8
  config.num_steps = 2
  config.warmup_epochs = 0
  config.log_every = 1
  return config
"""


@pytest.mark.slow
def test_two_new_files_are_a_method_that_trains_by_name(
  tmp_path, write_dataset
):
  rng = np.random.default_rng(0)
  dataset = write_dataset(
    {
      'train': [
        examples.example(
          rng.normal(size=(32, 32)).astype(np.float32),
          name=f's{i}',
          source_file='a.fits',
          ra_deg=i,
          dec_deg=0.0,
          background_jy_beam=0.0,
          rms_jy_beam=1.0,
        )
        for i in range(16)
      ]
    },
    pixel_scale_arcsec=1.8,
    beam_major_arcsec=5.4,
    beam_minor_arcsec=5.4,
  )
  copy = tmp_path / 'copy'
  for folder in ('radio_ssl', 'configs', 'tfds_builders'):
    shutil.copytree(_ROOT / folder, copy / folder)
  shutil.copy(_ROOT / 'main.py', copy)
  (copy / 'radio_ssl' / 'objectives' / 'agree.py').write_text(_OBJECTIVE)
  (copy / 'configs' / 'agree_first.py').write_text(_CONFIG)
  workdir = tmp_path / 'run'
  done = subprocess.run(
    [
      *(sys.executable, 'main.py', '--config=configs/agree_first.py'),
      *(f'--workdir={workdir}', f'--config.data.dir={dataset}'),
      '--config.objective.spread=3.0',
    ],
    cwd=copy,
    capture_output=True,
    text=True,
    timeout=400,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  rows = [
    json.loads(line)
    for line in (workdir / 'metrics.jsonl').read_text().splitlines()
  ]
  assert [row['step'] for row in rows if 'loss' in row] == [1, 2]
  assert all(np.isfinite(row['agreement']) for row in rows if 'loss' in row)
  config = json.loads((workdir / 'config.json').read_text())
  assert config['config']['objective'] == {'name': 'agree', 'spread': 3.0}
