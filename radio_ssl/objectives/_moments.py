"""Means over the global batch, for methods that look at single features."""

import jax
import jax.numpy as jnp
from jax import Array


def centred(z: Array, axis_name: str | None) -> Array:
  """Rows without their mean over the global batch.

  Args:
    z: [..., B, D], this device's rows.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    [..., B, D], this device's rows.
  """
  return z - _mean(jnp.mean(z, axis=-2, keepdims=True), axis_name)


def variance(z: Array, axis_name: str | None) -> Array:
  """Mean of z^2 over the global batch: the variance, where z is centred.

  Args:
    z: [..., B, D].
    axis_name: as in `centred`.

  Returns:
    [..., D], the same on every device.
  """
  return _mean(jnp.mean(z * z, axis=-2), axis_name)


def products(a: Array, b: Array, axis_name: str | None) -> Array:
  """Mean over the global batch of the products of all pairs of features.

  Each device multiplies its own rows: what they exchange does not grow with
  the batch, as it would if they gathered the rows.

  Args:
    a: [..., B, D].
    b: [..., B, D].
    axis_name: as in `centred`.

  Returns:
    [..., D, D], the same on every device.
  """
  local = jnp.einsum('...bi,...bj->...ij', a, b) / a.shape[-2]
  return _mean(local, axis_name)


def _mean(x: Array, axis_name: str | None) -> Array:
  return x if axis_name is None else jax.lax.pmean(x, axis_name)
