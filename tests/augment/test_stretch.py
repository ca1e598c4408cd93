import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy import stats
from astropy import visualization as vis

from radio_ssl.augment import stretch

IMAGES = {
  'noise': np.random.RandomState(0).normal(2, 3, (90, 80)),
  'skewed': np.random.RandomState(1).gamma(0.3, 5, (64, 64)),
  'source': np.random.RandomState(2).normal(0, 1, (70, 71))
  + 500 * np.exp(-np.hypot(*np.mgrid[-35:35, -35:36]) / 4),
  'few pixels': np.random.RandomState(3).normal(0, 1, (7, 9)),
}


@pytest.mark.parametrize(
  ('name', 'a', 'reference'),
  [
    ('linear', 0, vis.LinearStretch()),
    ('sqrt', 0, vis.SqrtStretch()),
    ('squared', 0, vis.SquaredStretch()),
    ('power', 2, vis.SquaredStretch()),
    ('power', 0.7, vis.PowerStretch(0.7)),
    ('log', 1000, vis.LogStretch(1000)),
    ('asinh', 0.1, vis.AsinhStretch(0.1)),
    ('asinh', 0.002, vis.AsinhStretch(0.002)),
    ('sinh', 1 / 3, vis.SinhStretch(1 / 3)),
  ],
)
def test_stretch_equals_astropy(name, a, reference):
  x = np.linspace(-0.2, 1.2, 4001)
  ours = jax.jit(lambda x: stretch.stretch(x, name, a))(jnp.asarray(x))
  np.testing.assert_allclose(ours, reference(x), rtol=1e-6, atol=1e-6)


def test_stretches_keep_their_ends():
  ends = jnp.asarray([0.0, 1.0])
  for name, a in (('log', 10), ('asinh', 0.01), ('sinh', 0.2), ('power', 3)):
    np.testing.assert_allclose(
      stretch.stretch(ends, name, a), ends, rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize('image', IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize('jit', [jax.jit, lambda f: f], ids=['jit', 'eager'])
def test_intervals_equal_astropy(image, jit):
  image = image.astype(np.float32)
  clipped = stats.sigma_clip(
    image.astype(np.float64), sigma=3, maxiters=5, masked=False
  )
  clipped = clipped[np.isfinite(clipped)]
  # Astropy's own zscale, in float32, is off by more than 1e-6 of the width.
  exact = image.astype(np.float64)
  wanted = {
    'minmax': vis.MinMaxInterval().get_limits(exact),
    'zscale': vis.ZScaleInterval().get_limits(exact),
    'sigma_clip': (clipped.min(), clipped.max()),
  }
  assert set(wanted) == set(stretch.INTERVALS)
  for name, limits in wanted.items():
    ours = jit(lambda x, name=name: stretch.limits(x, name))(image)
    width = limits[1] - limits[0]
    np.testing.assert_allclose(ours, limits, rtol=1e-6, atol=1e-6 * width)


def test_intervals_under_vmap_are_those_of_each_image():
  images = np.random.RandomState(0).gamma(1, 2, (3, 40, 40))
  images = images.astype(np.float32)
  for name in stretch.INTERVALS:
    limits = lambda x, name=name: stretch.limits(x, name)  # noqa: E731
    together = jax.vmap(limits)(images)
    apart = [limits(image) for image in images]
    np.testing.assert_allclose(
      np.stack(together, axis=-1), apart, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize('name', stretch.INTERVALS)
def test_constant_image_has_finite_limits_and_scales_to_zero(name):
  image = jnp.full((20, 20), 3.0)
  low, high = stretch.limits(image, name)
  assert low == high == 3
  np.testing.assert_array_equal(stretch.scale(image, low, high), 0)


def test_scale_maps_the_limits_on_zero_and_one():
  x = jnp.asarray([-9.0, -3.0, 0.0, 5.0, 9.0])
  np.testing.assert_allclose(
    stretch.scale(x, -3.0, 5.0), [0, 0, 0.375, 1, 1], rtol=1e-6
  )


def test_unknown_names_and_wrong_softenings_are_refused():
  with pytest.raises(ValueError, match="'cubic'; there are: linear, sqrt"):
    stretch.stretch(jnp.zeros(3), 'cubic', 1)
  with pytest.raises(ValueError, match="'zmax'; there are: minmax"):
    stretch.limits(jnp.zeros(3), 'zmax')
  with pytest.raises(ValueError, match=r'stretch_a=0.02; wanted 1 to .*1000'):
    stretch.check('log', 0.02)
