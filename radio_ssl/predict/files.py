"""Tables as files, with units, UCDs, and what made them."""

import pathlib
from collections.abc import Sequence

from astropy import table
from astropy.io import fits

FORMATS = {
  '.vot': 'votable',
  '.fits': 'fits',
  '.ecsv': 'ascii.ecsv',
  '.csv': 'ascii.csv',
  '.parquet': 'parquet',
}


def check(path: pathlib.Path) -> None:
  """Refuses an unknown kind of table."""
  if path.suffix not in FORMATS:
    raise ValueError(
      f'{path}: unknown kind of table; there are: {", ".join(FORMATS)}.'
    )


def write(
  found: table.Table, path: pathlib.Path, history: Sequence[str] = ()
) -> None:
  """Writes a table; its kind follows from the name, and it replaces a file.

  Args:
    found: of `classes`.
    path: ends with one of FORMATS.
    history: lines about what made it: DESCRIPTION of a VOTable, COMMENT of
      FITS; a .csv has no place for them.

  Raises:
    ValueError: an unknown kind, or text that it cannot hold.
  """
  check(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  found = found.copy()
  try:
    if path.suffix == '.fits':
      _fits(found, history).writeto(path, overwrite=True)
      return
    # The name that VOTables read it by.
    found.meta['description'] = '\n'.join(history)
    kind = FORMATS[path.suffix]
    # As text, astropy 8.0 writes one byte beyond its buffer where a row is as
    # long as that (`_write_cstring`), and the program dies later.
    how = {'tabledata_format': 'binary2'} if kind == 'votable' else {}
    found.write(path, format=kind, overwrite=True, **how)
  except UnicodeEncodeError as error:
    raise ValueError(
      f'{path}: a name or class holds {str(error.object)!r}, and FITS tables '
      'hold ASCII alone; take .vot, .ecsv, .csv or .parquet.'
    ) from error


def _ascii(text: str) -> str:
  """Names of files may hold what FITS does not."""
  return ascii(text)[1:-1]


def _fits(found: table.Table, history: Sequence[str]) -> fits.HDUList:
  """Descriptions and UCDs go where TOPCAT looks: TCOMMn, TUCDn."""
  if 'image' in found.columns:
    found['image'] = [_ascii(name) for name in found['image']]
  told = [(c.description, c.meta.get('ucd')) for c in found.columns.values()]
  for column in found.columns.values():
    column.description, column.meta = None, {}
  hdu = fits.table_to_hdu(found)
  for number, (description, ucd) in enumerate(told, start=1):
    if description:
      hdu.header[f'TCOMM{number}'] = description
    if ucd:
      hdu.header[f'TUCD{number}'] = ucd
  for line in history:
    hdu.header['COMMENT'] = _ascii(line)
  return fits.HDUList([fits.PrimaryHDU(), hdu])
