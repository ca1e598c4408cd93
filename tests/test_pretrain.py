"""The loop, end to end on a handful of small images."""

import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from radio_ssl import checkpoints, pretrain
from radio_ssl.data import examples, pipeline
from radio_ssl.evaluate import features, online
from radio_ssl.models import vit


def _rows(n=12, size=40, bad=None):
  generator = np.random.default_rng(0)
  for i in range(n):
    image = generator.normal(size=(size, size)).astype(np.float32) * 1e-4
    image[size // 2, size // 2] += 0.01 * (1 + i)
    yield examples.example(
      image,
      name=f's{i}',
      source_file='a.fits',
      ra_deg=i,
      dec_deg=0.0,
      background_jy_beam=0.0,
      rms_jy_beam=1e-4 if i != bad else np.float32(1e-44),
      label=i % 2,
    )


@pytest.fixture
def dataset(write_dataset):
  directory = write_dataset(
    {'train': list(_rows())},
    label_names=['a', 'b'],
    pixel_scale_arcsec=1.8,
    beam_major_arcsec=5.4,
  )
  return pipeline.open_dataset(directory)


def _config(method='simclr', **overrides):
  config = base.get_config()
  config.input.size_pix = 16
  config.input.field_arcsec = 36.0
  config.encoder = base.encoder('resnet10', width=1 / 16)
  small = {'simclr': {'projector_hidden': 8}, 'byol': {'hidden': 8}}
  config.objective = base.objective(method, **small[method])
  config.batch_size = 4
  config.num_epochs = 2
  config.warmup_epochs = 1
  config.log_every = 2
  config.save_every = 3
  config.update(overrides)
  return config


def _rows_of(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def _params(workdir, step=None):
  tree, _ = checkpoints.read(workdir, step)
  return tree


def _assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize('method', ['simclr', 'byol'])
def test_run_logs_and_saves_at_its_clocks(dataset, tmp_path, method):
  config = _config(method, num_steps=7)
  pretrain.run(config, tmp_path, dataset, labelled=dataset)
  rows = [row for row in _rows_of(tmp_path) if 'loss' in row]
  assert [row['step'] for row in rows] == [1, 2, 4, 6, 7]
  assert all('effective_rank' in row for row in rows)
  saved = [p.name for p in (tmp_path / 'checkpoints').iterdir()]
  assert sorted(saved) == ['6', '7']
  scores = [
    r['knn_accuracy'] for r in _rows_of(tmp_path) if 'knn_accuracy' in r
  ]
  assert len(scores) == 1
  assert 0 <= scores[0] <= 1


def test_logged_lr_is_the_configs_times_batch_over_256(dataset, tmp_path):
  config = _config(log_every=1)
  config.optimizer.lr = 0.512
  pretrain.run(config, tmp_path, dataset)
  lr = [row['lr'] for row in _rows_of(tmp_path) if 'lr' in row]
  # Batches of 4: 0.008 at the end of an epoch of 3 steps, then a half cosine.
  cosine = [0.008 * (1 + np.cos(np.pi * k / 3)) / 2 for k in range(3)]
  expected = [0.0, 0.008 / 3, 0.016 / 3, *cosine]
  np.testing.assert_allclose(lr, expected, rtol=1e-5, atol=1e-9)


def test_logged_weight_decay_is_the_one_that_is_used(dataset, tmp_path):
  config = _config(log_every=1, final_decay_factor=10.0)
  config.optimizer.weight_decay = 0.04
  pretrain.run(config, tmp_path, dataset)
  decay = [row['weight_decay'] for row in _rows_of(tmp_path) if 'lr' in row]
  # Six steps.
  expected = [0.4 - 0.18 * (1 + np.cos(np.pi * k / 6)) for k in range(6)]
  np.testing.assert_allclose(decay, expected, rtol=1e-5)


@pytest.mark.parametrize('constant_lr', [(), ('projector',)])
def test_interrupted_and_resumed_run_equals_uninterrupted_run(
  dataset, tmp_path, monkeypatch, constant_lr
):
  config = _config(constant_lr=constant_lr)
  whole, parts = tmp_path / 'whole', tmp_path / 'parts'
  for folder in (whole, parts):
    folder.mkdir()
  pretrain.run(config, whole, dataset)

  batches = pipeline.train_batches

  def interrupting(*args, **kwargs):
    for number, batch in enumerate(batches(*args, **kwargs)):
      if number == 1:
        os.kill(os.getpid(), signal.SIGTERM)
      yield batch

  monkeypatch.setattr(pipeline, 'train_batches', interrupting)
  with pytest.raises(pretrain.Interrupted, match='after step 2'):
    pretrain.run(config, parts, dataset)
  monkeypatch.undo()
  assert [p.name for p in (parts / 'checkpoints').iterdir()] == ['2']
  pretrain.run(config, parts, dataset)
  _assert_equal(_params(parts), _params(whole))
  drop = ('seconds_per_step',)
  rows = [
    [{k: v for k, v in r.items() if k not in drop} for r in _rows_of(folder)]
    for folder in (parts, whole)
  ]
  by_step = [{r['step']: r for r in run} for run in rows]
  assert by_step[0] == by_step[1]


def test_finished_run_does_nothing_when_started_again(dataset, tmp_path):
  pretrain.run(_config(), tmp_path, dataset)
  before = (tmp_path / 'metrics.jsonl').read_text()
  pretrain.run(_config(), tmp_path, dataset)
  assert (tmp_path / 'metrics.jsonl').read_text() == before


def test_workdir_of_another_config_is_refused(dataset, tmp_path):
  pretrain.run(_config(num_steps=4), tmp_path, dataset)
  changed = _config(num_steps=4)
  changed.optimizer.lr = 0.5
  with pytest.raises(ValueError, match=r'optimizer\.lr: 0\.002 -> 0\.5'):
    pretrain.run(changed, tmp_path, dataset)
  fewer = _config(num_steps=4)
  fewer.data.split = 'train[:8]'
  with pytest.raises(ValueError, match=r'data\.split: train -> train\[:8\]'):
    pretrain.run(fewer, tmp_path, dataset)
  harmless = _config(num_steps=4)
  harmless.log_every = 1
  pretrain.run(harmless, tmp_path, dataset)


def test_score_of_a_step_comes_before_its_save_and_sigterm_stays_ours(
  dataset, tmp_path, monkeypatch
):
  done = []
  monkeypatch.setattr(
    online, 'accuracy', lambda *a: done.append('score') or 0.5
  )
  monkeypatch.setattr(
    checkpoints.Checkpoints, 'save', lambda *a: done.append('save')
  )
  before = signal.getsignal(signal.SIGTERM)
  config = _config(num_steps=4)
  pretrain.run(config, tmp_path, dataset, labelled=dataset)
  assert done == ['save', 'score', 'save']
  assert signal.getsignal(signal.SIGTERM) is before


def test_nonfinite_loss_stops_with_its_step_and_is_never_saved(
  dataset, tmp_path, monkeypatch
):
  original = pretrain.plan

  def diverging(*args, **kwargs):
    run = original(*args, **kwargs)
    views = run.make_views

    def make_views(batch, rng):
      made = views(batch, rng)
      hit = jnp.any(batch['index'] == -1)
      return jax.tree.map(lambda x: jnp.where(hit, jnp.nan, x), made)

    return pretrain.dataclasses.replace(run, make_views=make_views)

  batches = pipeline.train_batches

  def poisoned(*args, **kwargs):
    for number, batch in enumerate(batches(*args, **kwargs)):
      if number == 4:
        batch['index'] = np.full_like(batch['index'], -1)
      yield batch

  monkeypatch.setattr(pretrain, 'plan', diverging)
  monkeypatch.setattr(pipeline, 'train_batches', poisoned)
  with pytest.raises(FloatingPointError, match='since step 5'):
    pretrain.run(_config(), tmp_path, dataset)
  assert [p.name for p in (tmp_path / 'checkpoints').iterdir()] == ['3']


def test_batch_that_does_not_divide_over_the_devices(dataset, tmp_path):
  with pytest.raises(ValueError, match='= 5 does not divide over 2 devices'):
    pretrain.run(_config(batch_size=5), tmp_path, dataset)


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('warmup_epochs', 2, 'must be shorter than the run'),
    ('batch_size', 0, 'batch_size is 0; wanted 1'),
    ('batch_size', 16, '12 images are fewer than'),
    ('encoder.name', 'resnet19', "No encoder named 'resnet19'"),
    ('objective.name', 'byol', r"base\.objective\('byol'\)"),
    ('optimizer.name', 'lion', "No optimizer named 'lion'"),
    ('input', {'strech': 1}, "no field 'strech'; there are: size_pix,"),
    ('views', {'global': {'blurr': 1}}, "global has no field 'blurr'; there"),
    ('data.split', 'valid', "no split 'valid'"),
    ('input.field_arcsec', 500.0, 'field_arcsec is 500'),
  ],
)
def test_bad_fields_are_refused_before_anything_is_written(
  dataset, tmp_path, field, value, message
):
  config = _config()
  if isinstance(value, dict):
    with config.unlocked():
      config[field].update(value)
  else:
    config.update_from_flattened_dict({field: value})
  workdir = tmp_path / 'run'
  with pytest.raises(ValueError, match=message):
    pretrain.run(config, workdir, dataset)
  assert not workdir.exists()


