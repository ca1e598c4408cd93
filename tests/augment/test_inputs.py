import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.augment import inputs
from radio_ssl.data import examples

FIRST = examples.Geometry(
  height=120,
  width=120,
  dtype='float32',
  pixel_scale_arcsec=1.8,
  beam_major_arcsec=5.4,
)
PICTURES = dataclasses.replace(FIRST, dtype='uint8')
INPUT = inputs.Input(
  size_pix=32, field_arcsec=86.4, clip_low=0.0, clip_high=100.0, stretch_a=0.1
)


def _batch(images, background=0.0, rms=1.0):
  count = len(images)
  return {
    'image': jnp.asarray(images),
    'background': jnp.full(count, background, jnp.float32),
    'rms': jnp.full(count, rms, jnp.float32),
    'row': jnp.arange(count, dtype=jnp.int32),
  }


@functools.partial(jax.jit, static_argnums=(1, 2))
def _prepare(batch, input, geometry):
  return inputs.prepare(batch, input, geometry)


def _images(count=3, seed=0):
  noise = np.random.RandomState(seed).normal(size=(count, 120, 120, 1))
  return noise.astype(np.float32)


def test_sigma_is_image_minus_background_over_rms():
  images = 2e-4 + 5e-5 * _images()
  sigma = inputs.to_sigma(
    images, jnp.full(3, 2e-4), jnp.full(3, 5e-5), inputs.Input()
  )
  np.testing.assert_allclose(sigma, _images(), rtol=1e-3, atol=1e-4)


def test_missing_pixels_become_the_background():
  images = 4 + _images()
  images[0, :5] = np.nan
  images[1, 3, 3] = np.inf
  batch = _batch(images, background=4.0)
  sigma = inputs.to_sigma(
    images, batch['background'], batch['rms'], inputs.Input()
  )
  np.testing.assert_array_equal(sigma[0, :5], 0)
  assert sigma[1, 3, 3, 0] == 0
  np.testing.assert_allclose(sigma[2], images[2] - 4, rtol=1e-5, atol=1e-6)


def test_full_scale_of_a_picture_is_so_many_rms():
  images = np.asarray([0, 51, 255], np.uint8).reshape(3, 1, 1, 1)
  none = jnp.full(3, jnp.nan)
  sigma = inputs.to_sigma(
    jnp.asarray(images), none, none, inputs.Input(full_scale_sigma=100.0)
  )
  np.testing.assert_allclose(sigma.reshape(-1), [0, 20, 100], rtol=1e-6)


@pytest.mark.parametrize('interval', inputs.INTERVALS)
@pytest.mark.parametrize(
  ('value', 'rms'),
  [(np.nan, 1), (0, 0), (0, np.nan), (3, np.nan), (np.nan, np.nan)],
)
def test_empty_images_are_prepared_to_finite_values(interval, value, rms):
  images = np.full((2, 120, 120, 1), value, np.float32)
  input = dataclasses.replace(INPUT, interval=interval)
  out = _prepare(_batch(images, value, rms), input, FIRST)
  assert out.shape == (2, 32, 32, 1)
  assert bool(jnp.isfinite(out).all())


def test_prepared_image_is_scaled_then_stretched():
  images = np.full((1, 120, 120, 1), 7.0, np.float32)
  out = _prepare(_batch(images, 2.0, 0.1), INPUT, FIRST)
  # 50 rms of 100, softened at a tenth.
  wanted = np.arcsinh(0.5 / 0.1) / np.arcsinh(1 / 0.1)
  np.testing.assert_allclose(out, wanted, rtol=1e-5)


def test_picture_and_measurement_of_one_sky_look_the_same():
  picture = np.random.RandomState(0).randint(0, 256, (2, 120, 120, 1))
  input = dataclasses.replace(INPUT, full_scale_sigma=51.0)
  measured = _batch((1e-3 + picture / 5 * 2e-4).astype('f4'), 1e-3, 2e-4)
  np.testing.assert_allclose(
    _prepare(_batch(picture.astype(np.uint8)), input, PICTURES),
    _prepare(measured, input, FIRST),
    atol=1e-4,
  )


