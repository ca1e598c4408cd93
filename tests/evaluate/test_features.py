"""Features follow the records and the checkpoint, and nothing else."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from radio_ssl import checkpoints
from radio_ssl.augment import inputs
from radio_ssl.data import manifest, noise
from radio_ssl.evaluate import features
from radio_ssl.models import base as models

_INPUT = inputs.Input(size_pix=16, field_arcsec=36.0)
_ENCODER = {'name': 'resnet10', 'width': 1 / 16}


@pytest.fixture(scope='module')
def frozen():
  return features.untrained(_ENCODER, (_INPUT,), seed=0)


def _by_name(table):
  """Features in the order of the names: TFDS shuffles each split."""
  return table.features[np.argsort(table.names)]


def _turned(rows, quarters=0, mirror=False):
  for row in rows:
    image = np.rot90(row['image'], quarters, axes=(0, 1))
    image = image[:, ::-1] if mirror else image
    yield row | {'image': np.ascontiguousarray(image)}


@pytest.mark.parametrize('batch_size', [1, 7])
def test_features_do_not_depend_on_batch_size_or_padding(
  dataset, frozen, batch_size
):
  expected = features.extract(frozen, dataset, 'test', batch_size=5)
  found = features.extract(frozen, dataset, 'test', batch_size=batch_size)
  assert found.features.shape == (10, 32)
  np.testing.assert_allclose(
    found.features, expected.features, rtol=1e-4, atol=1e-6
  )
  assert found.names == expected.names


def test_rows_follow_the_records(dataset, frozen):
  table = features.extract(frozen, dataset, 'train', batch_size=7)
  records = list(dataset.source('train'))
  assert table.names == [r['name'].decode() for r in records]
  assert table.labels.tolist() == [r['label'] for r in records]
  positions = [r['ra_deg'] for r in records]
  assert table.columns['ra_deg'].tolist() == positions
  # Each row is the feature of its own image: alone it gives the same.
  batch = {
    'image': np.stack([records[9]['image']]),
    'background': np.zeros(1, np.float32),
    'rms': np.full(1, 1e-4, np.float32),
  }
  alone = frozen.encoder.apply(
    frozen.variables,
    inputs.prepare(batch, _INPUT, dataset.geometry),
    train=False,
  ).pooled[0]
  np.testing.assert_allclose(table.features[9], alone, rtol=1e-4, atol=1e-6)
  distance = np.abs(table.features - np.asarray(alone)).sum(axis=1)
  assert distance.argmin() == 9


@pytest.mark.parametrize('rotations', [4, 8])
def test_rotations_are_the_mean_of_the_turned_images_by_hand(
  write, make_rows, frozen, rotations
):
  splits = {
    f'turn{k}': _turned(make_rows(4, first=0), k % 4, mirror=k >= 4)
    for k in range(rotations)
  }
  dataset = write(splits)
  each = [_by_name(features.extract(frozen, dataset, s)) for s in splits]
  mean = _by_name(
    features.extract(frozen, dataset, 'turn0', rotations=rotations)
  )
  np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-4, atol=1e-6)
  # The turns do differ, or this would show nothing.
  assert np.abs(each[0] - each[1]).max() > 1e-3 * np.abs(each[0]).max()


@pytest.mark.parametrize(('rotations', 'mirror'), [(4, False), (8, True)])
def test_turned_sky_has_the_same_features(
  write, make_rows, frozen, rotations, mirror
):
  rows = list(make_rows(4, first=0))
  dataset = write({'a': rows, 'b': _turned(rows, 1, mirror)})
  a, b = (
    _by_name(features.extract(frozen, dataset, split, rotations=rotations))
    for split in 'ab'
  )
  np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_features_of_arrays_are_those_of_a_data_set(
  write, make_rows, simclr_run
):
  # More than a batch.
  rows = list(make_rows(70, first=0))
  for row in rows:
    row['image'][:3] = np.nan
    measured = noise.background_and_rms(row['image'][..., 0])
    row['background_jy_beam'], row['rms_jy_beam'] = map(np.float32, measured)
  frozen = features.from_checkpoint(simclr_run, fields_arcsec=(36.0, 20.0))
  table = features.extract(frozen, write({'train': rows}), 'train', rotations=4)
  images = np.stack([row['image'][..., 0] for row in rows])
  images = np.ma.masked_invalid(images)
  found = frozen.features(images, pixel_scale_arcsec=1.8, rotations=4)
  order = [int(name[1:]) for name in table.names]
  np.testing.assert_allclose(found[order], table.features, rtol=1e-5, atol=1e-6)


def test_arrays_that_are_no_images_are_refused(simclr_run):
  frozen = features.from_checkpoint(simclr_run)
  with pytest.raises(ValueError, match=r'64 \(40, 40\); wanted floats \(N'):
    frozen.features(np.zeros((40, 40)), pixel_scale_arcsec=1.8)
  with pytest.raises(ValueError, match=r'uint8 \(2, 40, 40\); wanted floats'):
    frozen.features(np.zeros((2, 40, 40), np.uint8), pixel_scale_arcsec=1.8)
  with pytest.raises(ValueError, match=r'\(0, 40, 40\); wanted floats'):
    frozen.features(np.zeros((0, 40, 40)), pixel_scale_arcsec=1.8)
  with pytest.raises(ValueError, match='sees 36 arcsec: tell the side'):
    frozen.features(np.zeros((2, 40, 40)), pixel_scale_arcsec=None)
  with pytest.raises(ValueError, match='at most 18, the side of these images'):
    frozen.features(np.zeros((2, 10, 10)), pixel_scale_arcsec=1.8)
  with pytest.raises(ValueError, match=r'wanted \(B, 16, 16, 1\), scaled to'):
    frozen(np.zeros((2, 40, 40, 1)))


def test_features_of_several_fields_stand_side_by_side(dataset):
  fields = (36.0, 24.0)
  several, *alone = (
    features.extract(
      features.untrained(
        _ENCODER,
        features.shown({'input': dataclasses.asdict(_INPUT)}, its),
        seed=0,
      ),
      dataset,
      'test',
      rotations=4,
    ).features
    for its in (fields, fields[:1], fields[1:])
  )
  assert not np.allclose(*alone)
  np.testing.assert_allclose(several, np.concatenate(alone, axis=1), rtol=1e-5)


def test_checkpoint_is_rebuilt_from_its_json_alone(
  dataset, simclr_run, monkeypatch
):
  tree, meta = checkpoints.read(simclr_run)
  live = features.FrozenEncoder(
    models.make_encoder(_ENCODER),
    {
      'params': tree['params']['encoder'],
      'batch_stats': tree['model_state']['batch_stats']['encoder'],
    },
    (_INPUT,),
    {},
  )
  # Neither the run's config.json nor any module of configs/ has a part.
  (simclr_run / 'config.json').rename(simclr_run / 'config.away')
  monkeypatch.setattr('configs.base.get_config', None)
  try:
    frozen = features.from_checkpoint(simclr_run)
  finally:
    (simclr_run / 'config.away').rename(simclr_run / 'config.json')
  assert json.dumps(frozen.meta, allow_nan=False)
  assert dataclasses.asdict(frozen.input)['size_pix'] == 16
  np.testing.assert_array_equal(
    features.extract(frozen, dataset, 'test').features,
    features.extract(live, dataset, 'test').features,
  )
  assert frozen.meta == meta


@pytest.fixture
def rewritten(simclr_run, tmp_path):
  """A copy of the run whose stored config was changed, sums and all."""

  def rewrite(part, field, value):
    run = shutil.copytree(simclr_run, tmp_path / 'run')
    (folder,) = (run / 'checkpoints').iterdir()
    meta = json.loads((folder / 'meta.json').read_text())
    meta['config'][part][field] = value
    (folder / 'meta.json').write_text(json.dumps(meta))
    (folder / manifest.NAME).unlink()
    manifest.write(folder)
    return run

  return rewrite


def test_arrays_of_another_encoder_than_the_stored_one_are_refused(rewritten):
  with pytest.raises(ValueError, match=r'run: its arrays are not .*, wanted'):
    features.from_checkpoint(rewritten('encoder', 'width', 1 / 8))


def test_input_field_of_a_later_version_is_refused(rewritten):
  with pytest.raises(ValueError, match=r"another version .* field 'vignette'"):
    features.from_checkpoint(rewritten('input', 'vignette', 1))


def test_trained_encoder_differs_from_the_untrained_one(dataset, simclr_run):
  trained = features.from_checkpoint(simclr_run)
  fresh = features.untrained(_ENCODER, (_INPUT,), seed=0)
  a, b = (
    features.extract(f, dataset, 'test').features for f in (trained, fresh)
  )
  assert np.abs(a - b).max() > 1e-3 * np.abs(a).max()


def test_moving_average_of_byol_differs_from_the_online_encoder(byol_run):
  tree, _ = checkpoints.read(byol_run)
  found = {
    which: features.from_checkpoint(byol_run, which).variables
    for which in (None, 'online', 'ema')
  }
  _assert_equal(found[None], found['online'])
  _assert_equal(found['online']['params'], tree['params']['encoder'])
  ema = tree['model_state']['ema_params']['encoder']
  _assert_equal(found['ema']['params'], ema)
  differ = jax.tree.map(
    lambda a, b: bool(np.any(a != b)), found['ema'], found['online']
  )
  assert any(jax.tree.leaves(differ['params']))


def _assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_ema_of_a_method_without_one_is_refused(simclr_run):
  with pytest.raises(ValueError, match=r"No 'ema' encoder .*: online\."):
    features.from_checkpoint(simclr_run, 'ema')


def test_set_without_labels_is_refused(write, make_rows, frozen):
  rows = list(make_rows(4, first=0))
  for row in rows:
    del row['label']
  dataset = write({'train': rows}, label_names=None)
  with pytest.raises(ValueError, match=r'small.*no labels'):
    features.extract(frozen, dataset, 'train')


def test_features_that_are_not_finite_name_their_image(
  dataset, frozen, monkeypatch
):
  broken = jax.tree.map(lambda x: x * np.nan, frozen.variables)
  frozen = dataclasses.replace(frozen, variables=broken)
  with pytest.raises(ValueError, match=r'10 images are not finite.* s\d+:'):
    features.extract(frozen, dataset, 'test')


def test_brightness_and_size_are_those_of_the_middle(write, make_rows):
  dataset = write(
    {
      'train': make_rows(
        4,
        first=0,
        source_size_arcsec=np.full(4, 27.0),
        beam_major_arcsec=np.full(4, 5.4),
      )
    }
  )
  table = features.tabulate(dataset, 'train', lambda b: np.zeros((64, 1)))
  np.testing.assert_allclose(table.columns['size_beams'], 5, rtol=1e-6)
  source = dataset.source('train')
  for i, snr in enumerate(table.columns['peak_snr']):
    middle = source[i]['image'][10:30, 10:30, 0]
    assert snr == pytest.approx(middle.max() / 1e-4, rel=1e-5)
