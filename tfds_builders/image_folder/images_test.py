import astropy.io.fits
import numpy as np
import PIL.Image
import pytest

from tfds_builders.image_folder import images, samples


def test_without_a_beam_nothing_that_needs_one_is_known(tmp_path):
  samples.write_fits(tmp_path / 'a.fits')
  _, facts = images.Reader().read(tmp_path / 'a.fits')
  assert not {'beam_major_arcsec', 'flux_jy'} & set(facts.known)


@pytest.mark.parametrize('east_left', [True, False])
@pytest.mark.parametrize('wanted', [None, 20, 21, 41, 44])
def test_east_is_left_and_the_position_is_that_of_the_middle(
  tmp_path, east_left, wanted
):
  path = samples.write_fits(
    tmp_path / 'a.fits', ra_deg=150.0, east_left=east_left
  )
  pixels, facts = images.Reader(size_pix=wanted).read(path)
  side = wanted or 30
  assert pixels.shape == (side, side)
  assert np.isnan(pixels).sum() == max(0, side**2 - 30**2)
  y, x = np.unravel_index(np.nanargmax(pixels), pixels.shape)
  middle = (side - 1) / 2
  ra = facts.known['ra_deg'] - (x - middle) * 1.8 / 3600 / np.cos(np.pi / 6)
  dec = facts.known['dec_deg'] + (y - middle) * 1.8 / 3600
  east = (ra - 150) * 3600 * np.cos(np.pi / 6)
  # The brightest pixel is the one in which the source is.
  assert east == pytest.approx(samples.EAST, abs=0.91)
  assert (dec - 30) * 3600 == pytest.approx(samples.NORTH, abs=0.91)
  turned = (facts.known['rotation_deg'] + 180) % 360 - 180
  assert turned == pytest.approx(0, abs=1e-3)


def test_pictures_are_turned_over_to_the_rows_of_their_fits(tmp_path):
  path = samples.write_fits(tmp_path / 'a.fits')
  linear, _ = images.Reader().read(path)
  picture = np.clip(linear / samples.RMS * 20, 0, 255).astype(np.uint8)
  for name in ('a.png', 'a.JPG', 'rgb.jpeg'):
    shown = picture[::-1]
    if name == 'rgb.jpeg':
      shown = np.repeat(shown[..., None], 3, axis=-1)
    samples.write_picture(tmp_path / name, shown)
    found, facts = images.Reader().read(tmp_path / name)
    assert facts.unit == '8-bit'
    assert found.dtype == np.uint8
    assert np.corrcoef(found.ravel(), picture.ravel())[0, 1] > 0.98
    again, _ = images.Reader(flip=False).read(tmp_path / name)
    np.testing.assert_array_equal(again, found[::-1])
  found, _ = images.Reader().read(tmp_path / 'a.png')
  np.testing.assert_array_equal(found, picture)


def test_packed_fits_are_read(tmp_path):
  plain = samples.write_fits(tmp_path / 'a.fits')
  with astropy.io.fits.open(plain) as hdus:
    hdus.writeto(tmp_path / 'a.fits.gz')
    hdu = astropy.io.fits.CompImageHDU(
      hdus[0].data,
      hdus[0].header,
      compression_type='GZIP_2',
      quantize_level=0,
    )
    hdu.writeto(tmp_path / 'a.fits.fz')
  wanted, _ = images.Reader().read(plain)
  for name in ('a.fits.gz', 'a.fits.fz'):
    found, _ = images.Reader().read(tmp_path / name)
    np.testing.assert_array_equal(found, wanted)


def test_npy_keep_their_rows_and_take_a_unit(tmp_path):
  pixels = samples.noise(tmp_path / 'a').astype(np.float64)
  pixels[0, 0] = np.nan
  path = samples.write_npy(tmp_path / 'a.npy', pixels[None, :, :, None])
  found, facts = images.Reader(pixel_scale_arcsec=2.0).read(path)
  np.testing.assert_array_equal(found, pixels.astype(np.float32))
  assert facts.unit == 'unknown'
  assert facts.known['pixel_scale_arcsec'] == 2
  assert 'ra_deg' not in facts.known
  found, facts = images.Reader(unit='mJy/beam').read(path)
  np.testing.assert_allclose(found, pixels / 1e3, rtol=1e-6)
  assert facts.unit == 'Jy/beam'
  assert facts.known['rms_jy_beam'] == pytest.approx(
    samples.RMS / 1e3, rel=0.15
  )
  counts = np.arange(900, dtype=np.uint8).reshape(30, 30)
  found, facts = images.Reader().read(
    samples.write_npy(tmp_path / 'b.npy', counts)
  )
  np.testing.assert_array_equal(found, counts)
  assert facts.unit == '8-bit' and facts.known == {}


def test_a_decompression_bomb_is_refused_from_pillows_limit_on(
  tmp_path, monkeypatch
):
  path = samples.write_picture(tmp_path / 'a.png')
  # Up to twice the limit Pillow itself but warns.
  monkeypatch.setattr(PIL.Image, 'MAX_IMAGE_PIXELS', 899)
  with pytest.raises(images.ImageError, match='decompression bomb'):
    images.Reader().read(path)


def test_a_unit_that_is_told_replaces_that_of_the_header(tmp_path):
  path = samples.write_fits(tmp_path / 'a.fits', BUNIT='K')
  pixels, facts = images.Reader(unit='mJy/beam').read(path)
  assert facts.unit == 'Jy/beam'
  assert np.nanmax(pixels) == pytest.approx(5e-5)


def test_the_middle_begins_at_half_the_surplus_rounded_down():
  pixels = np.arange(25, dtype=np.float32).reshape(5, 5)
  middle = images.centre(pixels, (2, 8))
  np.testing.assert_array_equal(middle[:, 2:7], pixels[1:3])
  assert np.isnan(middle[:, [0, 1, 7]]).all()
