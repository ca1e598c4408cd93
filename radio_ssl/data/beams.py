"""Where images tell their beam: header, CASA's table, AIPS's history."""

import re
from typing import Any

import astropy.io.fits
import astropy.units
import numpy as np

# Kinds of spectral axis; AIPS calls one of channel images SPECLNMF.
SPECTRAL = ('FREQ', 'SPECLNMF', 'VELO', 'FELO', 'VRAD', 'VOPT', 'WAVE')
# AIPS writes the beam of each CLEAN into the history, in degrees; the last one
# holds. BMAJ= of its tasks is a parameter, in arcsec, and tells no beam.
_IN_HISTORY = re.compile(
  r'CLEAN\s+BMAJ=\s*([^\s,;]+)[\s,;]+BMIN=\s*([^\s,;]+)'
  r'(?:[\s,;]+BPA=\s*([^\s,;]+))?'
)
_NAMES = ('BMAJ', 'BMIN', 'BPA')
Beam = tuple[float, float, float]


def kind(cards: astropy.io.fits.Header, axis: int) -> str:
  """CTYPE of an axis in capitals, '' without one."""
  return str(cards.get(f'CTYPE{axis}') or '').strip().upper()


def read(
  cards: astropy.io.fits.Header,
  units: astropy.io.fits.HDUList,
  plane: tuple[int, ...],
) -> Beam | None:
  """Major and minor axis (FWHM, arcsec) and position angle (degrees, N to E).

  A row of that plane in CASA's table comes before BMAJ, which is of one channel
  or of all together, and that before the history. A card without a value is
  none.

  Args:
    cards: of the image's unit.
    units: of the file; where CASA gave each channel its beam, a table BEAMS.
    plane: of the image, index on its leading axes in NumPy's order.

  Returns:
    None where nothing is told.

  Raises:
    ValueError: what is told is no beam.
  """
  header = {name: cards.get(name) for name in _NAMES}
  if (beam := _of_casa(cards, units, plane)) is not None:
    pass
  elif header['BMAJ'] is not None:
    beam = _of_degrees(header, '')
  elif found := _IN_HISTORY.findall(str(cards.get('HISTORY', ''))):
    values = (value.upper().replace('D', 'E') for value in found[-1])
    stated = dict(zip(_NAMES, values, strict=True))
    beam = _of_degrees(stated, ' of the history')
  else:
    return None
  major, minor, angle = beam
  if not (
    0 < minor <= major * (1 + 1e-6) and np.isfinite([major, angle]).all()
  ):
    raise ValueError(
      f'the beam is {major:g} x {minor:g} arcsec; wanted two positive axes, '
      'the larger first'
    )
  return major, minor, angle


def _of_degrees(stated: dict[str, Any], where: str) -> Beam:
  """From what is stated for each name; without BMIN, BPA it is round, at 0."""
  numbers = {'BPA': 0.0}
  for name, value in stated.items():
    if value is None or value == '':
      continue
    try:
      numbers[name] = float(value)
    except (TypeError, ValueError):
      raise ValueError(f'{name}{where} is {value!r}, no number') from None
  major = numbers['BMAJ'] * 3600
  return major, numbers.get('BMIN', numbers['BMAJ']) * 3600, numbers['BPA']


def _of_casa(
  cards: astropy.io.fits.Header,
  units: astropy.io.fits.HDUList,
  plane: tuple[int, ...],
) -> Beam | None:
  """The row of that plane in the table BEAMS; None where that tells nothing."""
  if 'BEAMS' not in units or not cards.get('CASAMBM', True):
    return None
  table = units['BEAMS']
  names = {column.name.upper() for column in getattr(table, 'columns', [])}
  if missing := {*_NAMES, 'CHAN', 'POL'} - names:
    raise ValueError(f'BEAMS has no column {sorted(missing)[0]}')
  channel, stokes = 0, 0
  for at, axis in zip(plane, range(cards['NAXIS'], 2, -1), strict=True):
    channel = at if kind(cards, axis).startswith(SPECTRAL) else channel
    stokes = at if kind(cards, axis) == 'STOKES' else stokes
  here = (table.data['CHAN'] == channel) & (table.data['POL'] == stokes)
  if here.any():
    row = table.data[here][0]
    kinds = zip(_NAMES, ('arcsec', 'arcsec', 'deg'), strict=True)
    return tuple(_of_cell(table, row, name, unit) for name, unit in kinds)
  if cards.get('BMAJ') is None:
    raise ValueError(f'the table BEAMS has no row of channel {channel}')
  return None


def _of_cell(
  table: astropy.io.fits.BinTableHDU,
  row: astropy.io.fits.FITS_record,
  name: str,
  wanted: str,
) -> float:
  """A value in the wanted unit; each column has a unit of its own."""
  unit = table.columns[name].unit
  try:
    factor = astropy.units.Unit(unit).to(wanted)
  except (TypeError, ValueError):
    raise ValueError(
      f'column {name} of the table BEAMS has the unit {unit!r}; wanted one '
      f'such as {wanted}'
    ) from None
  return float(row[name] * factor)
