"""The catalogue of Radio Galaxy Zoo: sources, classes, what is asked for.

Data Release 1, Wong et al. 2025, https://arxiv.org/abs/2412.14502. A component
is an island of radio emission, a peak a maximum in one.
"""

import collections
import csv
import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Iterable, Mapping

import astropy.table
import numpy as np

from radio_ssl.data import catalogue as catalogues

CLASSES = ('1C-1P', '1C-2P', '1C-3P', '2C-2P', '2C-3P', '3C-3P')
# For each of our columns: names it goes by, compared in lower case. The README
# tells which of them were seen.
_NAMES = {
  'name': 'rgzid rgz_name name',
  'ra_deg': 'ra radio.ra ra_deg',
  'dec_deg': 'dec radio.dec dec_deg',
  'num_components': (
    'n_comp radio.number_components n_components no_components '
    'number_components num_components'
  ),
  'num_peaks': (
    'n_peaks radio.number_peaks no_peaks number_peaks num_peaks n_peak'
  ),
  'consensus_level': 'cl consensus.radio_level radio_level consensus_level',
  'source_size_arcsec': (
    'lae radio.max_angular_extent max_angular_extent source_size_arcsec'
  ),
}
_NEEDED = ('name', 'ra_deg', 'dec_deg', 'num_components', 'num_peaks')
_SKY = ('name', 'ra_deg', 'dec_deg', 'source_size_arcsec')
# Positions that agree to this many decimals of a degree share an image.
_DECIMALS = 6


@dataclasses.dataclass(frozen=True)
class Source:
  """One row of the catalogue.

  Attributes:
    name: unique; a name that comes again has '#2' behind it.
    image: name of its file without ending; rows at one position share it.
    ra_deg: ICRS.
    dec_deg: ICRS.
    num_components: 0 where the catalogue has none.
    num_peaks: 0 where the catalogue has none.
    consensus_level: 0 to 1, NaN where unknown.
    source_size_arcsec: largest angular extent, NaN where unknown.
  """

  name: str
  image: str
  ra_deg: float
  dec_deg: float
  num_components: int
  num_peaks: int
  consensus_level: float
  source_size_arcsec: float

  @property
  def label(self) -> str:
    """Its class, be it one of `CLASSES` or not."""
    return f'{self.num_components}C-{self.num_peaks}P'


def read(
  path: str | pathlib.Path, columns: Mapping[str, str] | None = None
) -> list[Source]:
  """All sources of a catalogue, of every class, in its order.

  Args:
    path: CSV, VOTable or FITS table.
    columns: our name -> the catalogue's, for those of unusual names.

  Raises:
    CatalogueError: one line with file, value and remedy.
  """
  path = pathlib.Path(path)
  table = _table(path)
  found = _columns(path, table, columns or {})
  sky = catalogues.read(
    path, columns={key: found[key] for key in _SKY if key in found}
  )
  numbers = {
    key: _numbers(path, table, found.get(key), key)
    for key in ('num_components', 'num_peaks', 'consensus_level')
  }
  _check_levels(path, numbers['consensus_level'])
  sizes = sky.source_size_arcsec
  if 'source_size_arcsec' not in found:
    sizes = np.full(len(sky), np.nan)
  return _with_images(
    path,
    [
      Source(
        name=str(sky.name[row]),
        image='',
        ra_deg=float(sky.ra_deg[row]),
        dec_deg=float(sky.dec_deg[row]),
        num_components=_count(numbers['num_components'][row]),
        num_peaks=_count(numbers['num_peaks'][row]),
        consensus_level=float(numbers['consensus_level'][row]),
        # -99 stands for nothing in the catalogue of 2019.
        source_size_arcsec=float(sizes[row]) if sizes[row] > 0 else math.nan,
      )
      for row in range(len(sky))
    ],
  )


def _table(path: pathlib.Path) -> astropy.table.Table:
  # Its messages for what is no table are those of all catalogues.
  kind = {'.csv': 'ascii.csv'}.get(path.suffix.lower())
  try:
    return astropy.table.Table.read(path, format=kind)
  except Exception as error:  # Every format raises its own classes.
    reason = ' '.join(str(error).split())[:160] or type(error).__name__
    raise catalogues.CatalogueError(
      f'{path}: not a readable table ({reason}). Wanted the catalogue of Radio '
      'Galaxy Zoo as CSV with a header line, VOTable or FITS table.'
    ) from error


