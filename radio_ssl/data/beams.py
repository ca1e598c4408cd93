"""Where images tell their beam: header, CASA's table, AIPS's history."""

import re

import astropy.io.fits
import astropy.units
import numpy as np

# Kinds of spectral axis; AIPS calls one of channel images SPECLNMF.
SPECTRAL = ('FREQ', 'SPECLNMF', 'VELO', 'VRAD', 'VOPT', 'WAVE')
# AIPS writes the beam of each CLEAN into the history; the last one holds.
_IN_HISTORY = re.compile(r'BMAJ=\s*(\S+)\s+BMIN=\s*(\S+)(?:\s+BPA=\s*(\S+))?')


def read(
  cards: astropy.io.fits.Header,
  units: astropy.io.fits.HDUList,
  plane: tuple[int, ...],
) -> tuple[float, float, float] | None:
  """Major and minor axis (FWHM, arcsec) and position angle (degrees, N to E).

  Args:
    cards: of the image's unit.
    units: of the file; where CASA gave each channel its beam, a table BEAMS.
    plane: of the image, index on its leading axes in NumPy's order.

  Returns:
    None where nothing is told.

  Raises:
    ValueError: what is told is no beam.
  """
  if 'BMAJ' in cards:
    major, minor = cards['BMAJ'], cards.get('BMIN', cards['BMAJ'])
    beam = major * 3600, minor * 3600, cards.get('BPA', 0.0)
  elif 'BEAMS' in units:
    beam = _of_casa(units['BEAMS'], cards, plane)
  elif found := _IN_HISTORY.findall(str(cards.get('HISTORY', ''))):
    major, minor, angle = (float(value or 0) for value in found[-1])
    beam = major * 3600, minor * 3600, angle
  else:
    return None
  major, minor, angle = (float(value) for value in beam)
  if not (
    0 < minor <= major * (1 + 1e-6) and np.isfinite([major, angle]).all()
  ):
    raise ValueError(
      f'the beam is {major:g} x {minor:g} arcsec; wanted two positive axes, '
      'the larger first'
    )
  return major, minor, angle


def _of_casa(
  table: astropy.io.fits.BinTableHDU,
  cards: astropy.io.fits.Header,
  plane: tuple[int, ...],
) -> tuple[float, float, float]:
  """The row of that plane; its columns have units of their own."""
  channel, stokes = 0, 0
  for at, axis in zip(plane, range(cards['NAXIS'], 2, -1), strict=True):
    kind = str(cards.get(f'CTYPE{axis}', '')).strip()
    channel = at if kind.startswith(SPECTRAL) else channel
    stokes = at if kind == 'STOKES' else stokes
  here = (table.data['CHAN'] == channel) & (table.data['POL'] == stokes)
  if not here.any():
    raise ValueError(f'the table BEAMS has no row of channel {channel}')
  row = table.data[here][0]
  return tuple(
    float(
      (row[name] * astropy.units.Unit(table.columns[name].unit)).to_value(to)
    )
    for name, to in (('BMAJ', 'arcsec'), ('BMIN', 'arcsec'), ('BPA', 'deg'))
  )
