import dataclasses
import pathlib

import astropy.wcs
import numpy as np
import pytest

from radio_ssl.data import derived, fits

SCALE = 1.8
SOURCE = (150.01, 40.005)
_SIGMA = 1 / np.sqrt(8 * np.log(2))


def make_image(beam, *, turn=0.0, parity=-1, shape=(260, 280), cd=True):
  """A point source of 1 Jy/beam as the beam sees it."""
  wcs = astropy.wcs.WCS(naxis=2)
  wcs.wcs.ctype = ['RA---SIN', 'DEC--SIN']
  wcs.wcs.crval = (150.0, 40.0)
  wcs.wcs.crpix = [shape[1] / 2, shape[0] / 2]
  if cd:
    a = np.radians(turn)
    rotation = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    wcs.wcs.cd = rotation @ np.diag([parity, 1]) * SCALE / 3600
  else:
    wcs.wcs.cdelt = np.array([parity, 1]) * SCALE / 3600
  wcs.wcs.set()
  return fits.Image(
    path=pathlib.Path('made.fits'),
    pixels_jy_beam=point(wcs, shape, beam).astype(np.float32),
    wcs=wcs,
    beam=beam,
    pixel_scale_arcsec=SCALE,
  )


def point(wcs, shape, beam):
  """The beam around SOURCE, computed from the sky position of each pixel."""
  y, x = np.mgrid[: shape[0], : shape[1]]
  ra, dec = fits.pixel_to_sky(wcs, x, y)
  east = (ra - SOURCE[0]) * np.cos(np.radians(SOURCE[1])) * 3600
  north = (dec - SOURCE[1]) * 3600
  pa = np.radians(beam.pa_deg)
  along = east * np.sin(pa) + north * np.cos(pa)
  across = east * np.cos(pa) - north * np.sin(pa)
  major, minor = _SIGMA * beam.major_arcsec, _SIGMA * beam.minor_arcsec
  return np.exp(-((along / major) ** 2 + (across / minor) ** 2) / 2)


def whole(image):
  return image.pixels_jy_beam[:, :]


def flux_jy(image):
  """Integrated flux: the sum over the beam's area in pixels."""
  area = image.beam.area_arcsec2 / image.pixel_scale_arcsec**2
  return whole(image).sum(dtype=np.float64) / area


@pytest.mark.parametrize('parity', [-1, 1])
@pytest.mark.parametrize('turn', [0.0, 30.0])
@pytest.mark.parametrize(
  'beam', [fits.Beam(5.4, 5.4, 0), fits.Beam(11.0, 6.0, 70.0)]
)
def test_smoothed_point_source_is_that_of_the_target_beam(beam, turn, parity):
  image = make_image(beam, turn=turn, parity=parity)
  made = derived.smoothed(image, 15.0)
  assert made.beam == fits.Beam(15.0, 15.0, 0.0)
  wanted = point(image.wcs, whole(image).shape, made.beam)
  np.testing.assert_allclose(whole(made), wanted, atol=3e-3)
  assert flux_jy(made) == pytest.approx(flux_jy(image), rel=1e-3)


def test_smoothing_to_the_beam_that_is_there_changes_nothing():
  image = make_image(fits.Beam(6.0, 6.0, 0))
  made = derived.smoothed(image, 5.9999)
  np.testing.assert_allclose(whole(made), whole(image), atol=1e-4)


def test_smoothing_to_a_smaller_beam_is_refused():
  with pytest.raises(fits.FitsError, match=r'beam of 11 .* the wanted 8') as e:
    derived.smoothed(make_image(fits.Beam(11.0, 6.0, 70.0)), 8.0)
  assert e.value.kind == 'beam too large'


def test_smoothed_constant_gains_by_the_beams_area_up_to_the_edge():
  image = make_image(fits.Beam(5.0, 5.0, 0))
  pixels = np.full((260, 280), 2.0, np.float32)
  pixels[100:110, 100:130] = np.nan
  image = dataclasses.replace(image, pixels_jy_beam=pixels)
  made = whole(derived.smoothed(image, 10.0))
  np.testing.assert_allclose(made[np.isfinite(made)], 8.0, rtol=1e-5)
  assert np.isfinite(made[[0, -1]]).all()
  assert np.array_equal(np.isnan(made), np.isnan(pixels))