def _columns(
  path: pathlib.Path, table: astropy.table.Table, given: Mapping[str, str]
) -> dict[str, str]:
  """Our column name -> the catalogue's."""
  if unknown := sorted(set(given) - set(_NAMES)):
    raise catalogues.CatalogueError(
      f'{path}: no column of ours is called {unknown[0]!r}; there are: '
      f'{", ".join(_NAMES)}.'
    )
  lower = {name.lower(): name for name in reversed(table.colnames)}
  found = {}
  for key, names in _NAMES.items():
    for name in [given[key].lower()] if key in given else names.split():
      if name in lower:
        found[key] = lower[name]
        break
  for key in (*_NEEDED, *given):
    if key not in found:
      raise catalogues.CatalogueError(
        f'{path}: no column {given.get(key, key)!r} among '
        f'{", ".join(table.colnames)}. Name it with --columns {key}=NAME.'
      )
  return found


def _numbers(
  path: pathlib.Path, table: astropy.table.Table, column: str | None, key: str
) -> np.ndarray:
  """float64 [N], NaN where masked."""
  if column is None:
    return np.full(len(table), np.nan)
  try:
    values = np.ma.asarray(table[column]).astype(float)
  except (TypeError, ValueError) as error:
    raise catalogues.CatalogueError(
      f'{path}: column {column!r} is not numbers ({str(error)[:80]}). Correct '
      f'it or name another with --columns {key}=NAME.'
    ) from error
  return np.ma.filled(values, np.nan)


def _check_levels(path: pathlib.Path, levels: np.ndarray) -> None:
  if (levels > 1).any():
    row = int(np.argmax(levels > 1))
    raise catalogues.CatalogueError(
      f'{path}: row {row + 1} has a consensus level of {levels[row]}; wanted 0 '
      'to 1. Name the column of levels with --columns consensus_level=NAME.'
    )
  levels[levels < 0] = np.nan  # -99 stands for nothing.


def _count(value: float) -> int:
  return int(value) if value >= 1 and value == int(value) else 0


def _with_images(path: pathlib.Path, sources: list[Source]) -> list[Source]:
  """The sources, with the file name that those at one position share."""
  stems: dict[tuple[float, float], str] = {}
  owners: dict[str, str] = {}
  result = []
  for source in sources:
    place = round(source.ra_deg, _DECIMALS), round(source.dec_deg, _DECIMALS)
    if place not in stems:
      stem = re.sub(r'[^\w.+-]', '_', source.name).lstrip('.') or '_'
      # Disks that do not tell J from j would lay one over the other.
      if other := owners.get(stem.lower()):
        raise catalogues.CatalogueError(
          f'{path}: {source.name!r} and {other!r} have one file name, '
          f'{stem}.fits. Rename one, or name the column of names with '
          '--columns name=NAME.'
        )
      stems[place] = stem
      owners[stem.lower()] = source.name
    result.append(dataclasses.replace(source, image=stems[place]))
  return result


def wanted(
  sources: Iterable[Source], min_consensus: float | None
) -> tuple[list[Source], dict[str, int]]:
  """The sources of the six classes; the others are counted by name.

  Args:
    sources: of a catalogue.
    min_consensus: None for any.

  Returns:
    Sources, and how many were left out for each reason.
  """
  kept, left_out = [], collections.Counter()
  for source in sources:
    if source.label not in CLASSES:
      left_out[f'class {source.label}'] += 1
    elif min_consensus is None or source.consensus_level >= min_consensus:
      kept.append(source)
    elif math.isnan(source.consensus_level):
      left_out['no consensus level'] += 1
    else:
      left_out[f'consensus below {min_consensus:g}'] += 1
  return kept, dict(sorted(left_out.items()))


def store(path: pathlib.Path, sources: Iterable[Source]) -> None:
  """Writes sources as CSV, whole or not at all; `load` reads them."""
  temporary = path.with_name(path.name + '.tmp')
  with open(temporary, 'w', newline='', encoding='utf-8') as file:
    lines = csv.writer(file, lineterminator='\n')
    lines.writerow(f.name for f in dataclasses.fields(Source))
    lines.writerows(dataclasses.astuple(source) for source in sources)
    file.flush()
    os.fsync(file.fileno())
  temporary.replace(path)


def load(path: pathlib.Path) -> list[Source]:
  """What `store` wrote.

  Raises:
    ValueError: not such a file.
  """
  types = {f.name: f.type for f in dataclasses.fields(Source)}
  try:
    with open(path, newline='', encoding='utf-8') as file:
      return [
        Source(**{key: types[key](value) for key, value in row.items()})
        for row in csv.DictReader(file)
      ]
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'{path}: not as tfds_builders.rgz.fetch wrote it ({error}). Run that '
      'again with the same --output.'
    ) from error
