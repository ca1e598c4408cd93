"""The check finds what was done to a data set, and who is on two sides."""

import pathlib

import numpy as np
import pytest

from radio_ssl import testing
from radio_ssl.data import examples, fits, manifest, pipeline
from tfds_builders import build, check, round_trip
from tfds_builders.radio_fits import testing as fields


def _image(seed):
  """Noise around a source whose shape hangs on the seed."""
  generator = np.random.default_rng(seed)
  image = generator.normal(size=(40, 40)) * 1e-4
  for y, x in generator.integers(8, 32, (4, 2)):
    image[y - 2 : y + 3, x - 2 : x + 3] += 0.01
  return image.astype(np.float32)


def _rows(numbers, *, placed=True, **changes):
  for i in numbers:
    known = {
      'image': _image(i),
      'name': f's{i}',
      'source_file': 'a.fits',
      'ra_deg': 10.0 + i if placed else np.nan,
      'dec_deg': 20.0 if placed else np.nan,
      'pixel_scale_arcsec': 1.8,
      'rotation_deg': 0.0,
      'background_jy_beam': 0.0,
      'rms_jy_beam': 1e-4,
      'label': i % 2,
    } | changes
    yield examples.example(known.pop('image'), **known)


@pytest.fixture
def write(tmp_path):
  """Writes splits as a data set with sums, and returns its folder."""

  def of(splits, name='small'):
    rows = {key: list(value) for key, value in splits.items()}
    folder = testing.write(tmp_path, rows, label_names=['a', 'b'], name=name)
    manifest.write(folder)
    return folder

  return of


def test_sound_set_is_read_whole(write, capsys):
  folder = write({'train': _rows(range(6)), 'test': _rows(range(6, 9))})
  assert check.main([str(folder)]) == 0
  told = capsys.readouterr().out
  assert f'{folder}: read 6 ' in told
  assert '0 of 6 images show a source' in told


def test_flipped_bit_in_a_shard_is_damage(write, capsys):
  folder = write({'train': _rows(range(3))})
  (shard,) = folder.glob('*array_record*')
  data = bytearray(shard.read_bytes())
  data[-1] ^= 1
  shard.write_bytes(data)
  assert check.main([str(folder)]) == 1
  assert 'differs from its SHA-256' in capsys.readouterr().out


@pytest.mark.parametrize(
  ('changes', 'told'),
  [
    ({'image': np.full((40, 40), np.nan, np.float32)}, 'no finite pixel'),
    ({'image': np.full((40, 40), np.inf, np.float32)}, 'infinite pixels'),
    ({'rms_jy_beam': 0.0}, 'no noise level'),
    ({'background_jy_beam': np.nan}, 'no background'),
    ({'ra_deg': 400.0}, 'a position off the sky'),
    ({'dec_deg': np.nan}, 'half a position'),
  ],
)
def test_bad_records_are_counted_and_named(write, changes, told, capsys):
  rows = [*_rows(range(3)), *_rows([7], **changes)]
  assert check.main([str(write({'train': rows}))]) == 1
  assert f'train: 1 images with {told}, such as s7' in capsys.readouterr().out


@pytest.fixture
def survey(tmp_path):
  """FITS files, and tiles and cutouts of them."""
  folder = tmp_path / 'images'
  for name, ra in (('a', 150.0), ('b', 149.965)):
    fields.write_field(folder / name / 'mosaic.fits', ra)
  path = fields.write_catalogue(tmp_path / 'c.csv', fields.SOURCES)
  settings = {'images': f'{folder}/*/*.fits', 'data_dir': tmp_path / 'data'}
  cut = {'config': 'cutouts', 'catalogue': path, 'size_pix': 24}
  return settings['images'], {
    'tiles': build.build('radio_fits', size_pix=30, **settings),
    'cutouts': build.build('radio_fits', name='cut', **cut, **settings),
    'regridded': build.build(
      'radio_fits', name='grid', size_pix=20, field_arcsec=50, **settings
    ),
  }


@pytest.mark.parametrize('kind', ['tiles', 'cutouts', 'regridded'])
def test_images_lie_where_their_positions_say(survey, kind, capsys):
  images, folders = survey
  assert check.main([str(folders[kind]), '--images', images]) == 0
  # The same names in other folders, but not that sky.
  other = pathlib.Path(images).parents[1] / 'b' / '*.fits'
  assert check.main([str(folders[kind]), '--images', str(other)]) == 1
  assert 'do not show what the file has' in capsys.readouterr().out
  with pytest.raises(SystemExit):
    check.main([str(folders[kind]), '--images', 'nowhere/*.fits'])


