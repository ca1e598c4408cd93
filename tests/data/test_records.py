"""What a header promises is checked before it is believed."""

import bz2
import gzip
import io
import lzma
import os
import re
import tempfile

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


def _image(dtype=np.int16, *, checksum=False):
  """Bytes of an image alone, and how many are its padding."""
  header = astropy.io.fits.Header.fromstring(_file()[:2880])
  # An odd number of odd words, which end within a word of the sums.
  pixels = np.arange(1, 36, dtype=dtype).reshape(5, 7)
  stream = io.BytesIO()
  hdu = astropy.io.fits.PrimaryHDU(pixels, header)
  hdu.writeto(stream, checksum=checksum)
  return stream.getvalue(), 2880 - pixels.nbytes


@pytest.mark.parametrize('pack', [bytes, gzip.compress])
@pytest.mark.parametrize('checksum', [False, True])
def test_last_unit_needs_no_padding(tmp_path, pack, checksum):
  whole, padding = _image(checksum=checksum)
  path = tmp_path / 'a.fits'
  for missing in (0, 1, padding - 1, padding):
    path.write_bytes(pack(whole[: len(whole) - missing]))
    image = fits.read(path)
    assert image.pixels_jy_beam.ravel().tolist() == list(range(1, 36))
    assert fits.header(path).shape == (5, 7)
  path.write_bytes(pack(whole[: len(whole) - padding - 1]))
  with pytest.raises(fits.FitsError, match=r'a\.fits: .*truncated'):
    fits.read(path)


def test_header_of_a_plain_truncated_file_is_not_told(tmp_path):
  whole, padding = _image()
  (tmp_path / 'a.fits').write_bytes(whole[: -padding - 1])
  with pytest.raises(fits.FitsError, match=r'a\.fits: .*truncated: unit 0'):
    fits.header(tmp_path / 'a.fits')


def test_compressed_image_needs_no_padding(tmp_path):
  pixels = np.random.default_rng(0).normal(size=(40, 48)).astype(np.float32)
  header = astropy.io.fits.Header.fromstring(_file()[:2880])
  path = tmp_path / 'a.fits'
  astropy.io.fits.CompImageHDU(pixels, header).writeto(path)
  expected = fits.read(path).pixels_jy_beam
  with astropy.io.fits.open(path, disable_image_compression=True) as units:
    end = units[1].fileinfo()['datLoc'] + units[1].size
  data = path.read_bytes()
  assert end < len(data)
  path.write_bytes(data[:end])
  np.testing.assert_array_equal(fits.read(path).pixels_jy_beam, expected)


@pytest.mark.skipif(os.name == 'nt', reason='open files keep their names')
@pytest.mark.parametrize('pack', [gzip.compress, bz2.compress, lzma.compress])
def test_unpacked_copy_has_no_name_that_a_kill_would_leave(
  tmp_path, monkeypatch, pack
):
  data = _file()
  path = tmp_path / 'a.fits.gz'
  path.write_bytes(pack(data))
  folder = tmp_path / 'temporary'
  folder.mkdir()
  monkeypatch.setattr(tempfile, 'tempdir', str(folder))
  with records.plain(path) as file:
    assert not list(folder.iterdir())
    assert file.read() == data
  with fits.opened(path) as image:
    assert not list(folder.iterdir())
    assert np.isfinite(image.pixels_jy_beam[:, :]).all()
  assert not list(folder.iterdir())


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
