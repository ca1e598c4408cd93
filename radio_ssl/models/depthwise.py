"""Depthwise convolution for XLA's CPU backend, which has no fast one.

A sum over the taps of shifted images times one row of the kernel, which XLA
turns into one loop. Eight images, one core, forward / gradient of the input /
of the kernel in ms, and forward / both gradients of `lax`'s own: 5x5 on
28x28x240, 2.7 / 2.3 / 30 and 48 / 203; 3x3 with stride 2 on 112x112x96, 22 /
38 / 34 and 70 / 869; 5x5 on 7x7x1152, 0.9 / 1.0 / 4.1 and 15 / 283.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

Pairs = tuple[tuple[int, int], tuple[int, int]]


def _taps(kernel: Array, strides: Sequence[int], out: Sequence[int]):
  """For each tap: its place in the kernel, and the pixels that it meets."""
  for i in range(kernel.shape[0]):
    for j in range(kernel.shape[1]):
      yield (
        (i, j),
        tuple(
          slice(tap, tap + (size - 1) * stride + 1, stride)
          for tap, size, stride in zip((i, j), out, strides, strict=True)
        ),
      )


def _sum_of_taps(
  padded: Array, kernel: Array, strides: Sequence[int], out: Sequence[int]
) -> Array:
  total = 0
  for (i, j), (rows, columns) in _taps(kernel, strides, out):
    total = total + padded[:, rows, columns] * kernel[i, j, 0][None, None, None]
  return total


def _padded(x: Array, padding: Pairs) -> Array:
  return jnp.pad(x, ((0, 0), *padding, (0, 0)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(x: Array, kernel: Array, strides: tuple, padding: Pairs) -> Array:
  """A convolution of each channel by itself.

  Args:
    x: images, [B, H, W, C].
    kernel: [h, w, 1, C].
    strides: of both axes.
    padding: of both sides of each axis, >= 0.

  Returns:
    [B, H', W', C], as `lax.conv_general_dilated` with C groups.
  """
  out = [
    (x.shape[1 + a] + sum(padding[a]) - kernel.shape[a]) // strides[a] + 1
    for a in range(2)
  ]
  return _sum_of_taps(_padded(x, padding), kernel, strides, out)


def _forward(x, kernel, strides, padding):
  return conv(x, kernel, strides, padding), (x, kernel)


def _backward(strides, padding, residuals, dy):
  x, kernel = residuals
  return (
    _image_gradient(dy, kernel, x.shape[1:3], strides, padding),
    _kernel_gradient(_padded(x, padding), dy, kernel, strides),
  )


conv.defvjp(_forward, _backward)


def _image_gradient(dy, kernel, shape, strides, padding) -> Array:
  """The kernel turned round, over `dy` with zeros between its pixels."""
  spaces = [(0, 0, 0)]
  for a in range(2):
    before = kernel.shape[a] - 1 - padding[a][0]
    spread = (dy.shape[1 + a] - 1) * strides[a] + 1
    after = shape[a] + kernel.shape[a] - 1 - before - spread
    spaces.append((before, after, strides[a] - 1))
  wide = lax.pad(dy, jnp.zeros((), dy.dtype), [*spaces, (0, 0, 0)])
  return _sum_of_taps(wide, kernel[::-1, ::-1], (1, 1), shape)


def _kernel_gradient(padded, dy, kernel, strides) -> Array:
  """An image at a time: that stays in the cache while all taps read it."""
  taps = list(_taps(kernel, strides, dy.shape[1:3]))

  def add(b, total):
    image, its = (
      lax.dynamic_index_in_dim(array, b, keepdims=False)
      for array in (padded, dy)
    )
    parts = [
      jnp.einsum('hwc,hwc->c', image[rows, columns], its)
      for _, (rows, columns) in taps
    ]
    return total + jnp.stack(parts)

  total = jnp.zeros((len(taps), kernel.shape[-1]), dy.dtype)
  return lax.fori_loop(0, len(dy), add, total).reshape(kernel.shape)