def _mae_config():
  config = _config(num_steps=4)
  config.encoder = base.encoder('vit_tiny', patch_size=4, base_size_pix=16)
  config.objective = base.objective('mae', decoder_depth=1, decoder_width=8)
  return config


def test_encoder_without_batch_statistics_is_saved_resumed_and_evaluated(
  dataset, tmp_path, monkeypatch
):
  monkeypatch.setitem(vit._SIZES, 'tiny', (1, 16, 2))
  pretrain.run(_mae_config(), tmp_path, dataset, labelled=dataset)
  pretrain.run(_mae_config(), tmp_path, dataset)
  frozen = features.from_checkpoint(tmp_path)
  table = features.extract(frozen, dataset, 'train')
  assert table.features.shape == (12, 16)
  assert table.features.std(axis=0).all()


def test_images_without_labels_are_refused_where_they_are_needed(
  dataset, write_dataset, tmp_path
):
  rows = list(_rows())
  for row in rows:
    del row['label']
  blank = pipeline.open_dataset(
    write_dataset(
      {'train': rows},
      name='blank',
      pixel_scale_arcsec=1.8,
      beam_major_arcsec=5.4,
    )
  )
  config = _config(num_steps=2, warmup_epochs=0)
  config.objective = base.objective('supcon')
  workdir = tmp_path / 'run'
  with pytest.raises(ValueError, match='has no labels') as raised:
    pretrain.run(config, workdir, blank)
  message = str(raised.value)
  assert str(blank.directory) in message and "'supcon'" in message
  assert 'config.data' in message and '\n' not in message
  assert not workdir.exists()
  # Of four images of two classes some always share one.
  pretrain.run(config, workdir, dataset)
  rows = [row for row in _rows_of(workdir) if 'loss' in row]
  assert all(row['positives'] > 1 for row in rows)


