"""CASA gives each plane of an image its beam, in a table behind it."""

import astropy.io.fits
import numpy as np
import pytest

from radio_ssl.data import fits

_CARDS = {
  'CTYPE1': 'RA---SIN',
  'CTYPE2': 'DEC--SIN',
  'CRVAL1': 150.0,
  'CRVAL2': 30.0,
  'CRPIX1': 20.0,
  'CRPIX2': 16.0,
  'CDELT1': -0.0005,
  'CDELT2': 0.0005,
  'BUNIT': 'Jy/beam',
}


def _casa(path, rows, unit='arcsec', **cards):
  """An image of two Stokes planes with CASA's table of beams behind it."""
  stokes = {'CTYPE3': 'STOKES', 'CRVAL3': 0, 'CDELT3': 1, 'CRPIX3': 1}
  image = astropy.io.fits.PrimaryHDU(
    np.random.default_rng(0).normal(0, 1e-3, (2, 32, 40)),
    astropy.io.fits.Header(_CARDS | stokes),
  )
  names = ('BMAJ', 'BMIN', 'BPA', 'CHAN', 'POL')
  kinds = zip(names, 'EEEJJ', (unit, unit, 'deg', None, None), strict=True)
  columns = [
    astropy.io.fits.Column(name, kind, unit=of, array=values)
    for (name, kind, of), values in zip(kinds, np.transpose(rows), strict=True)
  ]
  table = astropy.io.fits.BinTableHDU.from_columns(columns, name='BEAMS')
  astropy.io.fits.HDUList([image, table]).writeto(path)
  return path


@pytest.mark.parametrize(('unit', 'factor'), [('arcsec', 1), ('deg', 3600)])
def test_beam_of_the_plane_comes_from_casas_table(tmp_path, unit, factor):
  rows = [
    (9 / factor, 9 / factor, 0, 0, 0),
    (6 / factor, 5 / factor, 20, 0, 1),
  ]
  image = fits.read(_casa(tmp_path / 'a.fits', rows, unit))
  # Stokes I is the second plane of this file.
  expected = [pytest.approx(value, rel=1e-6) for value in (6, 5, 20)]
  assert image.beam == fits.Beam(*expected)
  assert fits.header(tmp_path / 'a.fits').beam == image.beam


def test_beam_of_the_channel_comes_from_casas_table(tmp_path):
  rows = [(9, 9, 0, 0, 0), (6, 5, 20, 1, 0)]
  path = _casa(tmp_path / 'a.fits', rows)
  with astropy.io.fits.open(path, mode='update') as units:
    units[0].header.update({'CTYPE3': 'FREQ', 'CRVAL3': 1.4e9, 'CDELT3': 1e6})
  assert fits.read(path, channel=1).beam.major_arcsec == 6
  assert fits.header(path, channel=0).beam.major_arcsec == 9


def test_casas_table_without_that_plane_is_refused(tmp_path):
  path = _casa(tmp_path / 'a.fits', [(9, 9, 0, 3, 1)])
  with pytest.raises(fits.FitsError, match=r'BEAMS has no row.*--beam_arcsec'):
    fits.read(path)
  assert fits.read(path, beam_arcsec=5).beam == fits.Beam(5, 5, 0)