def test_smoothed_noise_has_the_correlation_of_the_target_beam():
  beam = fits.Beam(5.0, 5.0, 0)
  image = make_image(beam, shape=(700, 700))
  white = np.random.default_rng(0).normal(size=(700, 700)).astype(np.float32)
  image = dataclasses.replace(image, pixels_jy_beam=white)
  noise = dataclasses.replace(
    derived.smoothed(
      dataclasses.replace(image, beam=fits.Beam(1e-3, 1e-3, 0)), 5.0
    ),
    beam=beam,
  )
  made = whole(derived.smoothed(noise, 12.0)).astype(float)
  for lag in (2, 4, 6):
    # The autocorrelation of Gaussian noise is the beam, root 2 times as wide.
    wanted = np.exp(-((lag * SCALE) ** 2) / (4 * (12 * _SIGMA) ** 2))
    found = (made[:, lag:] * made[:, :-lag]).mean() / (made**2).mean()
    assert found == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize('cd', [True, False])
@pytest.mark.parametrize('scale', [1.1, 2.5, 3.6, 5.0])
def test_regridded_source_lies_where_its_position_says(scale, cd):
  image = make_image(fits.Beam(12.0, 12.0, 0), turn=25.0, cd=cd)
  made = derived.regridded(image, scale)
  pixels = whole(made)
  assert pixels.shape == made.pixels_jy_beam.shape
  assert made.pixel_scale_arcsec == scale
  np.testing.assert_allclose(
    np.sqrt(abs(np.linalg.det(made.wcs.pixel_scale_matrix))) * 3600, scale
  )
  y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
  total = pixels.sum()
  centre = (x * pixels).sum() / total, (y * pixels).sum() / total
  wanted = fits.sky_to_pixel(made.wcs, *SOURCE)
  np.testing.assert_allclose(centre, wanted, atol=0.05)
  assert flux_jy(made) == pytest.approx(flux_jy(image), rel=0.01)
  # What is left over is less than a pixel, on both sides alike.
  middle = fits.pixel_to_sky(image.wcs, 139.5, 129.5)
  height, width = pixels.shape
  np.testing.assert_allclose(
    fits.sky_to_pixel(made.wcs, *middle),
    ((width - 1) / 2, (height - 1) / 2),
    atol=1e-6,
  )


def test_regridded_constant_stays_constant():
  image = make_image(fits.Beam(5.0, 5.0, 0))
  constant = np.full((260, 280), 3.0, np.float32)
  image = dataclasses.replace(image, pixels_jy_beam=constant)
  for scale in (0.7, 2.0, 4.1):
    made = whole(derived.regridded(image, scale))
    np.testing.assert_allclose(made, 3.0, rtol=1e-5)


def test_low_response_and_unknown_response_are_missing():
  image = make_image(fits.Beam(5.0, 5.0, 0))
  values = np.linspace(0, 1, 280, dtype=np.float32) * np.ones((260, 1))
  values[:10] = np.nan
  response = dataclasses.replace(image, pixels_jy_beam=values)
  made = derived.masked(image, response, 0.3)
  pixels = whole(made)
  assert np.isnan(pixels[:10]).all()
  assert np.array_equal(np.isfinite(pixels[10:]), values[10:] >= 0.3)
  seen = np.isfinite(pixels)
  assert np.array_equal(pixels[seen], whole(image)[seen])


@pytest.mark.parametrize(
  'derive',
  [
    lambda image: derived.smoothed(image, 15.0),
    lambda image: derived.regridded(image, 2.7),
    lambda image: derived.masked(image, image, 0.1),
  ],
)
def test_windows_are_parts_of_the_whole(derive, monkeypatch):
  image = make_image(fits.Beam(9.0, 7.0, 20.0))
  noise = np.random.default_rng(1).normal(size=(260, 280))
  image = dataclasses.replace(
    image, pixels_jy_beam=(whole(image) + noise).astype(np.float32)
  )
  made = derive(image)
  expected = whole(made)
  for rows, columns in (
    (slice(0, 40), slice(0, 50)),
    (slice(100, 151), slice(90, 171)),
    (slice(100, 999), slice(120, 999)),
  ):
    window = made.pixels_jy_beam[rows, columns]
    np.testing.assert_allclose(window, expected[rows, columns], atol=2e-4)
  assert made.pixels_jy_beam[5:5, :].shape[0] == 0
  monkeypatch.setattr(derived, '_COLUMNS_AT_ONCE', 37)
  np.testing.assert_allclose(whole(made), expected, atol=2e-4)
