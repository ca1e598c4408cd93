"""Where data sets are, <data_dir>/<name>/<config>/<version>, and images."""

import glob
import os
import pathlib
import re

FITS_ENDING = re.compile(r'\.(fits?|fts)(\.(gz|bz2|xz|fz))?$', re.IGNORECASE)


def root(data_dir: str | pathlib.Path | None = None) -> pathlib.Path:
  """The folder of all data sets: `data_dir`, else $TFDS_DATA_DIR, else home's.

  TFDS takes an empty variable for the working directory; here it is as unset.
  """
  return pathlib.Path(
    data_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
  ).expanduser()


def find(
  *, dir: str = '', name: str = '', config: str = '', data_dir: str = ''
) -> pathlib.Path:
  """Where a data set is, or would be once it is built.

  Args:
    dir: the folder itself; the rest is not looked at then.
    name: of the data set.
    config: of it; '' where it has none.
    data_dir: as for `root`.

  Returns:
    The newest version, or a folder that does not exist.

  Raises:
    ValueError: neither `dir` nor `name`.
  """
  if dir:
    return pathlib.Path(dir)
  if not name:
    raise ValueError(
      'No data set is named: set config.data.name (and config.data.config), '
      'or config.data.dir.'
    )
  folder = root(data_dir) / name / config
  versions = [
    p for p in folder.glob('*.*.*') if p.name.replace('.', '').isdigit()
  ]
  if not versions:
    return folder
  return max(versions, key=lambda p: [int(n) for n in p.name.split('.')])


def fits_files(pattern: str) -> list[pathlib.Path]:
  """Sorted files that a pattern stands for, or the FITS in and below a folder.

  Args:
    pattern: 'dir/**/*.fits*', or 'dir'; '~' is the home of the user; none of
      ''.
  """
  if not pattern:
    return []
  place = pathlib.Path(pattern).expanduser()
  if place.is_dir():
    return sorted(p for p in place.rglob('*') if FITS_ENDING.search(p.name))
  return sorted(map(pathlib.Path, glob.glob(str(place), recursive=True)))
