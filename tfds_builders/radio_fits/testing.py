"""A small simulated survey, for the tests of this builder."""

import pathlib
from collections.abc import Sequence
from typing import Any

import astropy.io.fits
import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl.data import fits

RMS = 1e-4
# (name, RA, Dec, size, class): two fields, the third source in both.
SOURCES = [
  ('first', 150.002, 30.001, 20.0, 'FRI'),
  ('second', 149.99, 29.99, np.nan, 'FRII'),
  ('shared', 149.975, 30.0, 12.0, 'FRI'),
  ('far', 10.0, -10.0, 12.0, 'FRI'),
]


def header(ra: float) -> astropy.io.fits.Header:
  """Of a field of 100 x 90 pixels of 1.8 arcsec."""
  return astropy.io.fits.Header(
    [
      ('CTYPE1', 'RA---SIN'),
      ('CTYPE2', 'DEC--SIN'),
      ('CRVAL1', ra),
      ('CRVAL2', 30.0),
      ('CRPIX1', 50.0),
      ('CRPIX2', 45.0),
      ('CDELT1', -0.0005),
      ('CDELT2', 0.0005),
      ('RADESYS', 'ICRS'),
      ('BUNIT', 'Jy/beam'),
      ('BMAJ', 0.0015),
      ('BMIN', 0.0015),
    ]
  )


def write_field(path: pathlib.Path, ra: float, **cards: Any) -> pathlib.Path:
  """A field with Gaussians of 50 mJy at SOURCES."""
  cards_ = header(ra)
  cards_.update(cards)
  wcs = astropy.wcs.WCS(cards_)
  pixels = np.random.default_rng(int(ra * 1e3)).normal(0, RMS, (90, 100))
  y, x = np.mgrid[:90, :100]
  for _, source_ra, source_dec, _, _ in SOURCES[:3]:
    x0, y0 = fits.sky_to_pixel(wcs, source_ra, source_dec)
    r2 = (x - x0) ** 2 + (y - y0) ** 2
    pixels += 0.05 * np.exp(-r2 / (2 * (3 / 2.3548) ** 2))
  path.parent.mkdir(exist_ok=True, parents=True)
  data = pixels.astype(np.float32)
  astropy.io.fits.PrimaryHDU(data, cards_).writeto(path)
  return path


def write_catalogue(path: pathlib.Path, rows: Sequence[Sequence]) -> str:
  """A CSV of rows like those of SOURCES."""
  lines = ['name,ra,dec,size,class'] + [','.join(map(str, r)) for r in rows]
  path.write_text('\n'.join(lines).replace('nan', '') + '\n')
  return str(path)


@pytest.fixture
def survey(tmp_path: pathlib.Path) -> dict[str, Any]:
  """Options of a small survey: two overlapping fields and a catalogue."""
  write_field(tmp_path / 'images' / 'a.fits', 150.0)
  write_field(tmp_path / 'images' / 'b.fits', 149.965)
  return {
    'images': str(tmp_path / 'images' / '*.fits'),
    'name': 'survey',
    'data_dir': tmp_path / 'data',
  }


def read(directory: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
  """Examples by name, and the metadata."""
  builder = tfds.builder_from_directory(directory)
  examples = {e['name'].decode(): e for e in builder.as_data_source('train')}
  return examples, builder.info.metadata
