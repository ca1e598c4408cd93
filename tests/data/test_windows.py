"""A window of a file is that part of the whole image, however it is stored."""

import astropy.io.fits
import numpy as np
import pytest

from radio_ssl.data import fits, windows

_CARDS = {
  'CTYPE1': 'RA---SIN',
  'CTYPE2': 'DEC--SIN',
  'CRVAL1': 150.0,
  'CRVAL2': 30.0,
  'CDELT1': -0.0005,
  'CDELT2': 0.0005,
  'BUNIT': 'mJy/beam',
  'BMAJ': 0.0015,
}


def _pixels():
  """90 x 130 in mJy/beam, with padding that reaches across any cut."""
  pixels = np.random.default_rng(0).normal(size=(90, 130))
  pixels[40:60, 50:90] = 0
  pixels[10, 20:70] = 0
  pixels[70:72, 5:9] = 0
  return pixels


def _write(path, form, pixels):
  header = astropy.io.fits.Header(_CARDS)
  if form == 'compressed':
    hdu = astropy.io.fits.CompImageHDU(
      pixels.astype(np.float32), header, quantize_level=0,
      compression_type='GZIP_2',
    )  # fmt: skip
  elif form.startswith('int'):
    hdu = astropy.io.fits.PrimaryHDU(pixels, header)
    hdu.scale(form, bscale=1e-3, bzero=0.25)
  else:
    hdu = astropy.io.fits.PrimaryHDU(pixels.astype(form), header)
  hdu.writeto(path)
  return path


@pytest.mark.parametrize(
  'form', ['float32', 'float64', 'int16', 'int32', 'compressed']
)
@pytest.mark.parametrize('suffix', ['.fits', '.fits.gz', '.fits.bz2'])
def test_window_equals_that_part_of_the_whole(tmp_path, form, suffix):
  path = _write(tmp_path / f'a{suffix}', form, _pixels())
  whole = fits.read(path).pixels_jy_beam
  # Steps of int files are 1e-6 Jy/beam; the rest is a float32.
  expected = np.where(np.isnan(whole), np.nan, _pixels() * 1e-3)
  np.testing.assert_allclose(whole, expected, rtol=1e-6, atol=6e-7)
  generator = np.random.default_rng(1)
  with fits.opened(path) as image:
    assert image.pixels_jy_beam.shape == (90, 130)
    for _ in range(50):
      y0, y1 = np.sort(generator.integers(0, 91, 2))
      x0, x1 = np.sort(generator.integers(0, 131, 2))
      np.testing.assert_array_equal(
        image.pixels_jy_beam[y0:y1, x0:x1], whole[y0:y1, x0:x1]
      )
    beyond = image.pixels_jy_beam[80:200, 120:]
    np.testing.assert_array_equal(beyond, whole[80:, 120:])
  if form != 'int16':
    assert np.isnan(whole[40:60, 50:90]).all() and np.isnan(whole[10, 45])
    assert not np.isnan(whole[70:72]).any()


def test_window_of_one_plane_of_four_axes(tmp_path):
  header = astropy.io.fits.Header(
    _CARDS | {'CTYPE3': 'FREQ', 'CTYPE4': 'STOKES', 'CRVAL4': 1, 'CDELT4': 1}
  )
  planes = np.random.default_rng(2).normal(size=(3, 1, 20, 30))
  path = tmp_path / 'a.fits'
  astropy.io.fits.PrimaryHDU(planes, header).writeto(path)
  with fits.opened(path) as image:
    np.testing.assert_allclose(
      image.pixels_jy_beam[3:9, 4:28], planes[0, 0, 3:9, 4:28] * 1e-3, rtol=1e-6
    )


def test_blank_integers_are_missing(tmp_path):
  header = astropy.io.fits.Header(
    _CARDS | {'BLANK': -32768, 'BSCALE': 0.5, 'BZERO': 1.0}
  )
  stored = np.arange(600, dtype=np.int16).reshape(20, 30)
  stored[3, 4] = -32768
  hdu = astropy.io.fits.PrimaryHDU(stored)
  hdu.header.update(header)
  path = tmp_path / 'a.fits'
  hdu.writeto(path)
  found = fits.read(path).pixels_jy_beam
  assert np.isnan(found[3, 4]) and np.isnan(found).sum() == 1
  np.testing.assert_allclose(found[5, 5], (155 * 0.5 + 1) * 1e-3, rtol=1e-6)


def test_error_of_the_caller_is_not_taken_for_damage(tmp_path):
  path = _write(tmp_path / 'a.fits', 'float32', _pixels())
  with pytest.raises(KeyError, match='mine'), fits.opened(path):
    raise KeyError('mine')


def test_pages_are_let_go_and_read_again(tmp_path, monkeypatch):
  path = _write(tmp_path / 'a.fits', 'float32', _pixels())
  whole = fits.read(path).pixels_jy_beam
  monkeypatch.setattr(windows, '_LET_GO_BYTES', 1)
  with fits.opened(path) as image:
    for _ in range(3):
      np.testing.assert_array_equal(image.pixels_jy_beam[:, :], whole)
