"""Beams of the header, of CASA's table behind an image, of AIPS's history."""

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


def _header(**cards):
  return astropy.io.fits.Header(_CARDS | cards)


def _beam(path, *history, **cards):
  """Of an image with such cards; None is a card without a value."""
  header = _header()
  for name, value in cards.items():
    header[name] = value
  for line in history:
    header['HISTORY'] = line
  astropy.io.fits.PrimaryHDU(np.ones((32, 40)), header).writeto(path)
  return fits.read(path).beam


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


@pytest.mark.parametrize(
  ('told', 'expected'), [({}, (9, 6)), ({'CASAMBM': False}, (36, 36))]
)
def test_the_channels_own_beam_comes_before_that_of_the_header(
  tmp_path, told, expected
):
  rows = [(9, 9, 0, 0, 0), (6, 5, 20, 1, 0)]
  path = _casa(tmp_path / 'a.fits', rows)
  cards = {'CTYPE3': 'Freq', 'CRVAL3': 1.4e9, 'CDELT3': 1e6, 'BMAJ': 0.01}
  with astropy.io.fits.open(path, mode='update') as units:
    units[0].header.update(cards | told)
  found = [fits.header(path, channel=n).beam.major_arcsec for n in (0, 1)]
  assert found == [pytest.approx(value) for value in expected]


def test_the_header_tells_of_a_plane_that_casas_table_has_not(tmp_path):
  path = _casa(tmp_path / 'a.fits', [(9, 9, 0, 3, 1)])
  with astropy.io.fits.open(path, mode='update') as units:
    units[0].header['BMAJ'] = 0.0015
  assert fits.header(path).beam.major_arcsec == pytest.approx(5.4)


@pytest.mark.parametrize('unit', [None, 'Jy', 'arrows'])
def test_casas_table_without_a_unit_of_angle_is_refused(tmp_path, unit):
  path = _casa(tmp_path / 'a.fits', [(9, 9, 0, 0, 1)], unit)
  said = rf'a\.fits: column BMAJ of the table BEAMS has the unit {unit!r}'
  with pytest.raises(fits.FitsError, match=said) as told:
    fits.read(path)
  assert '--beam_arcsec' in str(told.value)


def test_another_table_of_that_name_is_refused(tmp_path):
  path = tmp_path / 'a.fits'
  image = astropy.io.fits.PrimaryHDU(np.ones((32, 40)), _header())
  other = astropy.io.fits.ImageHDU(np.ones((3, 3)), name='BEAMS')
  astropy.io.fits.HDUList([image, other]).writeto(path)
  with pytest.raises(
    fits.FitsError, match=r'a\.fits: BEAMS has no column BMAJ'
  ):
    fits.read(path)


def test_casas_table_without_that_plane_is_refused(tmp_path):
  path = _casa(tmp_path / 'a.fits', [(9, 9, 0, 3, 1)])
  with pytest.raises(fits.FitsError, match=r'BEAMS has no row.*--beam_arcsec'):
    fits.read(path)
  assert fits.read(path, beam_arcsec=5).beam == fits.Beam(5, 5, 0)


def test_beam_as_text_is_read_and_what_is_no_number_is_named(tmp_path):
  beam = _beam(tmp_path / 'a.fits', BMAJ='0.0015', BMIN=0.001, BPA='12')
  assert beam == fits.Beam(pytest.approx(5.4), pytest.approx(3.6), 12)
  with pytest.raises(
    fits.FitsError, match=r"b\.fits: BPA is 'north', no"
  ) as told:
    _beam(tmp_path / 'b.fits', BMAJ=0.0015, BPA='north')
  assert len(str(told.value)) < 200 and '--beam_arcsec' in str(told.value)


def test_cards_without_a_value_tell_nothing(tmp_path):
  assert _beam(tmp_path / 'a.fits', BMAJ=None, BMIN=None, BPA=None) is None
  beam = _beam(tmp_path / 'b.fits', BMAJ=0.0015, BMIN=None, BPA=None)
  assert beam == fits.Beam(pytest.approx(5.4), pytest.approx(5.4), 0)
  history = 'AIPS CLEAN BMAJ= 1.5E-03 BMIN= 1.0E-03 BPA= 2.00'
  beam = _beam(tmp_path / 'c.fits', history, BMAJ=None)
  assert beam == fits.Beam(pytest.approx(5.4), pytest.approx(3.6), 2)


@pytest.mark.parametrize(
  'beam',
  [{'BMAJ': -1.0}, {'BMAJ': 1e-4, 'BMIN': 2e-4}, {'BMAJ': 1e-4, 'BMIN': 0}],
)
def test_impossible_beams_are_refused(tmp_path, beam):
  with pytest.raises(fits.FitsError, match=r'a\.fits: the beam is'):
    _beam(tmp_path / 'a.fits', **beam)


def test_no_beam_is_none_and_the_last_clean_in_the_history_counts(tmp_path):
  assert _beam(tmp_path / 'a.fits') is None
  history = [
    f'AIPS CLEAN BMAJ=  {beam} BMIN=  1.5E-03 BPA=  12.00'
    for beam in ('9.0E-03', '1.5E-03')
  ]
  # A parameter of a task, in arcsec, and not what came of it.
  history.append('CONVL BMAJ=   45.000, BMIN=   45.000, BPA=    0.00 / beam')
  beam = _beam(tmp_path / 'b.fits', *history)
  assert beam == fits.Beam(pytest.approx(5.4), pytest.approx(5.4), 12)


@pytest.mark.parametrize(
  'line',
  [
    'AIPS CLEAN BMAJ= 1.5E-03, BMIN= 1.0E-03, BPA= 12.00',
    'AIPS CLEAN BMAJ=1.5D-03; BMIN=1.0d-03; BPA=12.00 / degrees',
  ],
)
def test_history_is_read_with_commas_and_double_exponents(tmp_path, line):
  beam = _beam(tmp_path / 'a.fits', line)
  assert beam == fits.Beam(pytest.approx(5.4), pytest.approx(3.6), 12)


def test_history_without_a_number_is_named(tmp_path):
  said = r"a\.fits: BMIN of the history is '\*\*', no number.*--beam_arcsec"
  with pytest.raises(fits.FitsError, match=said):
    _beam(tmp_path / 'a.fits', 'AIPS CLEAN BMAJ= 1.5E-03 BMIN= ** BPA= 1.0')
