"""Files damaged at random are read, or refused in one line; nothing else.

`pytest -rP tests/data/test_damaged_fits.py` prints what passed, by kind.
"""

import collections
import gzip
import io
import time

import astropy.io.fits
import numpy as np
import pytest

from radio_ssl.data import fits

_BLOCK = 2880
_CARD = 80
_FORMS = ('float32', 'int16', 'compressed', 'gzip')
_PER_KIND = 56  # times 6 kinds, 4 forms, with and without sums: 2688 files
_ODD_VALUES = (0, -1, 7, 10**9, 1.5e300, -0.5, 'X', '', True)


def _whole(form, *, checksum):
  """A small image as bytes."""
  cards = {
    'CTYPE1': 'RA---SIN',
    'CTYPE2': 'DEC--SIN',
    'CRVAL1': 150.0,
    'CRVAL2': 30.0,
    'CRPIX1': 24.5,
    'CRPIX2': 20.5,
    'CDELT1': -0.0005,
    'CDELT2': 0.0005,
    'BUNIT': 'Jy/beam',
    'BMAJ': 0.0015,
    'BMIN': 0.0015,
    'BPA': 0.0,
  }
  header = astropy.io.fits.Header(cards)
  pixels = np.random.default_rng(0).normal(0, 1e-3, (40, 48))
  hdu = astropy.io.fits.PrimaryHDU(pixels.astype(np.float32), header)
  units = [hdu]
  if form == 'int16':
    hdu.scale('int16', bscale=1e-6)
  elif form == 'compressed':
    units = [
      astropy.io.fits.PrimaryHDU(),
      astropy.io.fits.CompImageHDU(hdu.data, header),
    ]
  file = io.BytesIO()
  astropy.io.fits.HDUList(units).writeto(file, checksum=checksum)
  return file.getvalue()


def _sum(data):
  words = np.frombuffer(data[: len(data) // 4 * 4], '>u4')
  return sum(words.tolist()) % 0xFFFFFFFF


def _header_end(data):
  """Where the cards of the image's unit begin and end."""
  first = data.rfind(b'XTENSION')
  first = max(first, 0)
  end = data.find(b'END' + b' ' * 77, first)
  return first, end


def _truncated(data, generator):
  return data[: generator.integers(1, len(data) - _BLOCK)]


def _flipped(data, generator, first, last):
  damaged = bytearray(data)
  for _ in range(generator.integers(1, 4)):
    damaged[generator.integers(first, last)] ^= 1 << generator.integers(8)
  return bytes(damaged)


def _flipped_header(data, generator):
  return _flipped(data, generator, *_header_end(data))


def _flipped_data(data, generator):
  start = -(-_header_end(data)[1] // _BLOCK) * _BLOCK
  return _flipped(data, generator, start, len(data) - _BLOCK // 2)


def _card(data, generator):
  first, end = _header_end(data)
  return first + _CARD * generator.integers((end - first) // _CARD)


def _dropped_card(data, generator):
  at, end = _card(data, generator), _header_end(data)[1]
  rest = data[at + _CARD : end + _CARD] + b' ' * _CARD
  return data[:at] + rest + data[end + _CARD :]


def _changed_card(data, generator):
  at = _card(data, generator)
  key = data[at : at + 8].decode().strip()
  value = _ODD_VALUES[generator.integers(len(_ODD_VALUES))]
  card = astropy.io.fits.Card(key, value).image.encode()
  return data[:at] + card[:_CARD] + data[at + _CARD :]


def _zeroed_block(data, generator):
  length = int(generator.choice([512, _BLOCK, 2 * _BLOCK]))
  at = generator.integers(0, max(1, len(data) - length))
  return data[:at] + bytes(length) + data[at + length :]


_KINDS = {
  kind.__name__.strip('_'): kind
  for kind in (
    _truncated,
    _flipped_header,
    _flipped_data,
    _dropped_card,
    _changed_card,
    _zeroed_block,
  )
}


@pytest.mark.parametrize('checksum', [False, True])
@pytest.mark.parametrize('form', _FORMS)
def test_damage_is_refused_or_harmless(tmp_path, form, checksum):
  whole = _whole(form, checksum=checksum)
  pack = gzip.compress if form == 'gzip' else bytes
  path = tmp_path / 'a.fits'
  path.write_bytes(pack(whole))
  expected = fits.read(path)
  passed = collections.Counter()
  for number, (kind, damage) in enumerate(_KINDS.items()):
    generator = np.random.default_rng([number, _FORMS.index(form)])
    for _ in range(_PER_KIND):
      damaged = damage(whole, generator)
      path.write_bytes(pack(damaged))
      start = time.monotonic()
      try:
        image = fits.read(path)
      except fits.FitsError as error:
        assert str(error).startswith(f'{path}: ')
        assert '\n' not in str(error)
      else:
        assert image.pixels_jy_beam.dtype == np.float32
        same = (
          image.pixels_jy_beam.shape == expected.pixels_jy_beam.shape
          and np.array_equal(
            image.pixels_jy_beam, expected.pixels_jy_beam, equal_nan=True
          )
          and image.wcs.wcs.compare(expected.wcs.wcs, tolerance=1e-9)
          and image.beam == expected.beam
        )
        # Two flips of one bit of a word, up and down, leave the sum as it was.
        assert same or not checksum or _sum(damaged) == _sum(whole)
        passed[kind, 'the same' if same else 'changed'] += 1
      assert time.monotonic() - start < 20
  for (kind, outcome), count in sorted(passed.items()):
    print(f'{form}, checksum {checksum}: {kind}: {count} {outcome}')
