import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.models import pool


@pytest.mark.parametrize('shape', [(2, 8, 8, 3), (1, 7, 9, 2), (2, 1, 2, 1)])
def test_value_and_gradient_equal_the_native_ones_even_where_pixels_tie(shape):
  rng = np.random.default_rng(0)
  # Few values, so that most windows hold their maximum more than once.
  x = jnp.asarray(rng.integers(-2, 2, shape), jnp.float32)
  results = []
  for backend in ('cpu', 'gpu'):
    y, pull = jax.vjp(lambda x, b=backend: pool.max_pool(x, backend=b), x)
    dy = jnp.arange(1.0, y.size + 1).reshape(y.shape)
    results.append((y, pull(dy)[0]))
  np.testing.assert_array_equal(*(y for y, _ in results))
  np.testing.assert_array_equal(*(dx for _, dx in results))
