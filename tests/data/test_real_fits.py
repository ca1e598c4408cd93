"""Headers as surveys write them."""

import numpy as np
import pytest

from radio_ssl.data import fits


def test_real_headers_are_read(real_data):
  for path in sorted((real_data / 'fits_samples').glob('*.fits')):
    unit = 'Jy/beam' if path.name == 'pybdsf_4d.fits' else None
    image = fits.read(path, unit=unit)
    assert np.isfinite(image.pixels_jy_beam).any()
    assert image.beam is not None
  # The Galactic image lies near l = 11, b = -2.
  galactic = fits.read(real_data / 'fits_samples' / 'magpis_300px.fits')
  ra, dec = fits.pixel_to_sky(galactic.wcs, 149.5, 149.5)
  assert (round(float(ra)), round(float(dec))) == (272, -20)


def test_the_ncp_projection_of_scorpio_is_read(real_data):
  path = real_data / 'scorpio' / 'ScorpioS17Field.fits'
  image = fits.read(path)
  assert image.pixel_scale_arcsec == pytest.approx(1.5)
  assert image.beam.major_arcsec == pytest.approx(6.5)


def test_a_first_field_is_centred_on_the_source_in_its_name(real_data):
  path = next((real_data / 'mirabest_fits').glob('100_114.242+043.484*'))
  image = fits.read(path, beam_arcsec=5.4)
  assert image.pixels_jy_beam.shape == (300, 300)
  x, y = fits.sky_to_pixel(image.wcs, 114.242, 43.484)
  assert abs(x - 149.5) < 1.1 and abs(y - 149.5) < 1.1
