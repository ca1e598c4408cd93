"""Tables as they lie on disk: VOTable, FITS, ECSV, and text of any separator.

Text is a header line and rows: with commas, semicolons, tabs or blanks between
the columns; under comments, of which the last may be the header, as the source
finder PyBDSF (bdsf/output.py of its repository), TOPCAT and NumPy write it.
"""

import csv
import pathlib
import re
from collections.abc import Sequence

import astropy.coordinates
import astropy.io.ascii
import astropy.io.votable
import astropy.io.votable.tree
import astropy.table

_TEXT = ('.csv', '.tsv', '.txt', '.dat', '.srl', '.gaul')
_VOTABLE = ('.vot', '.votable', '.xml', '.vo')
# A number, or as much of an angle.
_NUMBER = re.compile(r'\s*[+-]?[.\d]')
# Key of a column's meta: the coordinate systems that it may be in.
_SYSTEMS = 'coordinate systems'


def read(path: pathlib.Path) -> astropy.table.Table:
  """Reads a table; its columns keep their units.

  Sizes in PyBDSF's text, which tells no units, are degrees.

  Args:
    path: text as .csv, .tsv, .txt, .dat, .srl or .gaul; a VOTable as .vot,
      .votable, .xml or .vo; else FITS, ECSV and what astropy.table recognises.

  Raises:
    Exception: of many classes; not that kind of file, or not a whole one.
  """
  suffix = path.suffix.lower()
  if suffix in _TEXT:
    return _text(path)
  if suffix in _VOTABLE:
    return _votable(path)
  return astropy.table.Table.read(path)


def frame(
  column: astropy.table.Column,
) -> astropy.coordinates.BaseCoordinateFrame | None:
  """What frame a column of positions declares; None where it declares none.

  Raises:
    ValueError: it is not a frame of the sky, or it is not clear which.
  """
  systems = column.meta.get(_SYSTEMS, [])
  names = sorted({f'{one.system} {one.equinox or ""}' for one in systems})
  if len(names) > 1:
    raise ValueError(f'it refers to none of {", ".join(names)}')
  if not systems or systems[0].system == 'ICRS':
    return None
  system = systems[0]
  if str(system.equinox or '')[:1].isdigit():
    # B1950 and J1950 are two hours apart, in which nothing moves.
    system.equinox = f'J{system.equinox}'
  if system.system == 'AZ_EL':
    raise ValueError('horizontal')
  return system.to_astropy_frame()


def _votable(path: pathlib.Path) -> astropy.table.Table:
  """Its columns carry the coordinate systems that they may be in."""
  file = astropy.io.votable.parse(path)
  table = astropy.table.Table.read(file, format='votable')
  systems = {system.ID: system for system in file.iter_coosys()}
  for field in file.iter_fields_and_params():
    if field.ID in table.colnames:
      one = [systems[field.ref]] if field.ref in systems else None
      table[field.ID].meta[_SYSTEMS] = one or list(systems.values())
  return table


def _text(path: pathlib.Path) -> astropy.table.Table:
  # Excel begins UTF-8 with a byte-order mark.
  with open(path, encoding='utf-8-sig') as file:
    comments, first = [], ''
    for first in file:
      comment = first.strip('# \t\n')
      if comment and not first.startswith('#'):
        break
      comments += [comment] if comment else []
    else:
      raise ValueError('no line but comments' if comments else 'empty')
    rows = file.read()
  if comments and comments[0].startswith('%ECSV'):
    return astropy.table.Table.read(path, format='ascii.ecsv')
  separator = next((mark for mark in '\t,;' if mark in first), None)
  header = _header(comments, first, separator)
  if header is not None:
    first, rows = (separator or ' ').join(header) + '\n', first + rows
  form = {'\t': 'tab', None: 'basic'}.get(separator, 'csv')
  table = astropy.io.ascii.read(
    first.rstrip('\n') + '\n' + rows,
    format=form,
    delimiter=separator or ' ',
    guess=False,
  )
  if header is not None and 'Isl_id' in table.colnames:
    for name in table.colnames:
      if 'Maj' in name or 'Min' in name:
        table[name].unit = 'deg'
  return table


def _header(
  comments: Sequence[str], first: str, separator: str | None
) -> list[str] | None:
  """Names in the last comment, where the first line below is a row of them."""
  names, values = (
    next(csv.reader([line], delimiter=separator or ' ', skipinitialspace=True))
    for line in (''.join(comments[-1:]) or ' ', first.strip(' \n'))
  )
  if len(names) == len(values) and any(map(_NUMBER.match, values)):
    return [name.strip() for name in names]
  return None
