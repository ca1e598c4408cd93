"""Max-pooling that is fast on the backend it runs on."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array, lax


def _first_max(x: Array, axis: int) -> Array:
  """Max over windows of 3, every 2, along one axis padded by 1."""
  out = (x.shape[axis] - 1) // 2 + 1
  around = [(0, 0)] * x.ndim
  # The last window of an even side ends on the last pixel.
  around[axis] = (1, 2 * out - x.shape[axis])
  x = jnp.pad(x, around, constant_values=-jnp.inf)
  first, second, third = (
    lax.slice_in_dim(x, i, i + 2 * out - 1, stride=2, axis=axis)
    for i in range(3)
  )
  # Not jnp.maximum: its gradient is shared between equal pixels.
  best = jnp.where(first >= second, first, second)
  return jnp.where(best >= third, best, third)


def max_pool(x: Array, *, backend: str | None = None) -> Array:
  """Maximum over 3x3 windows, stride 2, padding 1.

  The gradient goes to the first of equal pixels in reading order.

  Args:
    x: [B, H, W, C].
    backend: of `jax.default_backend()`, which it is by default. XLA's CPU
      backend gets maxima of shifted images, columns before rows.

  Returns:
    [B, ceil(H / 2), ceil(W / 2), C].
  """
  if (backend or jax.default_backend()) != 'cpu':
    return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
  return _first_max(_first_max(x, axis=2), axis=1)
