"""Where the pixels of an image lie on the sky, from its header."""

import contextlib

import astropy.io.fits
import astropy.wcs
import astropy.wcs.utils
import numpy as np

# Of the sides of a pixel, and of the cosine of the angle between them.
_SQUARE_WITHIN = 0.01


def read(cards: astropy.io.fits.Header) -> astropy.wcs.WCS:
  """The celestial WCS of axes 1 and 2; calls take (x, y), 0-based.

  Of a cylindrical projection (CAR, CEA, CYP, MER) the native meridian is moved
  to the image where that leaves native longitudes of +-180 degrees: each pixel
  keeps its place on the sky, and each place inside the image its pixel.

  Raises:
    Exception: of many classes, wcslib's own among them; the last line tells
      what is wrong.
  """
  # Without the other axes: a step of 0 along one channel harms nothing.
  wcs = astropy.wcs.WCS(cards, naxis=[1, 2])
  if (wcs.wcs.lng, wcs.wcs.lat) != (0, 1):
    raise ValueError('axes 1 and 2 are not longitude and latitude')
  astropy.wcs.utils.wcs_to_celestial_frame(wcs)
  _check_pixels(wcs)
  width, height = cards['NAXIS1'], cards['NAXIS2']
  # The first makes wcslib tell native longitudes beyond the limits.
  wcs.wcs.bounds_check(False, False)
  # Equal-area maps whose corners lie beyond the poles are left as they are.
  with contextlib.suppress(ValueError):
    wcs.wcs.cylfix(naxis=[width, height])
  wcs.wcs.bounds_check(True, True)
  centre = [[(width - 1) / 2, (height - 1) / 2]]
  if not np.isfinite(wcs.wcs_pix2world(centre, 0)).all():
    raise ValueError('the centre of the image is not on the sky')
  wcs.array_shape = (height, width)
  return wcs


def _check_pixels(wcs: astropy.wcs.WCS) -> None:
  matrix = wcs.pixel_scale_matrix
  if matrix.any(axis=1).sum() != 2:
    raise ValueError('pixels of no size')
  sides = np.linalg.norm(matrix, axis=0)
  if max(sides) > min(sides) * (1 + _SQUARE_WITHIN):
    raise ValueError(
      f'pixels of {sides[0] * 3600:.4g} x {sides[1] * 3600:.4g} arcsec, '
      'wanted square ones: regrid'
    )
  cosine = matrix[:, 0] @ matrix[:, 1] / np.prod(sides)
  if abs(cosine) > _SQUARE_WITHIN:
    angle = np.degrees(np.arccos(cosine))
    raise ValueError(
      f'pixels whose sides are {angle:.1f} degrees apart, wanted square ones: '
      'regrid'
    )
