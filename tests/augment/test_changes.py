"""Beam, background, clipping and channels: what each does to flux and size."""

import dataclasses

import astropy.visualization
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.augment import inputs, ops, stretch, views
from radio_ssl.data import examples

GEOMETRY = examples.Geometry(80, 80, 'float32', 1.8, 5.4, 5.4)
INPUT = inputs.Input(
  size_pix=48,
  field_arcsec=48 * 1.8,
  clip_low=0.0,
  clip_high=100.0,
  stretch='linear',
)
PLAIN = views.ViewGroup(
  crop_area=(1.0, 1.0),
  rotate=False,
  flip=False,
  blur_probability=0.0,
  noise_sigma=(0.0, 0.0),
  gamma=(1.0, 1.0),
  contrast_probability=0.0,
)


def _gaussian(sigma, size=64):
  y, x = np.mgrid[:size, :size] - (size - 1) / 2
  return np.exp(-(x**2 + y**2) / (2 * sigma**2)).astype(np.float32)


@pytest.mark.parametrize('factor', [1.0, 1.3, 2.5])
def test_point_source_of_a_larger_beam_is_that_beam(factor):
  made = ops.larger_beam(_gaussian(2.0), 2.0, factor)
  np.testing.assert_allclose(made, _gaussian(2.0 * factor), atol=2e-3)
  # Flux is the sum over the beam's area.
  assert made.sum() / factor**2 == pytest.approx(_gaussian(2.0).sum(), rel=1e-3)


def test_plane_is_a_level_and_two_slopes():
  made = ops.plane(jnp.zeros((5, 5)), 3.0, 2.0, -4.0)
  ramp = np.linspace(-0.5, 0.5, 5)
  np.testing.assert_allclose(made, 3 + 2 * ramp[:, None] - 4 * ramp, rtol=1e-6)


@pytest.mark.parametrize('percentile', [0.0, 30.0, 95.0])
def test_floor_is_the_percentile(percentile):
  image = np.random.default_rng(0).normal(size=(30, 30)).astype(np.float32)
  made = ops.floor_at_percentile(image, percentile)
  wanted = np.maximum(image, np.percentile(image, percentile))
  np.testing.assert_allclose(made, wanted, rtol=1e-5)


@pytest.mark.parametrize('contrast', [0.1, 0.25, 0.7])
def test_zscale_of_any_contrast_is_astropys(contrast):
  rng = np.random.default_rng(0)
  image = (rng.normal(size=(60, 60)) + 20 * _gaussian(3.0, 60)).astype('f4')
  found = stretch.limits(image, 'zscale', contrast=contrast)
  wanted = astropy.visualization.ZScaleInterval(contrast=contrast)
  np.testing.assert_allclose(found, wanted.get_limits(image), rtol=1e-4)


def _batch(count=4):
  rng = np.random.default_rng(0)
  sky = rng.normal(size=(count, 80, 80)) + 60 * _gaussian(3.0, 80)
  return {
    'image': jnp.asarray(sky[..., None], jnp.float32),
    'background': jnp.zeros(count),
    'rms': jnp.ones(count),
    'row': jnp.arange(count),
  }


def _make(group, input=INPUT, seed=0):
  made = views.make_views(input, {'global': group}, {'global': 2}, GEOMETRY)
  return np.asarray(jax.jit(made)(_batch(), jax.random.key(seed))['global'])


CHANGES = {
  'beam_factor': (1.5, 2.0),
  'background_sigma': 10.0,
  'floor_percentile': (60.0, 90.0),
  'zscale_contrast': (0.1, 0.5),
}


@pytest.mark.parametrize('field', CHANGES)
def test_each_change_is_off_by_default_and_differs_from_view_to_view(field):
  assert getattr(views.ViewGroup(), field) == getattr(PLAIN, field)
  made = _make(dataclasses.replace(PLAIN, **{field: CHANGES[field]}))
  assert np.isfinite(made).all()
  assert made.min() >= 0 and made.max() <= 1
  plain = _make(PLAIN)
  assert np.array_equal(plain[0], plain[1])
  for view in range(2):
    for image in range(4):
      assert np.abs(made[view, image] - plain[view, image]).max() > 0.003
  assert np.abs(made[0] - made[1]).max() > 0.001


def test_noise_beside_a_larger_beam_has_that_beam():
  group = dataclasses.replace(
    PLAIN, noise_sigma=(20.0, 20.0), beam_factor=(2.0, 2.0)
  )
  made = _make(group) - _make(dataclasses.replace(group, noise_sigma=(0, 0)))
  noise = made[..., 0].astype(float)
  found = (noise[..., 3:] * noise[..., :-3]).mean() / (noise**2).mean()
  sigma = 2 * 5.4 / 1.8 * ops.SIGMA_PER_FWHM
  # Half of it is clipped at 0.
  assert found == pytest.approx(np.exp(-9 / (4 * sigma**2)), abs=0.1)


def test_each_channel_takes_a_stretch_of_its_own_family():
  families = (('squared', 'sinh'), ('linear',), ('sqrt', 'log', 'asinh'))
  group = dataclasses.replace(PLAIN, channel_stretches=families)
  input = dataclasses.replace(INPUT, channels=3)
  linear = _make(PLAIN)[..., 0]
  seen = [set() for _ in families]
  for seed in range(6):
    made = _make(group, input, seed)
    for view, image in np.ndindex(made.shape[:2]):
      for channel, family in enumerate(families):
        fits = [
          kind
          for kind in family
          if np.allclose(
            made[view, image, ..., channel],
            stretch.stretch(
              linear[view, image], kind, stretch.DEFAULT_A.get(kind, 1.0)
            ),
            atol=1e-5,
          )
        ]
        assert len(fits) == 1
        seen[channel].add(fits[0])
  assert seen == [set(family) for family in families]


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'beam_factor': (0.5, 2.0)}, 'no image gets sharper'),
    ({'floor_percentile': (0.0, 100.0)}, r'within \[0, 100\)'),
    ({'zscale_contrast': (0.0, 0.5)}, r'within \(0, 1\]'),
    ({'background_sigma': -1.0}, 'wanted >= 0'),
    ({'channel_stretches': (('sqrt',),) * 2}, '2 families'),
    ({'channel_stretches': ((),)}, 'empty family'),
    ({'channel_stretches': (('sqrrt',),)}, "No stretch named 'sqrrt'"),
  ],
)
def test_settings_that_make_no_sense_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    _make(dataclasses.replace(PLAIN, **fields))
