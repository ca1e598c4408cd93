"""What training and evaluation see of a joined set."""

import numpy as np
import pytest

from radio_ssl.augment import inputs
from radio_ssl.data import examples, pipeline
from radio_ssl.evaluate import features, overlap
from tfds_builders import build

_SIDE = 20
_SCALE = 4.0


def _example(name, ra, dtype, **known):
  rng = np.random.default_rng(sum(name.encode()))
  return examples.example(
    rng.integers(0, 256, (_SIDE, _SIDE)).astype(dtype),
    name=name,
    source_file=f'{name}.png',
    ra_deg=ra,
    dec_deg=-30.0,
    pixel_scale_arcsec=_SCALE,
    **known,
  )


@pytest.fixture
def pictures(write_dataset):
  """Six pictures, half a degree apart, the last one turned."""
  rows = [_example(f'p{i}', 40 + i / 2, np.uint8) for i in range(5)]
  rows.append(_example('turned', 50.0, np.uint8, rotation_deg=45.0))
  return write_dataset(
    {'train': rows}, name='pictures', pixel_scale_arcsec=_SCALE
  )


@pytest.fixture
def joined(write_dataset, pictures, tmp_path):
  """The pictures with a float image, cut to 16 pixels."""

  def make(**options):
    known = {'background_jy_beam': 0.0, 'rms_jy_beam': 1.0}
    rows = [_example('float', 90.0, np.float32, **known)]
    survey = write_dataset({'train': rows}, name='survey')
    return build.build(
      'joined',
      sets=[f'{survey}:train', f'{pictures}:train'],
      data_dir=tmp_path / 'data',
      **({'size_pix': 16} | options),
    )

  return make


def _prepared(directory, wanted, **settings):
  """Name -> the one view that an encoder sees of each image."""
  dataset = pipeline.open_dataset(directory)
  records = {r['name'].decode(): r for r in dataset.source('train')}
  rows = [pipeline.to_example(0, records[name]) for name in wanted]
  batch = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
  how = inputs.Input(size_pix=12, field_arcsec=12 * _SCALE, **settings)
  return np.asarray(inputs.prepare(batch, how, dataset.geometry))


@pytest.mark.parametrize('full_scale', [90.0, 40.0])
@pytest.mark.parametrize('interval', ['noise', 'minmax', 'sigma_clip'])
def test_training_sees_of_joined_pictures_what_it_sees_of_their_set(
  pictures, joined, full_scale, interval
):
  directory = joined(full_scale_sigma=full_scale)
  settings = {'interval': interval, 'full_scale_sigma': full_scale}
  names = [f'p{i}' for i in range(5)]
  before = _prepared(pictures, names, **settings)
  assert before.std() > 0.05
  after = _prepared(directory, names, **settings)
  np.testing.assert_allclose(after, before, atol=2e-6)
  # The flag decides, once and for all.
  settings['full_scale_sigma'] = 1.0
  np.testing.assert_array_equal(_prepared(directory, names, **settings), after)


def test_half_floats_of_pictures_are_near_enough(pictures, joined):
  before = _prepared(pictures, ['p0', 'p1'])
  after = _prepared(joined(dtype='float16'), ['p0', 'p1'])
  np.testing.assert_allclose(after, before, atol=5e-4)


def test_evaluator_finds_sources_by_the_squares_as_they_were_cut(joined):
  directory = joined()
  meta = {
    'config': {'data': {'split': 'train'}},
    'dataset': {
      'directory': str(directory),
      'fingerprint': pipeline.open_dataset(directory).fingerprint,
    },
  }
  sky = overlap.footprints(meta)
  assert len(sky['ra_deg']) == 7
  np.testing.assert_array_equal(sky['field_arcsec'], 16 * _SCALE)
  assert sky['rotation_deg'][sky['ra_deg'] == 50] == 45
  # Half of a square and 30 arcsec are 62: of 20 pixels they would be 70. The
  # corner of the turned one reaches 75.
  degree = 3600 * np.cos(np.radians(30))
  ra = [ra + arcsec / degree for ra, arcsec in ((40, 61), (41, 66), (50, 74))]
  columns = {'ra_deg': ra, 'dec_deg': [-30.0] * 3}
  columns['source_size_arcsec'] = [np.nan] * 3
  table = features.Table(
    features=np.zeros((3, 1)),
    labels=np.zeros(3, np.int32),
    names=['in', 'beside', 'corner'],
    columns={key: np.array(value) for key, value in columns.items()},
  )
  found = overlap.with_pretraining({'test': table}, meta)
  assert found == {'num_images': 7, 'showing': {'test': 2}}