@pytest.mark.parametrize('side', [48, 47])
def test_minmax_uses_the_range_of_the_field_alone(side):
  images = _images(1)
  images[0, 0, 0] = 1e6  # An artefact outside the field.
  input = dataclasses.replace(
    INPUT,
    interval='minmax',
    stretch='linear',
    field_arcsec=1.8 * side,
    size_pix=side,
  )
  out = _prepare(_batch(images), input, FIRST)
  field = images[:, 36:84, 36:84]
  # A field of 47 pixels takes its range from 48, as they were stored.
  shown = np.asarray(inputs.frame(_batch(images), input, side, 1.0))[..., None]
  wanted = (shown - field.min()) / (field.max() - field.min())
  np.testing.assert_allclose(out, wanted.clip(0, 1), atol=1e-5)


def test_field_none_takes_the_whole_image():
  images = _images(1)
  input = dataclasses.replace(INPUT, field_arcsec=None, size_pix=120)
  unknown = dataclasses.replace(FIRST, pixel_scale_arcsec=None)
  out = _prepare(_batch(images), input, unknown)
  wanted = inputs.display(images, 0.0, 100.0, input)
  np.testing.assert_allclose(out, wanted, atol=1e-6)


def test_three_channels_are_the_same_image():
  input = dataclasses.replace(INPUT, channels=3)
  out = _prepare(_batch(_images()), input, FIRST)
  assert out.shape == (3, 32, 32, 3)
  np.testing.assert_array_equal(out[..., 0], out[..., 2])


def test_eager_equals_jit_and_does_not_depend_on_the_batch():
  batch = _batch(_images())
  eager = inputs.prepare(batch, INPUT, FIRST)
  jitted = _prepare(batch, INPUT, FIRST)
  np.testing.assert_allclose(eager, jitted, atol=1e-6)
  row = {name: value[1:2] for name, value in batch.items()}
  alone = _prepare(row, INPUT, FIRST)
  np.testing.assert_allclose(eager[1:2], alone, atol=1e-6)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'stretch': 'log'}, "stretch 'log' has stretch_a=0.1"),
    ({'interval': 'max'}, "'max'; there are: noise, minmax"),
    ({'channels': 2}, 'channels is 2; wanted 1 or 3'),
    ({'size_pix': 4}, 'size_pix is 4'),
    ({'clip_low': 100.0}, 'clip_low=100.0 is not below'),
    ({'full_scale_sigma': 0.0}, 'full_scale_sigma is 0.0'),
    ({'field_arcsec': 217.0}, 'is 217.0; wanted .* at most 216'),
    ({'field_arcsec': 0.0}, 'is 0.0; wanted more than 0'),
    ({'size_pix': 31}, '2.79 arcsec are larger than half the beam of 5.4'),
  ],
)
def test_settings_that_do_not_fit_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    inputs.validate(dataclasses.replace(INPUT, **change), FIRST)


def test_coarse_pixels_may_be_allowed():
  input = dataclasses.replace(INPUT, size_pix=16, allow_coarse_pixels=True)
  inputs.validate(input, FIRST)


def test_survey_with_pixels_of_half_its_beam_or_more_is_taken_as_it_is():
  geometry = dataclasses.replace(
    FIRST, pixel_scale_arcsec=15.0, beam_major_arcsec=20.0
  )
  inputs.validate(inputs.Input(size_pix=64, field_arcsec=960.0), geometry)
  with pytest.raises(ValueError, match='larger than half the beam of 20'):
    inputs.validate(inputs.Input(size_pix=60, field_arcsec=960.0), geometry)


def test_the_minor_axis_of_the_beam_counts():
  coarse = dataclasses.replace(INPUT, size_pix=36)
  inputs.validate(coarse, FIRST)
  flat = dataclasses.replace(FIRST, beam_minor_arcsec=4.5)
  with pytest.raises(ValueError, match=r'larger than half the beam of 4\.5'):
    inputs.validate(coarse, flat)


def test_field_in_arcsec_needs_one_pixel_scale():
  varying = dataclasses.replace(FIRST, pixel_scale_arcsec=None)
  with pytest.raises(ValueError, match=r'set input\.field_arcsec=None'):
    inputs.validate(INPUT, varying)


def test_images_of_another_type_are_refused():
  with pytest.raises(ValueError, match='images are int16'):
    inputs.validate(INPUT, dataclasses.replace(FIRST, dtype='int16'))


def test_the_defaults_fit_first_in_both_forms():
  for size, dtype in ((300, 'float32'), (150, 'uint8')):
    geometry = dataclasses.replace(FIRST, height=size, width=size, dtype=dtype)
    inputs.validate(inputs.Input(), geometry)