@pytest.mark.parametrize(
  'change', [{'dec_deg': 0.5}, {'ra_deg': 0.5}, {'rotation_deg': 90}]
)
def test_a_shift_by_half_a_pixel_is_found(survey, change):
  images, folders = survey
  dataset = pipeline.open_dataset(folders['tiles'])
  image = fits.read(images.replace('*/*', 'a/mosaic'))
  tiles = {t['name']: t for t in dataset.source('train')}
  tile = tiles[b'a/mosaic.fits#x00030y00030']
  assert round_trip.likeness(tile, image) > 0.999
  for key, pixels in change.items():
    unit = 1 if key == 'rotation_deg' else 1.8 / 3600
    tile[key] = tile[key] + pixels * unit
  assert round_trip.likeness(tile, image) < 0.95


def test_name_that_comes_twice_is_told(write, capsys):
  rows = [*_rows(range(3)), *_rows([5], name='s1')]
  assert check.main([str(write({'train': rows}))]) == 1
  assert 'a name comes twice, such as s1' in capsys.readouterr().out


def test_source_in_two_splits_is_listed_by_footprint(write, capsys):
  # 25 arcsec beside the edge of the square of 72.
  near = _rows([3], ra_deg=10.0, dec_deg=20.0 + 61 / 3600, name='near')
  far = _rows([4], ra_deg=11.0, dec_deg=20.0 + 67 / 3600, name='far')
  folder = write({'train': _rows(range(3)), 'test': [*near, *far]})
  assert check.main([str(folder)]) == 2
  lines = capsys.readouterr().out.splitlines()
  assert '  s0  near' in lines
  assert not any('far' in line for line in lines)


def test_sources_of_another_set_are_listed(write, capsys):
  folder = write({'train': _rows(range(5))})
  other = write({'test': _rows([4, 9])}, name='other')
  assert check.main([str(folder)]) == 0
  assert check.main([str(folder), '--against', str(other)]) == 2
  told = capsys.readouterr().out
  assert '1 of 5 images show a source of' in told
  assert '  s4  s4' in told.splitlines()


def test_one_image_without_position_hides_no_leak(write, capsys):
  lost = _rows([30], placed=False)
  folder = write({'train': [*_rows(range(6)), *lost], 'test': _rows([3, 9])})
  assert check.main([str(folder)]) == check.SHARED
  told = capsys.readouterr().out
  assert 'train: 1 of 7 images show a source of, or look like one of' in told
  assert 's3  s3' in told
  # Its copy is found by its look, on whichever side it lacks the position.
  copy = _rows([3], placed=False)
  folder = write({'train': _rows(range(6)), 'test': copy}, name='other')
  assert check.main([str(folder)]) == check.SHARED
  assert 's3  s3' in capsys.readouterr().out


def test_overlap_that_nobody_can_know_has_its_own_status(write, tmp_path):
  folder = write({'train': [*_rows(range(4)), *_rows([9], placed=False)]})
  image = np.ones((24, 24), np.float32)
  other = write({'train': _rows([20], image=image)}, name='other')
  assert check.main([str(folder), '--against', str(other)]) == check.UNKNOWN


def test_without_positions_images_that_look_the_same_are_listed(write, capsys):
  folder = write({'train': _rows(range(40), placed=False)})
  noisy = _image(7) * 3 + np.random.default_rng(0).normal(size=(40, 40)) * 1e-5
  copy = _rows([90], image=noisy.astype(np.float32), placed=False)
  other = write({'test': [*copy, *_rows([91], placed=False)]}, name='other')
  assert check.main([str(folder), '--against', str(other)]) == 2
  told = capsys.readouterr().out
  assert '1 of 40 images look like one of' in told
  assert '  s7  s90' in told.splitlines()


def test_folder_that_is_no_data_set_is_one_line(tmp_path, capsys):
  with pytest.raises(SystemExit) as exit_:
    check.main([str(tmp_path)])
  assert exit_.value.code == 1
  assert capsys.readouterr().err.count('\n') == 1
