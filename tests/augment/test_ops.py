import functools

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from radio_ssl.augment import ops


@functools.partial(jax.jit, static_argnames='size')
def _look(frame, size, zoom, angle, flip, shift):
  y, x = ops.positions(size, zoom=zoom, angle=angle, flip=flip, shift=shift)
  return ops.warp(frame, y, x)


def _warp(frame, size, *, zoom=1.0, angle=0.0, flip=False, shift=(0.0, 0.0)):
  return np.asarray(_look(frame, size, zoom, angle, flip, jnp.asarray(shift)))


def _centroid(image):
  offset = np.arange(len(image)) - (len(image) - 1) / 2
  total = image.sum()
  return np.asarray(
    [
      (image * offset[:, None]).sum() / total,
      (image * offset[None, :]).sum() / total,
    ]
  )


def _pixel(size, y, x):
  frame = np.zeros((size, size), np.float32)
  frame[y, x] = 1
  return frame


def test_no_change_is_the_centre_of_the_frame():
  frame = np.random.RandomState(0).normal(size=(21, 31)).astype('f4')
  np.testing.assert_allclose(_warp(frame, 11), frame[5:16, 10:21], atol=1e-6)


@pytest.mark.parametrize('flip', [False, True])
@pytest.mark.parametrize('quarter', [0, 1, 2, 3])
def test_quarter_turns_and_flips_are_those_of_numpy(quarter, flip):
  frame = np.random.RandomState(0).normal(size=(16, 16)).astype('f4')
  # A view pixel on +x looks at +y of the frame: the picture turns from y to x.
  wanted = np.rot90(frame, quarter)
  wanted = wanted[:, ::-1] if flip else wanted
  out = _warp(frame, 16, angle=quarter * np.pi / 2, flip=flip)
  np.testing.assert_allclose(out, wanted, atol=1e-4)


@pytest.mark.parametrize('flip', [False, True])
@pytest.mark.parametrize('angle', [0.0, 0.4, 1.9, -2.6])
@pytest.mark.parametrize('zoom', [1.0, 0.8])
@pytest.mark.parametrize('shift', [(0.0, 0.0), (2.5, -1.25)])
def test_one_pixel_moves_where_it_should(flip, angle, zoom, shift):
  row, column = 33, 18
  frame = _pixel(51, row, column)
  out = _warp(frame, 51, zoom=zoom, angle=angle, flip=flip, shift=shift)
  # From frame to view: undo the turn, the shift, the zoom, the mirror.
  y, x = row - 25, column - 25
  cos, sin = np.cos(angle), np.sin(angle)
  y, x = cos * y - sin * x, sin * y + cos * x
  y, x = (y - shift[0]) / zoom, (x - shift[1]) / zoom
  wanted = np.asarray([y, -x if flip else x])
  np.testing.assert_allclose(_centroid(out), wanted, atol=0.3)
  peak = np.unravel_index(out.argmax(), out.shape) - np.asarray([25, 25])
  np.testing.assert_allclose(peak, wanted, atol=0.75)


def _bicubic(frame, size, **where):
  y, x = ops.positions(size, **where)
  return np.asarray(ops.warp_bicubic(jnp.asarray(frame), y, x))


def test_bicubic_warp_is_that_of_pillow():
  frame = np.random.RandomState(1).normal(size=(20, 16)).astype('f4')
  wanted = PIL.Image.fromarray(frame).resize((48, 60), PIL.Image.BICUBIC)
  here = {'zoom': 1 / 3, 'angle': 0.0, 'flip': False, 'shift': np.zeros(2)}
  found = _bicubic(frame, 30, **here)
  np.testing.assert_allclose(
    found, np.asarray(wanted)[15:45, 9:39], rtol=1e-4, atol=1e-5
  )


def test_bicubic_warp_keeps_pixels_fluxes_and_the_sky_outside():
  frame = np.random.RandomState(2).normal(size=(12, 12)).astype('f4')
  here = {'zoom': 1.0, 'angle': 0.0, 'flip': False, 'shift': np.zeros(2)}
  wide = np.pad(frame, 20)
  np.testing.assert_allclose(_bicubic(frame, 52, **here), wide, atol=1e-5)
  y, x = np.mgrid[-20:21, -20:21]
  beam = np.exp(-4 * np.log(2) * (y**2 + x**2) / 3.0**2).astype('f4')
  turned = {'zoom': 0.6, 'angle': 0.7, 'shift': np.asarray([0.3, 0.2])}
  y, x = ops.positions(81, **here | turned)
  exact = np.exp(-4 * np.log(2) * (y**2 + x**2) / 3.0**2)
  cubic, linear = (
    np.asarray(warp(jnp.asarray(beam), y, x))
    for warp in (ops.warp_bicubic, ops.warp)
  )
  assert cubic.sum() * 0.6**2 == pytest.approx(beam.sum(), rel=1e-3)
  assert np.abs(cubic - exact).max() < 0.5 * np.abs(linear - exact).max()


