import numpy as np
import pytest

from radio_ssl.data import noise


def gaussian_noise(shape=(200, 200), seed=0):
  return np.random.default_rng(seed).normal(3e-4, 2e-4, shape)


def test_background_and_rms_of_pure_noise_are_right_to_one_percent():
  background, rms = noise.background_and_rms(gaussian_noise((400, 400)))
  assert background == pytest.approx(3e-4, abs=2e-6)
  assert rms == pytest.approx(2e-4, rel=0.01)


@pytest.mark.parametrize(
  ('filled', 'rms_error', 'background_error'),
  [(0.1, 0.02, 0.05), (0.3, 0.05, 0.12), (0.45, 0.1, 0.2)],
)
def test_a_source_over_much_of_the_image_moves_them_little(
  filled, rms_error, background_error
):
  pixels = gaussian_noise((400, 400))
  rows = int(400 * filled)
  pixels[:rows] += np.random.default_rng(1).exponential(4e-3, (rows, 400))
  background, rms = noise.background_and_rms(pixels)
  assert rms == pytest.approx(2e-4, rel=rms_error)
  assert abs(background - 3e-4) < background_error * 2e-4
  # What a plain standard deviation would have said.
  assert np.std(pixels) > 5 * 2e-4


def test_missing_pixels_do_not_count():
  pixels = gaussian_noise()
  expected = noise.background_and_rms(pixels[50:])
  pixels[:50] = np.nan
  assert noise.background_and_rms(pixels) == expected


def test_no_pixels_give_nan_and_a_constant_gives_no_noise():
  assert np.isnan(noise.background_and_rms(np.full((5, 5), np.nan))).all()
  assert noise.background_and_rms(np.full((5, 5), 2.0)) == (2.0, 0.0)


def test_values_of_microjansky_keep_their_precision():
  pixels = gaussian_noise((400, 400)).astype(np.float32)
  background, rms = noise.background_and_rms(pixels * np.float32(1e-4))
  assert background == pytest.approx(3e-8, abs=3e-10)
  assert rms == pytest.approx(2e-8, rel=0.01)


def test_limits_bracket_the_noise():
  pixels = gaussian_noise()
  pixels[0, 0], pixels[0, 1] = 1.0, np.nan
  assert noise.limits(pixels, 'minmax') == (np.nanmin(pixels), 1.0)
  low, high = noise.limits(pixels, 'sigma_clip')
  assert low == pytest.approx(1e-4, abs=1e-5)
  assert high == pytest.approx(3e-4 + 30 * 2e-4, rel=0.02)
  low, high = noise.limits(pixels, 'zscale')
  assert low < 3e-4 < high < 2e-3
  assert np.isnan(noise.limits(np.full((3, 3), np.nan), 'minmax')).all()
  with pytest.raises(ValueError, match=r"'x'; there are: minmax"):
    noise.limits(pixels, 'x')


def test_flux_of_a_gaussian_source_is_what_was_put_in():
  y, x = np.mgrid[:101, :101] - 50.0
  sigma = 4.0
  beam_area_pix = 2 * np.pi * sigma**2
  # A point source: its peak in Jy/beam is its flux in Jy.
  pixels = 0.02 + 0.5 * np.exp(-(x**2 + y**2) / (2 * sigma**2))
  settings = {
    'background_jy_beam': 0.02,
    'rms_jy_beam': 1e-4,
    'beam_area_pix': beam_area_pix,
  }
  assert noise.flux_jy(pixels, **settings) == pytest.approx(0.5, rel=2e-3)
  pixels[0, 0] = 9.0
  pixels[0, 1] = np.nan
  inner = noise.flux_jy(pixels, radius_pix=45, **settings)
  assert inner == pytest.approx(0.5, rel=2e-3)
  assert noise.flux_jy(np.full((9, 9), 0.02), **settings) == 0
