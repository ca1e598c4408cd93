import json
import pathlib
import shutil

import astropy.io.fits
import numpy as np
import pytest

from radio_ssl.data import fits
from tfds_builders import build
from tfds_builders.radio_fits import testing

read = testing.read
survey = testing.survey
RMS = testing.RMS


def write_companions(survey, ending, change):
  """Beside a.fits and b.fits, images like them after `change(pixels)`."""
  folder = pathlib.Path(survey['images']).parent
  for name in 'ab':
    path = folder / f'{name}{ending}'
    shutil.copy(folder / f'{name}.fits', path)
    with astropy.io.fits.open(path, mode='update') as hdus:
      hdus[0].data[:] = change(hdus[0].data)
  return '{folder}/{stem}' + ending


def test_rms_images_tell_the_rms_of_examples(survey):
  def ramp(pixels):
    return np.linspace(1, 3, pixels.shape[1]) * np.ones_like(pixels) * RMS

  pattern = write_companions(survey, '_rms.fits', ramp)
  directory = build.build(
    'radio_fits', size_pix=20, rms_image=pattern, **survey
  )
  examples, metadata = read(directory)
  assert metadata['images'] == 2
  for key, example in examples.items():
    x = int(key.split('#x')[1][:5])
    expected = RMS * (1 + 2 * (x + 9.5) / 99)
    assert example['rms_jy_beam'] == pytest.approx(expected, rel=0.02)
  report = json.loads((directory / 'ingest_report.json').read_text())
  assert report['files']['a_rms.fits'] == {'status': 'companion'}
  told = report['files']['a.fits']['rms_image']
  assert told['path'].endswith('a_rms.fits')
  assert len(told['sha256']) == 64


def test_another_rms_image_under_the_same_name_is_noticed(survey):
  pattern = write_companions(survey, '_rms.fits', lambda p: 0 * p + RMS)
  settings = survey | {'size_pix': 20, 'rms_image': pattern}
  build.build('radio_fits', **settings)
  write_companions(survey, '_rms.fits', lambda p: 0 * p + 2 * RMS)
  # The images that are cut stay the same.
  with pytest.raises(ValueError, match='was built with images='):
    build.build('radio_fits', **settings)


def test_pixels_of_low_response_are_missing(survey):
  def step(pixels):
    x = np.arange(pixels.shape[1])
    return np.where(x < 60, 0.9, 0.2) * np.ones_like(pixels)

  pattern = write_companions(survey, '.pb.fits', step)
  directory = build.build(
    'radio_fits',
    size_pix=20,
    stride_pix=10,
    primary_beam_image=pattern,
    min_response=0.5,
    max_missing=0.6,
    **survey,
  )
  examples, metadata = read(directory)
  assert metadata['missing'] > 0
  columns = {int(key.split('#x')[1][:5]) for key in examples}
  assert columns == {0, 10, 20, 30, 40, 50}
  for key, example in examples.items():
    x = int(key.split('#x')[1][:5])
    good = np.isfinite(example['image']).mean()
    assert good == pytest.approx(min(20, 60 - x) / 20)


@pytest.mark.parametrize('change', [{'CRVAL1': 150.001}, {'NAXIS1': 90}])
def test_companion_of_another_sky_is_refused(survey, change):
  pattern = write_companions(survey, '_rms.fits', lambda p: 0 * p + RMS)
  path = pathlib.Path(survey['images']).parent / 'b_rms.fits'
  with astropy.io.fits.open(path, mode='update') as hdus:
    if 'NAXIS1' in change:
      hdus[0].data = hdus[0].data[:, :90]
    else:
      hdus[0].header.update(change)
  with pytest.raises(ValueError, match=r'b\.fits: rms_image .*b_rms\.fits has'):
    build.build('radio_fits', size_pix=20, rms_image=pattern, **survey)


def test_all_images_come_to_the_same_beam_and_pixels(survey):
  folder = pathlib.Path(survey['images']).parent
  with astropy.io.fits.open(folder / 'b.fits', mode='update') as hdus:
    hdus[0].header.update(BMAJ=0.002, BPA=20.0)
  directory = build.build(
    'radio_fits',
    size_pix=24,
    target_beam_arcsec=10.0,
    field_arcsec=24 * 2.5,
    **survey,
  )
  examples, metadata = read(directory)
  assert metadata['beam_major_arcsec'] == metadata['beam_minor_arcsec'] == 10
  assert metadata['pixel_scale_arcsec'] == 2.5
  seen = 0
  for example in examples.values():
    image = example['image'][..., 0]
    peak = np.unravel_index(np.nanargmax(image), image.shape)
    if image.max() < 0.04 or not all(4 <= at < 20 for at in peak):
      continue
    seen += 1
    # North is up in these fields: offsets of the source are those of its pixel.
    east, north = (11.5 - peak[1]) * 2.5, (peak[0] - 11.5) * 2.5
    dec = example['dec_deg'] + north / 3600
    ra = example['ra_deg'] + east / 3600 / np.cos(np.radians(dec))
    off = [
      np.hypot((ra - s[1]) * np.cos(np.radians(dec)), dec - s[2]) * 3600
      for s in testing.SOURCES[:3]
    ]
    assert min(off) < 2.5
  assert seen > 4


def test_cutouts_of_a_smoothed_image_keep_their_flux(survey, tmp_path):
  path = testing.write_catalogue(tmp_path / 'c.csv', testing.SOURCES)
  found = []
  for beam in (None, 12.0):
    directory = build.build(
      'radio_fits',
      config='cutouts',
      catalogue=path,
      target_beam_arcsec=beam,
      pixel_scale_arcsec=1.5,
      size_pix=25,
      **(survey | {'data_dir': tmp_path / f'{beam}'}),
    )
    found.append(read(directory)[0]['first'])
  sharp, smooth = found
  for example in found:
    assert example['pixel_scale_arcsec'] == 1.5
    image = example['image'][..., 0]
    assert np.unravel_index(image.argmax(), image.shape) == (12, 12)
  area = fits.Beam(1, 1, 0).area_arcsec2 / 1.5**2
  fluxes = [
    (e['image'] - e['background_jy_beam']).sum()
    / (area * e['beam_major_arcsec'] * e['beam_minor_arcsec'])
    for e in (sharp, smooth)
  ]
  # The smoothed one has part of its flux outside the field.
  assert fluxes[1] == pytest.approx(fluxes[0], rel=0.05)