@pytest.mark.parametrize('zoom', [1.0, 0.6])
def test_flux_of_a_beam_survives_the_warp(zoom):
  y, x = np.mgrid[-20:21, -20:21]
  frame = np.exp(-4 * np.log(2) * (y**2 + x**2) / 3.0**2).astype('f4')
  out = _warp(frame, 41, zoom=zoom, angle=0.7, shift=(0.3, 0.2))
  assert out.sum() * zoom**2 == pytest.approx(frame.sum(), rel=0.01)


def test_constant_stays_constant_and_beyond_the_frame_is_background():
  frame = np.full((30, 30), 5.0, np.float32)
  np.testing.assert_allclose(_warp(frame, 20, angle=0.785), 5, rtol=1e-5)
  outside = _warp(frame, 20, shift=(0.0, 60.0))
  np.testing.assert_array_equal(outside, 0)
  half = _warp(frame, 20, shift=(15.0, 0.0))
  np.testing.assert_allclose(half[:10], 5, rtol=1e-5)
  np.testing.assert_array_equal(half[10:], 0)


@pytest.mark.parametrize('sigma', [0.0, 0.7, 1.5])
def test_blur_keeps_a_constant_and_the_sum_and_adds_to_the_size(sigma):
  y, x = np.mgrid[-20:21, -20:21]
  image = np.exp(-(y**2 + x**2) / (2 * 2.0**2)).astype('f4')
  blur = jax.jit(ops.blur)
  out = np.asarray(blur(jnp.asarray(image), sigma))
  assert out.sum() == pytest.approx(image.sum(), rel=1e-4)
  size2 = (out * x**2).sum() / out.sum()
  assert size2 == pytest.approx(4 + sigma**2, rel=0.02)
  flat = blur(jnp.full((20, 20), 3.0), sigma)
  np.testing.assert_allclose(flat, 3, rtol=1e-5)
  if sigma == 0:
    np.testing.assert_allclose(out, image, atol=1e-4)


def test_noise_has_unit_rms_and_the_length_of_the_beam():
  sigma = 1.4
  reach = ops.reach_pix(sigma)
  draw = jax.vmap(lambda rng: ops.correlated_noise(rng, 64, sigma, reach))
  noise = jax.jit(draw)(jax.random.split(jax.random.key(0), 40))
  noise = np.asarray(noise)
  assert noise.std() == pytest.approx(1, abs=0.02)
  assert abs(noise.mean()) < 0.02
  # Up to the edges: nothing is padded.
  assert noise[:, 0].std() == pytest.approx(1, abs=0.06)
  for distance in (1, 2, 3):
    for a, b in (
      (noise[:, distance:], noise[:, :-distance]),
      (noise[:, :, distance:], noise[:, :, :-distance]),
    ):
      wanted = np.exp(-(distance**2) / (4 * sigma**2))
      assert (a * b).mean() == pytest.approx(wanted, abs=0.03)


def test_noise_is_normal():
  draw = jax.jit(lambda rng: ops.correlated_noise(rng, 300, 1.0, 3))
  noise = draw(jax.random.key(1))
  noise = np.asarray(noise)
  assert (noise**3).mean() == pytest.approx(0, abs=0.05)
  assert (noise**4).mean() == pytest.approx(3, abs=0.15)


def test_gamma_keeps_zero_one_and_order():
  image = jnp.asarray([[0.0, 0.25, 0.5, 1.0]])
  for exponent in (0.5, 1.0, 2.0):
    np.testing.assert_allclose(
      ops.gamma(image, exponent), image**exponent, rtol=1e-5, atol=1e-12
    )


def test_contrast_stretches_about_the_mean_and_clips():
  image = jnp.asarray([[0.1, 0.3, 0.5]])
  np.testing.assert_allclose(
    ops.contrast(image, 2.0, 0.05), [[0, 0.35, 0.75]], atol=1e-6
  )
  np.testing.assert_allclose(
    ops.contrast(image, 9.0, 0.0), [[0, 0.3, 1]], atol=1e-6
  )
