import astropy.io.fits
import astropy.wcs
import numpy as np
import pytest

from radio_ssl.data import celestial, fits

SHAPE = HEIGHT, WIDTH = 300, 400


def cards(projection='SIN', shape=SHAPE, **changed):
  """Of an image whose centre is 150.5, 200.5 (FITS), 0.01 degrees a pixel."""
  values = {
    'NAXIS': 2,
    'NAXIS1': shape[1],
    'NAXIS2': shape[0],
    'CTYPE1': f'RA---{projection}',
    'CTYPE2': f'DEC--{projection}',
    'CRVAL1': 30.0,
    'CRVAL2': 0.0,
    'CRPIX1': (shape[1] + 1) / 2,
    'CRPIX2': (shape[0] + 1) / 2,
    'CDELT1': -0.01,
    'CDELT2': 0.01,
    'RADESYS': 'ICRS',
  }
  return astropy.io.fits.Header(values | changed)


def positions(shape=SHAPE):
  """Places all over an image, its edges among them."""
  height, width = shape
  return np.meshgrid(
    np.linspace(-0.499, width - 0.501, 41),
    np.linspace(-0.499, height - 0.501, 31),
  )


def assert_round_trip(wcs, shape=SHAPE):
  x, y = positions(shape)
  back = fits.sky_to_pixel(wcs, *fits.pixel_to_sky(wcs, x, y))
  np.testing.assert_allclose(back, (x, y), atol=0.001)


@pytest.mark.parametrize('projection', ['CAR', 'CEA', 'MER'])
@pytest.mark.parametrize('latitude', [0.0, 20.0, -15.0])
@pytest.mark.parametrize('away', [0, 90, 178.5, 179.9, 180, -181, 250, -721])
def test_cylindrical_images_lie_anywhere_on_the_sky(projection, latitude, away):
  header = cards(projection, CRVAL2=latitude, CROTA2=3.0)
  header['CRPIX1'] += away / 0.01
  header['CRPIX2'] += 10 / 0.01
  wcs = celestial.read(header)
  assert_round_trip(wcs)
  # What the header says, without a limit of native longitude.
  plain = astropy.wcs.WCS(header)
  plain.wcs.bounds_check(False, False)
  x, y = positions()
  ra, dec = fits.pixel_to_sky(wcs, x, y)
  wanted = plain.wcs_pix2world(x, y, 0)
  np.testing.assert_allclose((ra - wanted[0] + 180) % 360, 180, atol=1e-9)
  np.testing.assert_allclose(dec, wanted[1], atol=1e-9)


def test_plate_carree_beyond_its_seam_counts_degrees_on():
  header = cards('CAR')
  header['CRPIX1'] += 179 / 0.01
  wcs = celestial.read(header)
  # East is left: the first column's outer edge is half the width further.
  ra, dec = fits.pixel_to_sky(
    wcs, np.array([199.5, -0.5]), np.array([149.5] * 2)
  )
  np.testing.assert_allclose(ra, [30 + 179, 30 + 181])
  np.testing.assert_allclose(dec, 0, atol=1e-9)


@pytest.mark.parametrize('reference', [1800.5, 1801.0, 0.5, 3600.5, -30000.0])
def test_whole_sky_is_one_turn_wherever_the_reference_is(reference):
  shape = 1800, 3600
  scale = {'CDELT1': -0.1, 'CDELT2': 0.1}
  wcs = celestial.read(cards('CAR', shape, CRPIX1=reference, **scale))
  assert_round_trip(wcs, shape)


def test_beyond_the_whole_sky_there_is_none():
  scale = {'CDELT1': -0.1, 'CDELT2': 0.1}
  wcs = celestial.read(cards('CAR', (1900, 3700), **scale))
  ra, dec = fits.pixel_to_sky(
    wcs, np.array([0, 1850, 1850]), np.array([950, 0, 950])
  )
  assert np.isnan(ra[:2]).all() and np.isnan(dec[:2]).all()
  assert np.isfinite([ra[2], dec[2]]).all()


def test_equal_area_map_with_corners_beyond_the_poles_is_read():
  scale = {'CDELT1': -0.1, 'CDELT2': 0.1}
  wcs = celestial.read(cards('CEA', (1900, 3600), **scale))
  ra, _ = fits.pixel_to_sky(wcs, np.array([1799.5] * 2), np.array([0, 949.5]))
  np.testing.assert_allclose(ra, [np.nan, 30])


@pytest.mark.parametrize(('projection', 'away'), [('SFL', 200), ('SIN', 100)])
def test_other_projections_end_where_they_end(projection, away):
  header = cards(projection)
  header['CRPIX1'] += away / 0.01
  with pytest.raises(ValueError, match='centre of the image is not on the sky'):
    celestial.read(header)


@pytest.mark.parametrize('ratio', [1.1, 0.9, 1.02, 4])
def test_pixels_that_are_not_square_are_refused(ratio):
  with pytest.raises(ValueError, match=r'pixels of 36 x .* arcsec'):
    celestial.read(cards(CDELT2=0.01 * ratio))
  celestial.read(cards(CDELT2=0.01 * 1.005))


@pytest.mark.parametrize('degrees', [3, -3, 30, 0])
def test_sheared_pixels_are_refused(degrees):
  """The second axis leans, at the same length of step; 0 is only rotated."""
  header = cards()
  del header['CDELT1'], header['CDELT2']
  first, second = np.radians(20), np.radians(110 + degrees)
  header['CD1_1'], header['CD2_1'] = -np.cos(first) / 100, np.sin(first) / 100
  header['CD1_2'], header['CD2_2'] = -np.cos(second) / 100, np.sin(second) / 100
  if not degrees:
    celestial.read(header)
    return
  with pytest.raises(ValueError, match=rf'sides are {90 + degrees}\.0 degrees'):
    celestial.read(header)


def test_other_axes_do_no_harm():
  header = cards(NAXIS3=1, CTYPE3='STOKES', CRVAL3=1.0, CDELT3=0.0)
  header['NAXIS'] = 3
  wcs = celestial.read(header)
  assert wcs.naxis == 2 and wcs.array_shape == SHAPE
  assert_round_trip(wcs)
