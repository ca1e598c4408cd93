"""What a header promises is checked before it is believed."""

import gzip
import io
import re

import astropy.io.fits
import numpy as np
import pytest

from radio_ssl.data import fits, records


def _file(*, checksum=False, **cards):
  """Bytes of an image and a table behind it."""
  header = astropy.io.fits.Header(
    {
      'CTYPE1': 'RA---SIN',
      'CTYPE2': 'DEC--SIN',
      'CDELT1': -0.0005,
      'CDELT2': 0.0005,
      'BUNIT': 'Jy/beam',
    }
  )
  pixels = np.random.default_rng(0).normal(size=(50, 70)).astype(np.float32)
  image = astropy.io.fits.PrimaryHDU(pixels, header)
  table = astropy.io.fits.BinTableHDU.from_columns(
    [astropy.io.fits.Column('a', 'PJ()', array=[[1], [2, 3], []])]
  )
  stream = io.BytesIO()
  units = astropy.io.fits.HDUList([image, table])
  units.writeto(stream, checksum=checksum)
  data = stream.getvalue()
  for key, value in cards.items():
    card = astropy.io.fits.Card(key, value).image.encode()
    data, changed = re.subn(
      key.encode().ljust(8) + b'=.{71}', card, data, count=1
    )
    assert changed
  return data


@pytest.mark.parametrize('checksum', [False, True])
def test_headers_are_those_that_astropy_finds(checksum):
  data = _file(checksum=checksum)
  found = records.headers(io.BytesIO(data))
  with astropy.io.fits.open(io.BytesIO(data)) as units:
    assert [h['NAXIS1'] for h in found] == [u.header['NAXIS1'] for u in units]
  # Something behind the last unit is not one.
  assert len(records.headers(io.BytesIO(data + b'x' * 3000))) == 2


def test_every_flipped_bit_of_a_file_with_sums_is_found():
  whole = _file(checksum=True)
  records.headers(io.BytesIO(whole))
  generator = np.random.default_rng(0)
  for at in generator.integers(0, len(whole), 300):
    damaged = bytearray(whole)
    damaged[at] ^= 1 << generator.integers(8)
    with pytest.raises(Exception, match=r'.'):
      records.headers(io.BytesIO(bytes(damaged)))


def test_sums_of_astropy_are_verified_whatever_their_size():
  # Enough words for the carry of the 32-bit sum to come back more than once.
  data = np.full((900, 900), -1, np.int16)
  stream = io.BytesIO()
  astropy.io.fits.PrimaryHDU(data).writeto(stream, checksum=True)
  records.headers(io.BytesIO(stream.getvalue()))


@pytest.mark.parametrize('pack', [lambda data: data, gzip.compress])
@pytest.mark.parametrize(
  ('cards', 'told'),
  [
    ({'NAXIS1': 10**9, 'NAXIS2': 10**9}, 'truncated: unit 0|promise'),
    ({'NAXIS1': -70}, 'negative size'),
    ({'BITPIX': -64}, 'truncated|not a whole'),
  ],
)
def test_absurd_sizes_end_at_once(tmp_path, pack, cards, told):
  path = tmp_path / 'a.fits'
  path.write_bytes(pack(_file(**cards)))
  with pytest.raises(fits.FitsError, match=told):
    fits.read(path)


def test_packed_file_that_grows_beyond_its_budget_is_refused(
  tmp_path, monkeypatch
):
  path = tmp_path / 'bomb.fits.gz'
  header = astropy.io.fits.Header.fromstring(_file()[:2880])
  header['NAXIS1'] = header['NAXIS2'] = 3000
  path.write_bytes(
    gzip.compress(header.tostring().encode() + bytes(36_000_000))
  )
  monkeypatch.setattr(records.shutil, 'disk_usage', lambda _: _Disk())
  with pytest.raises(fits.FitsError, match=r'bomb\.fits\.gz.*promise 36'):
    fits.read(path)


class _Disk:
  free = (1 << 30) + 30_000_000


def test_packed_copy_holds_what_the_headers_say_and_no_more(tmp_path):
  data = _file()
  path = tmp_path / 'a.fits.gz'
  path.write_bytes(gzip.compress(data + bytes(50_000_000)))
  with records.plain(path) as file:
    assert file.read() == data


@pytest.mark.parametrize('keep', [100, 2880, 9000])
def test_truncated_files_say_so(tmp_path, keep):
  for pack, name in ((bytes, 'a.fits'), (gzip.compress, 'a.fits.gz')):
    path = tmp_path / name
    path.write_bytes(pack(_file()[:keep]))
    with pytest.raises(fits.FitsError, match=f'{name}: .*truncated'):
      fits.read(path)


def test_compressed_image_whose_tiles_do_not_cover_it_is_refused(tmp_path):
  pixels = np.random.default_rng(0).normal(size=(40, 48)).astype(np.float32)
  header = astropy.io.fits.Header.fromstring(_file()[:2880])
  path = tmp_path / 'a.fits'
  astropy.io.fits.CompImageHDU(pixels, header).writeto(path)
  data = path.read_bytes()
  large = astropy.io.fits.Card('ZNAXIS2', 400).image.encode()
  path.write_bytes(re.sub(rb'ZNAXIS2 =.{71}', large, data))
  with pytest.raises(fits.FitsError, match=r'40 compressed tiles of \[48, 1\]'):
    fits.read(path)
