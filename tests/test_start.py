"""Runs that begin with a trained encoder."""

import jax
import numpy as np
import pytest

from configs import base
from radio_ssl import pretrain, start, testing
from radio_ssl.convert import export
from radio_ssl.data import examples, pipeline
from radio_ssl.evaluate import features, overlap, report


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
  generator = np.random.default_rng(0)
  rows = [
    examples.example(
      generator.normal(size=(32, 32)).astype(np.float32) * 1e-4,
      name=f's{i}',
      source_file='a.fits',
      ra_deg=float(i),
      dec_deg=0.0,
      background_jy_beam=0.0,
      rms_jy_beam=1e-4,
      pixel_scale_arcsec=1.8,
    )
    for i in range(8)
  ]
  folder = testing.write(
    tmp_path_factory.mktemp('data'),
    {'train': rows},
    pixel_scale_arcsec=1.8,
    beam_major_arcsec=5.4,
    beam_minor_arcsec=5.4,
  )
  return pipeline.open_dataset(folder)


def _config(method, **objective):
  config = base.get_config()
  config.input.size_pix = 16
  config.input.field_arcsec = 36.0
  config.encoder = base.encoder('resnet10', width=1 / 16)
  config.objective = base.objective(method, **objective)
  config.batch_size = 4
  config.num_steps = 1
  config.warmup_epochs = 0
  return config


@pytest.fixture(scope='module')
def first_run(dataset, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('first')
  pretrain.run(_config('simclr', projector_hidden=8), workdir, dataset)
  return workdir


def _initial(config, dataset):
  parts = pretrain.plan(config, dataset, axis_name='devices')
  return start.initial_state(
    parts, dataset.geometry, start.read(config), seed=config.seed
  )


def _equal(a, b):
  return all(
    np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


def test_encoder_and_its_moving_average_are_the_named_ones(first_run, dataset):
  config = _config('byol', hidden=8)
  config.start = str(first_run)
  state = _initial(config, dataset)
  named = features.from_checkpoint(first_run).variables
  for branches in (state.params, state.model_state['ema_params']):
    assert _equal(branches['encoder'], named['params'])
  for name in ('batch_stats', 'ema_batch_stats'):
    if 'encoder' in state.model_state[name]:
      statistics = state.model_state[name]['encoder']
      assert _equal(statistics, named['batch_stats'])
  online = jax.tree.leaves(state.params['encoder'])
  average = jax.tree.leaves(state.model_state['ema_params']['encoder'])
  for one, other in zip(online, average, strict=True):
    assert one.unsafe_buffer_pointer() != other.unsafe_buffer_pointer()
  config.start = ''
  fresh = _initial(config, dataset)
  assert not _equal(fresh.params['encoder'], named['params'])
  assert _equal(fresh.params['projector'], state.params['projector'])


def test_a_run_begins_with_an_export_and_tells_of_it(
  first_run, dataset, tmp_path
):
  exported = export.export(first_run, tmp_path / 'exported')
  config = _config('simclr', projector_hidden=8)
  config.start = str(exported)
  config.optimizer.lr = 0.0
  pretrain.run(config, tmp_path / 'run', dataset)
  found = features.from_checkpoint(tmp_path / 'run')
  before = features.from_checkpoint(first_run)
  assert _equal(found.variables['params'], before.variables['params'])
  assert found.meta['start']['config'] == before.meta['config']
  # The same command goes on, and says so.
  pretrain.run(config, tmp_path / 'run', dataset)
  config.start = ''
  with pytest.raises(ValueError, match='run of another config'):
    pretrain.run(config, tmp_path / 'run', dataset)


def test_sources_that_the_first_encoder_saw_count_as_seen(first_run, dataset):
  meta = features.from_checkpoint(first_run).meta
  other = {
    **meta,
    'dataset': {**meta['dataset'], 'fingerprint': 'of another set'},
    'start': meta,
  }
  tables = {
    'test': features.tabulate(
      dataset, 'train', features.nothing, labelled=False
    )
  }
  found = overlap.with_pretraining(tables, other)
  assert 'unknown' in found
  assert found['start']['showing'] == {'test': 8}
  result = {
    'overlap': found,
    'scored': 'test',
    'config': {'data': {'test': 'test', 'train': 'train'}},
  }
  assert report.seen(result)
  assert not report.seen({**result, 'overlap': {'unknown': 'why'}})


def test_another_encoder_is_refused(first_run):
  config = _config('simclr', projector_hidden=8)
  config.start = str(first_run)
  config.encoder.width = 1 / 8
  with pytest.raises(ValueError, match=r'width: 0.0625 -> 0.125'):
    start.read(config)
  config.encoder = base.encoder('resnet10', width=1 / 16, dtype='bfloat16')
  assert start.read(config) is not None
  config.input.channels = 3
  with pytest.raises(ValueError, match='of 1 channels; '):
    start.read(config)


def test_what_is_no_encoder_is_refused_before_data_are_read(tmp_path):
  config = _config('simclr', projector_hidden=8)
  config.start = str(tmp_path)
  with pytest.raises(ValueError, match=str(tmp_path)):
    pretrain.resolve(config, None, tmp_path / 'run', fields=[*config])
  assert not (tmp_path / 'run').exists()
