"""Real images go in as they are."""

import re

import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl.data import fits
from tfds_builders import build


def read(directory):
  builder = tfds.builder_from_directory(directory)
  examples = {e['name'].decode(): e for e in builder.as_data_source('train')}
  return examples, builder.info.metadata


def test_the_tiles_of_scorpio_cover_it_pixel_for_pixel(real_data, tmp_path):
  folder = real_data / 'scorpio'
  directory = build.build(
    'radio_fits',
    config='tiles',
    images=str(folder / '*.fits'),
    data_dir=tmp_path,
  )
  examples, metadata = read(directory)
  # 1000 pixels in steps of 75, and a last tile that ends at the edge: 13 a
  # side, in three images.
  assert len(examples) == 3 * 13 * 13
  assert metadata['pixel_scale_arcsec'] == pytest.approx(1.5, rel=1e-6)
  assert metadata['beam_major_arcsec'] == pytest.approx(6.5, rel=1e-6)
  for path in sorted(folder.glob('*.fits')):
    image = fits.read(path)
    seen = np.zeros((1000, 1000), int)
    for name, example in examples.items():
      if example['source_file'].decode() != path.name:
        continue
      x, y = (int(n) for n in re.fullmatch(r'.*#x(\d+)y(\d+)', name).groups())
      window = slice(y, y + 150), slice(x, x + 150)
      np.testing.assert_array_equal(
        example['image'][..., 0], image.pixels_jy_beam[window]
      )
      centre = fits.pixel_to_sky(image.wcs, x + 74.5, y + 74.5)
      found = example['ra_deg'], example['dec_deg']
      np.testing.assert_allclose(found, centre, atol=1e-7)
      seen[window] += 1
    assert seen.min() >= 1


def test_the_first_fields_of_mirabest_are_cut_around_their_sources(
  real_data, tmp_path
):
  name = '100_114.242+043.484_0.2731_0057.94'
  path = tmp_path / 'c.csv'
  path.write_text(f'name,ra,dec,size\n{name},114.242,43.484,57.94\n')
  directory = build.build(
    'radio_fits',
    config='cutouts',
    images=str(real_data / 'mirabest_fits' / f'{name}.fits.fz'),
    catalogue=str(path),
    beam_arcsec=5.4,
    size_pix=150,
    data_dir=tmp_path,
  )
  examples, _ = read(directory)
  assert examples[name]['rms_jy_beam'] == pytest.approx(1.5e-4, rel=0.3)
  assert examples[name]['flux_jy'] > 5e-3
