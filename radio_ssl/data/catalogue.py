"""Source catalogues: VOTable, FITS or text tables, usual column names."""

import csv
import dataclasses
import pathlib
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence

import astropy.coordinates
import astropy.table
import astropy.units as u
import numpy as np

from radio_ssl.data import tables

# For each of our columns: names it goes by, compared in lower case.
_NAMES = {
  'ra_deg': 'ra_deg ra raj2000 _raj2000 ra_icrs ra_j2000 ra2000 alpha_j2000 '
  'radeg ra_hms right_ascension',
  'dec_deg': 'dec_deg dec dej2000 _dej2000 decj2000 de_icrs dec_icrs dec_j2000 '
  'dec2000 delta_j2000 decdeg dec_dms declination',
  'source_size_arcsec': 'source_size_arcsec size_arcsec size las las_arcsec '
  'maj maj_axis major majaxis angular_size',
  'flux_jy': 'flux_jy total_flux flux int_flux flux_int fint sint stotal',
  'redshift': 'redshift z zsp z_spec zspec',
  'label': 'label class morphology type',
  'name': 'name source_name source_id component_name id source island_id',
}
# Frames of positions that no column declares: names of longitude and latitude
# that tell them.
_FRAMES = {
  'galactic': ('glon _glon l', 'glat _glat b'),
  'fk4': ('rab1950 _rab1950', 'deb1950 _deb1950'),
  'fk5': ('', ''),
  'icrs': ('', ''),
}
_WITH_UNIT = re.compile(r'(.+)\[(.+)\]')
_WRITTEN = ('name', 'ra_deg', 'dec_deg', 'source_size_arcsec', 'redshift')
_UNITS = {
  'ra_deg': u.deg,
  'dec_deg': u.deg,
  'source_size_arcsec': u.arcsec,
  'flux_jy': u.Jy,
}
# What stands for no class, compared in lower case.
_NO_LABEL = ('nan', 'none', 'null', 'n/a', '--')


class CatalogueError(ValueError):
  """A catalogue that cannot be used; one line: file, value, remedy."""


@dataclasses.dataclass(frozen=True)
class Catalogue:
  """N sources; all arrays are [N] and in the order of the file.

  Attributes:
    path: where they come from.
    ra_deg: float64, ICRS.
    dec_deg: float64, ICRS.
    source_size_arcsec: float64, NaN where unknown, infinite or negative.
    flux_jy: float64, NaN where unknown.
    redshift: float64, NaN where unknown.
    label: str, '' where unknown: blank, nan, none, null, n/a or --, in any
      case; None for a catalogue without classes.
    name: str, unique: of several that are the same, the second is called
      NAME#2, or the next number that is not the name of another; made from the
      position where the file names none.
  """

  path: pathlib.Path
  ra_deg: np.ndarray
  dec_deg: np.ndarray
  source_size_arcsec: np.ndarray
  flux_jy: np.ndarray
  redshift: np.ndarray
  label: np.ndarray | None
  name: np.ndarray

  def __len__(self) -> int:
    return len(self.ra_deg)

  def take(self, rows: np.ndarray) -> 'Catalogue':
    """The sources of some rows (indices or a mask)."""
    fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    return Catalogue(
      **{
        key: value[rows] if isinstance(value, np.ndarray) else value
        for key, value in fields.items()
      }
    )


def read(
  path: str | pathlib.Path,
  *,
  columns: Mapping[str, str] | None = None,
  flag: str = '--columns',
) -> Catalogue:
  """Reads a catalogue.

  Columns are converted from the unit they declare; without one, positions are
  degrees (or sexagesimal text, RA in hours), sizes arcsec, fluxes Jy. Positions
  of a VOTable are converted from the coordinate system (COOSYS) it declares;
  GLON and GLAT are Galactic, RAB1950 and DEB1950 are FK4; all others are ICRS.
  Text is stripped.

  Args:
    path: as `tables.read` takes it.
    columns: our name -> the file's, for columns not found by their usual names;
      'NAME[unit]' tells their unit too, and 'frame' -> 'galactic', 'fk4', 'fk5'
      or 'icrs' that of the positions.
    flag: of the command line that gives `columns`, for messages.

  Raises:
    CatalogueError: one line with file, value and remedy.
  """
  path = pathlib.Path(path)
  table = _table(path)
  given = dict(columns or {})
  frame = _frame(path, given.pop('frame', None), flag)
  found = _columns(path, table, given, flag)
  frame = found.pop('frame', None) if frame is None else frame
  if not len(table):
    raise CatalogueError(f'{path}: no rows. Wanted one source or more.')
  values = {
    key: _numbers(path, table, found.get(key), key)
    for key in ('source_size_arcsec', 'flux_jy', 'redshift')
  }
  size = values['source_size_arcsec']
  size[~np.isfinite(size) | (size < 0)] = np.nan
  values['ra_deg'], values['dec_deg'] = _positions(path, table, found, frame)
  label = found.get('label')
  return Catalogue(
    path=path,
    label=None if label is None else _labels(table[label]),
    name=_unique_names(table, found.get('name'), values),
    **values,
  )


