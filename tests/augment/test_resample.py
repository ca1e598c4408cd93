import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.augment import resample


def _source(size, fwhm, y, x):
  """A point source seen by a round beam, its peak at (y, x)."""
  rows, columns = np.mgrid[:size, :size]
  r2 = (rows - y) ** 2 + (columns - x) ** 2
  return np.exp(-4 * np.log(2) * r2 / fwhm**2).astype(np.float32)


@pytest.mark.parametrize('step', [1, 1.2, 1.5, 2.3, 4, 0.7])
def test_constant_sky_stays_constant(step):
  images = jnp.full((2, 60, 50), 7.0)
  out = resample.resample(images, 12, step)
  np.testing.assert_allclose(out, 7, rtol=1e-5)


@pytest.mark.parametrize('step', [1.5, 2.3, 4])
@pytest.mark.parametrize('offset', [0, 0.3, 0.5])
def test_flux_of_a_source_is_kept_in_larger_pixels(step, offset):
  image = _source(101, 3.0, 50 + offset, 50 - offset)
  out = resample.resample(jnp.asarray(image)[None], 21, step)
  # Surface brightness: the sum counts with the area of the pixels.
  assert float(out.sum()) * step**2 == pytest.approx(image.sum(), rel=0.01)


@pytest.mark.parametrize('size_in', [100, 101])
@pytest.mark.parametrize('step', [1.0, 1.5, 2.0])
@pytest.mark.parametrize('size_out', [24, 25])
def test_source_keeps_its_place(size_in, step, size_out):
  dy, dx = 3.5, -4.0
  middle = (size_in - 1) / 2
  image = _source(size_in, 5, middle + dy, middle + dx)
  out = np.asarray(resample.resample(jnp.asarray(image)[None], size_out, step))
  offset = (np.arange(size_out) - (size_out - 1) / 2) * step
  y = (out[0] * offset[:, None]).sum() / out.sum()
  x = (out[0] * offset[None, :]).sum() / out.sum()
  np.testing.assert_allclose([y, x], [dy, dx], atol=0.05)


def test_larger_pixels_average_what_they_cannot_hold():
  stripes = np.zeros((1, 64, 64), np.float32)
  stripes[:, ::2] = 2.0
  out = resample.resample(jnp.asarray(stripes), 16, 3.0)
  np.testing.assert_allclose(out, 1, atol=0.05)


def test_same_pixels_are_a_plain_cut():
  image = np.random.RandomState(0).normal(size=(1, 31, 41))
  out = resample.resample(jnp.asarray(image), 11, 1.0)
  np.testing.assert_array_equal(out, image[:, 10:21, 15:26].astype('f4'))


def test_pixels_outside_the_image_are_background():
  out = resample.resample(jnp.ones((1, 10, 10)), 20, 1.0)
  np.testing.assert_array_equal(out[0, :5], 0)
  np.testing.assert_allclose(out[0, 5:15, 5:15], 1, rtol=1e-6)


@pytest.mark.parametrize(('size', 'step'), [(10, 1.0), (10, 2.3), (7, 1.7)])
def test_window_holds_every_pixel_that_has_weight(size, step):
  for size_in in (60, 61):
    cut = resample.window(size_in, size, step)
    weights = resample.weights(size_in, size, step)
    assert not weights[:, : cut.start].any()
    assert not weights[:, cut.stop :].any()
    assert cut.start + cut.stop == size_in
    kept = resample.weights(cut.stop - cut.start, size, step)
    np.testing.assert_allclose(kept, weights[:, cut], atol=1e-7)
