"""The images of catalogued sources, cut by the builder's own program."""

import argparse
import json
import logging
import math
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn

from radio_ssl.data import fits, places

_LOG = logging.getLogger(__name__)

# Side of a cutout, as the builder has it: the noise is that of a square twice
# as wide.
_SIZE_PIX = 150
# Exit status of a build in which no source had an image.
_NO_EXAMPLES = 3


def cut(
  folder: str,
  *,
  images: str,
  catalogue: str,
  options: Sequence[str],
  field_arcsec: float | None,
) -> tuple[pathlib.Path | None, dict[str, str]]:
  """Makes the cutouts.

  Args:
    folder: where they go.
    images: pattern of FITS files.
    catalogue: file of the sources.
    options: more of `tfds_builders.build radio_fits`.
    field_arcsec: side that must be on them, and of which no more than
      `--max_missing` may be missing; None, all of it.

  Returns:
    The folder of the data set, None if no source has an image; and for the
    sources that an image holds but that have no cutout, why.

  Raises:
    ValueError: they could not be made; the builder has told why.
  """
  command = [
    sys.executable,
    *('-m', 'tfds_builders.build', 'radio_fits', '--config', 'cutouts'),
    *('--name', 'sources', '--data_dir', folder),
    *('--images', images, '--catalogue', catalogue),
    *_sizes(images, field_arcsec, _parsed(options)),
    *options,
  ]
  _LOG.info('%s', shlex.join(command))
  # It prints the place of what is deleted at the end; the rest is on stderr.
  done = subprocess.run(command, stdout=subprocess.DEVNULL)
  made = pathlib.Path(folder) / 'sources' / 'cutouts'
  if done.returncode == _NO_EXAMPLES:
    return None, _lost(made)
  if done.returncode:
    raise ValueError('The cutouts were not made; see above.')
  (found,) = made.glob('*.*.*')
  return found, _lost(found)


def columns(options: Sequence[str]) -> dict[str, str]:
  """Unusual names of catalogue columns, as `catalogue.read` takes them."""
  items = (_parsed(options).columns or '').split(',')
  pairs = (item.partition('=') for item in filter(None, items))
  return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


class _Parser(argparse.ArgumentParser):
  def error(self, message: str) -> NoReturn:
    raise ValueError(f'{message} (after the --)')


def _parsed(options: Sequence[str]) -> argparse.Namespace:
  """Those of the builder's options that matter here."""
  parser = _Parser(add_help=False, allow_abbrev=False)
  for name in 'columns source_factor missing_field_arcsec stokes'.split():
    parser.add_argument(f'--{name}')
  for name in 'size_pix channel'.split():
    parser.add_argument(f'--{name}', type=int)
  for name in 'field_arcsec pixel_scale_arcsec beam_arcsec'.split():
    parser.add_argument(f'--{name}', type=float)
  return parser.parse_known_args(options)[0]


def _sizes(
  images: str, field_arcsec: float | None, given: argparse.Namespace
) -> list[str]:
  """Options that show the encoder's field, and judge it alone."""
  if field_arcsec is None:
    return []
  sizes = []
  if given.missing_field_arcsec is None:
    sizes += ['--missing_field_arcsec', f'{field_arcsec:g}']
  if not (given.size_pix or given.field_arcsec or given.source_factor):
    scale = given.pixel_scale_arcsec or _pixel_scale_arcsec(images, given)
    # Rounding of the scale must not ask for a pixel more.
    needed = math.ceil(field_arcsec / scale - 1e-6) if scale else 0
    sizes += ['--size_pix', str(max(_SIZE_PIX, needed))]
  return sizes


def _pixel_scale_arcsec(images: str, given: argparse.Namespace) -> float | None:
  """Of the first file that can be read; the builder tells of the others."""
  for path in places.fits_files(images):
    try:
      head = fits.header(
        path,
        # What its pixels are in has no bearing on it.
        unit='Jy/beam',
        beam_arcsec=given.beam_arcsec,
        channel=given.channel,
        stokes=given.stokes,
      )
      return head.pixel_scale_arcsec
    except (OSError, fits.FitsError):
      continue
  return None


def _lost(folder: pathlib.Path) -> dict[str, str]:
  return json.loads((folder / 'ingest_report.json').read_text())['lost']