def _table(path: pathlib.Path) -> astropy.table.Table:
  if not path.is_file():
    raise CatalogueError(f'{path}: no such file. Check the path.')
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      return tables.read(path)
  except Exception as error:  # every format raises its own classes.
    reason = ' '.join(str(error).split())[:160] or type(error).__name__
    raise CatalogueError(
      f'{path}: not a readable table ({reason}). Wanted VOTable, FITS, ECSV or '
      'text with a header line (.csv, .tsv, .txt).'
    ) from error


def _frame(path: pathlib.Path, given: str | None, flag: str) -> str | None:
  if given is not None and given.lower() not in _FRAMES:
    raise CatalogueError(
      f'{path}: no frame {given!r}; there are: {", ".join(_FRAMES)}. Correct '
      f'{flag} frame=.'
    )
  return given and given.lower()


def _columns(
  path: pathlib.Path,
  table: astropy.table.Table,
  given: Mapping[str, str],
  flag: str,
) -> dict[str, str]:
  """Our column name -> the file's; 'frame' -> that which their names tell."""
  if unknown := set(given) - set(_NAMES):
    raise CatalogueError(
      f'{path}: no column of ours is called {sorted(unknown)[0]!r}; there are: '
      f'{", ".join(_NAMES)}, frame.'
    )
  if not table.colnames:
    raise CatalogueError(f'{path}: empty. Wanted a header line and sources.')
  lower = {name.lower(): name for name in reversed(table.colnames)}
  found = {}
  for key, names in _NAMES.items():
    for name in [given[key].lower()] if key in given else names.split():
      if name in lower:
        found[key] = lower[name]
        break
    if key in given and key not in found:
      found |= _with_unit(path, table, key, given[key], lower)
  if not {'ra_deg', 'dec_deg'} & {*given, *found}:
    found |= _of_other_frames(lower)
  for key in {'ra_deg', 'dec_deg', *given} - set(found):
    raise CatalogueError(
      f'{path}: no column {given.get(key, key)!r} among '
      f'{", ".join(table.colnames)}. Name it with columns={{{key!r}: ...}} '
      f'({flag} {key}=NAME).'
    )
  return found


def _with_unit(
  path: pathlib.Path,
  table: astropy.table.Table,
  key: str,
  given: str,
  lower: Mapping[str, str],
) -> dict[str, str]:
  """Our name -> the file's, of 'NAME[unit]'; nothing where it is no column."""
  match = _WITH_UNIT.fullmatch(given)
  if match is None or match[1].lower() not in lower:
    return {}
  name, unit = lower[match[1].lower()], match[2]
  if key == 'ra_deg' and unit in ('h', 'hr', 'hour', 'hours'):
    unit = 'hourangle'
  try:
    table[name].unit = u.Unit(unit)
  except ValueError as error:
    raise CatalogueError(
      f'{path}: {given!r} names no unit ({str(error)[:80]}). Wanted one '
      'such as deg, arcmin, mJy or hourangle.'
    ) from error
  return {key: name}


def _of_other_frames(lower: Mapping[str, str]) -> dict[str, str]:
  for frame, names in _FRAMES.items():
    there = [next((n for n in ns.split() if n in lower), None) for ns in names]
    if all(there):
      lon, lat = (lower[name] for name in there)
      return {'ra_deg': lon, 'dec_deg': lat, 'frame': frame}
  return {}


def _numbers(
  path: pathlib.Path, table: astropy.table.Table, column: str | None, key: str
) -> np.ndarray:
  if column is None:
    return np.full(len(table), np.nan)
  try:
    values = np.ma.filled(np.ma.asarray(table[column]).astype(float), np.nan)
    unit = table[column].unit
    if unit is not None and key in _UNITS:
      values = (values * u.Unit(unit)).to_value(_UNITS[key])
    return np.asarray(values, np.float64)
  except (ValueError, TypeError, u.UnitsError) as error:
    raise CatalogueError(
      f'{path}: column {column!r} is not numbers in a unit of '
      f'{_UNITS.get(key, "none")} ({str(error)[:80]}). Correct it or name '
      f'another (--columns {key}=NAME).'
    ) from error