def test_encoder_without_patches_is_refused_before_data_are_read(tmp_path):
  config = _mae_config()
  config.encoder = base.encoder('resnet10')
  with pytest.raises(ValueError, match=r"'mae', which needs .* a ResNet\."):
    pretrain.resolve(config, None, tmp_path, fields=[*config])


@pytest.mark.parametrize('field', ['input.size_pix', 'views.global.size_pix'])
def test_size_that_patches_do_not_tile_is_refused(dataset, tmp_path, field):
  config = _mae_config()
  config.update_from_flattened_dict({field: 18})
  with pytest.raises(ValueError, match=rf'{field} is 18; .* which is 4'):
    pretrain.run(config, tmp_path / 'run', dataset)
  assert not (tmp_path / 'run').exists()


def test_views_that_the_method_does_not_want_are_refused(dataset, tmp_path):
  config = _config()
  config.views.local = config.views['global'].copy_and_resolve_references()
  with pytest.raises(ValueError, match=r"\['global', 'local'\]"):
    pretrain.run(config, tmp_path, dataset)


def test_monitor_that_cannot_be_scored_is_refused_before_training(
  dataset, write_dataset, tmp_path
):
  rows = list(_rows())
  for row in rows:
    del row['label']
  known = {'pixel_scale_arcsec': 1.8, 'beam_major_arcsec': 5.4}
  blank = write_dataset({'train': rows}, name='blank', **known)
  small = write_dataset(
    {'train': list(_rows(size=16))},
    name='tiny',
    label_names=['a', 'b'],
    **known,
  )
  rows = [row | {'label': int(i == 0)} for i, row in enumerate(_rows())]
  rare = write_dataset(
    {'train': rows}, name='rare', label_names=['a', 'b'], **known
  )
  for folder, split, told in (
    (blank, 'train', 'blank.*no labels'),
    (small, 'train', 'tiny.*at most 28'),
    (rare, 'train', 'rare.*of config.monitor: Class 1 has 1 sources'),
    (rare, 'valid', "rare.*no split 'valid'"),
  ):
    labelled = pipeline.open_dataset(folder)
    config = _config()
    config.monitor.train = split
    with pytest.raises(ValueError, match=told):
      pretrain.run(config, tmp_path / 'run', dataset, labelled)
  assert not (tmp_path / 'run').exists()