def _positions(
  path: pathlib.Path,
  table: astropy.table.Table,
  found: Mapping[str, str],
  frame: str | None,
) -> tuple[np.ndarray, np.ndarray]:
  """ICRS right ascension in [0, 360) and declination, degrees."""
  lon_unit = u.deg if frame == 'galactic' else u.hourangle
  ra_deg, dec_deg = _stated_positions(path, table, found, lon_unit)
  column = found['ra_deg']
  try:
    frame = frame or tables.frame(table[column])
  except ValueError as error:
    raise CatalogueError(
      f'{path}: column {column!r} is in no known coordinate system ({error}). '
      'Name it with --columns frame=galactic, fk4, fk5 or icrs, or convert the '
      'positions to ICRS.'
    ) from error
  if frame is not None:
    sky = astropy.coordinates.SkyCoord(ra_deg, dec_deg, unit='deg', frame=frame)
    ra_deg, dec_deg = sky.icrs.ra.deg, sky.icrs.dec.deg
  ra_deg = ra_deg % 360
  # What is less than the precision below 0 comes back as 360.
  return np.where(ra_deg == 360, 0.0, ra_deg), dec_deg


def _stated_positions(
  path: pathlib.Path,
  table: astropy.table.Table,
  found: Mapping[str, str],
  lon_unit: u.Unit,
) -> tuple[np.ndarray, np.ndarray]:
  """Longitude and latitude in degrees, in the frame of the file."""
  ra, dec = found['ra_deg'], found['dec_deg']
  if table[ra].dtype.kind in 'UOS' and not _are_numbers(table[ra]):
    try:
      sky = astropy.coordinates.SkyCoord(
        _text(table[ra]), _text(table[dec]), unit=(lon_unit, u.deg)
      )
    except ValueError as error:
      raise CatalogueError(
        f'{path}: columns {ra!r} and {dec!r} do not read as sexagesimal '
        f'positions ({str(error)[:80]}). Wanted hh:mm:ss and dd:mm:ss, or '
        'degrees.'
      ) from error
    return sky.ra.deg, sky.dec.deg
  ra_deg = _numbers(path, table, ra, 'ra_deg')
  dec_deg = _numbers(path, table, dec, 'dec_deg')
  bad = ~(np.isfinite(ra_deg) & (np.abs(dec_deg) <= 90))
  if bad.any():
    row = int(np.argmax(bad))
    raise CatalogueError(
      f'{path}: row {row + 1} is at RA {ra_deg[row]}, Dec {dec_deg[row]}; '
      'wanted degrees with |Dec| <= 90. Correct or remove it.'
    )
  return ra_deg, dec_deg


def _are_numbers(column: astropy.table.Column) -> bool:
  try:
    _text(column).astype(float)
  except ValueError:
    return False
  return True


def _text(column: astropy.table.Column) -> np.ndarray:
  """The values as stripped text, '' where one is masked."""
  return np.array(
    [
      ''
      if v is np.ma.masked
      else (v.decode() if isinstance(v, bytes) else str(v)).strip()
      for v in column
    ],
    str,
  )


def _labels(column: astropy.table.Column) -> np.ndarray:
  found = _text(column)
  return np.where(np.isin(np.char.lower(found), _NO_LABEL), '', found)


def _unique_names(
  table: astropy.table.Table,
  column: str | None,
  values: Mapping[str, np.ndarray],
) -> np.ndarray:
  if column is not None:
    names = _text(table[column])
  else:
    places = zip(values['ra_deg'], values['dec_deg'], strict=True)
    names = np.array([f'{ra:010.6f}{dec:+010.6f}' for ra, dec in places])
  own, numbers, unique = set(names), {}, []
  for name in names:
    number = numbers.get(name, 0) + 1
    while number > 1 and f'{name}#{number}' in own:
      number += 1
    numbers[name] = number
    unique.append(name if number == 1 else f'{name}#{number}')
  return np.array(unique)


def write(path: str | pathlib.Path, rows: Iterable[Sequence]) -> None:
  """Writes a catalogue as CSV, whole or not at all.

  Args:
    path: of the file.
    rows: name, RA and Dec in degrees (ICRS), size in arcsec, redshift; NaN
      where unknown.
  """
  path = pathlib.Path(path)
  # Half a catalogue would exclude half of the sources.
  temporary = path.with_name(path.name + '.tmp')
  with open(temporary, 'w', newline='', encoding='utf-8') as file:
    lines = csv.writer(file, lineterminator='\n')
    lines.writerow(_WRITTEN)
    lines.writerows(
      ['' if value != value else value for value in row] for row in rows
    )
  temporary.replace(path)
