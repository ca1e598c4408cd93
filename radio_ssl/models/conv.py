"""Convolution that is fast on the backend it runs on.

GPU and TPU get `lax.conv_general_dilated`. XLA's CPU backend is quick in most
forward passes, slow in kernel gradients, and up to 300 times slower than a
matmul on maps of 2x2 to 4x4: there forward, gradient of the input and gradient
of the kernel are chosen one by one. Depthwise convolutions are in
`depthwise.py`. `python -m radio_ssl.bench.step` prints
what it is worth.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from radio_ssl.models import depthwise

Pairs = tuple[tuple[int, int], tuple[int, int]]
Shape = Sequence[int]

_LAYOUT = ('NHWC', 'HWIO', 'NHWC')
# Up to this input side, matmuls beat XLA's convolution on CPU: 512 channels at
# 2x2, 256 images, one core: 11 ms against 3400; 256 at 4x4: 20 against 25, and
# with stride 2 the input gradient 12 against 1560. At 8x8: 67 against 27.
_TINY_SIDE = 4
# Output pixels that the kernel gradient takes at a time, so that its operands
# stay in the second-level cache: 64 channels at 16x16 take 56 ms, all at once
# 166, XLA 93 to 107.
_CHUNK_PIXELS = 1024


def _native(x: Array, kernel: Array, strides: Shape, padding: Pairs) -> Array:
  return lax.conv_general_dilated(
    x, kernel, strides, padding, dimension_numbers=_LAYOUT
  )


def _out_side(size: int, taps: int, stride: int, pad: tuple[int, int]) -> int:
  return (size + sum(pad) - taps) // stride + 1


def _meets(
  size: int, taps: int, stride: int, pad: tuple[int, int]
) -> Iterator[tuple[int, int, int, slice]]:
  """For each tap: tap, outputs [first, stop) that it feeds, their inputs."""
  out = _out_side(size, taps, stride, pad)
  for tap in range(taps):
    shift = tap - pad[0]
    first = max(0, -(shift // stride))
    stop = min(out, (size - 1 - shift) // stride + 1)
    if first < stop:
      inputs = slice(
        first * stride + shift, (stop - 1) * stride + shift + 1, stride
      )
      yield tap, first, stop, inputs


def _taps(x_shape: Shape, kernel_shape: Shape, strides: Shape, padding: Pairs):
  """The meetings of both axes, (of y, of x), for each tap of the kernel."""
  rows, columns = (
    list(_meets(x_shape[1 + a], kernel_shape[a], strides[a], padding[a]))
    for a in range(2)
  )
  return [(row, column) for row in rows for column in columns]


def _shifted_matmuls(
  x: Array, kernel: Array, strides: Shape, padding: Pairs
) -> Array:
  """One matmul a tap, over the pixels where it meets no padding.

  On a 2x2 map that leaves 16 of the 36 products of a padded 3x3 convolution.
  """
  height, width = (
    _out_side(x.shape[1 + a], kernel.shape[a], strides[a], padding[a])
    for a in range(2)
  )
  out = jnp.zeros((x.shape[0], height, width, kernel.shape[3]), x.dtype)
  taps = _taps(x.shape, kernel.shape, strides, padding)
  for (i, top, bottom, rows), (j, left, right, columns) in taps:
    around = ((0, 0), (top, height - bottom), (left, width - right), (0, 0))
    out = out + jnp.pad(x[:, rows, columns] @ kernel[i, j], around)
  return out


def _kernel_gradient(
  x: Array, dy: Array, kernel_shape: Shape, strides: Shape, padding: Pairs
) -> Array:
  """One matmul a tap, summed over a few images at a time."""
  taps = _taps(x.shape, kernel_shape, strides, padding)
  count = max(1, min(x.shape[0], _CHUNK_PIXELS // (dy.shape[1] * dy.shape[2])))
  while x.shape[0] % count:
    count -= 1

  def add_chunk(i, total):
    some_x = lax.dynamic_slice_in_dim(x, i * count, count)
    some_dy = lax.dynamic_slice_in_dim(dy, i * count, count)
    parts = [
      jnp.einsum(
        'bhwc,bhwf->cf',
        some_x[:, rows, columns],
        some_dy[:, top:bottom, left:right],
      )
      for (_, top, bottom, rows), (_, left, right, columns) in taps
    ]
    return total + jnp.stack(parts)

  if not taps:
    return jnp.zeros(kernel_shape, dy.dtype)
  total = jnp.zeros((len(taps), *kernel_shape[2:]), dy.dtype)
  total = lax.fori_loop(0, x.shape[0] // count, add_chunk, total)
  if len(taps) == kernel_shape[0] * kernel_shape[1]:
    return total.reshape(kernel_shape)
  # Taps that only ever meet padding have no gradient.
  index = tuple(jnp.array([tap[a][0] for tap in taps]) for a in range(2))
  return jnp.zeros(kernel_shape, dy.dtype).at[index].set(total)


def _run(x_shape: Shape):
  return _shifted_matmuls if max(x_shape[1:3]) <= _TINY_SIDE else _native


def _are_plain_images(lhs: Array, rhs: Array, dimension_numbers: Any) -> bool:
  exact = lhs.dtype in (jnp.float32, jnp.float64)
  if not (lhs.ndim == 4 and exact and lhs.dtype == rhs.dtype):
    return False
  layout, ours = (
    lax.conv_dimension_numbers(lhs.shape, rhs.shape, numbers)
    for numbers in (dimension_numbers, _LAYOUT)
  )
  return layout == ours


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _cpu_conv(x: Array, kernel: Array, strides: Shape, padding: Pairs) -> Array:
  return _run(x.shape)(x, kernel, strides, padding)


def _cpu_conv_fwd(x, kernel, strides, padding):
  return _cpu_conv(x, kernel, strides, padding), (x, kernel)


def _cpu_conv_bwd(strides, padding, residuals, dy):
  x, kernel = residuals
  _, pull = jax.vjp(lambda x: _run(x.shape)(x, kernel, strides, padding), x)
  gradient = _kernel_gradient(x, dy, kernel.shape, strides, padding)
  return *pull(dy), gradient


_cpu_conv.defvjp(_cpu_conv_fwd, _cpu_conv_bwd)


def conv(
  lhs: Array,
  rhs: Array,
  window_strides: Shape,
  padding: str | Sequence[tuple[int, int]],
  lhs_dilation: Shape | None = None,
  rhs_dilation: Shape | None = None,
  dimension_numbers: Any = _LAYOUT,
  feature_group_count: int = 1,
  *,
  backend: str | None = None,
  **options,
) -> Array:
  """`lax.conv_general_dilated`, for `flax.linen.Conv(conv_general_dilated=)`.

  What is not a plain or depthwise 2-D convolution of float32 or float64, or not
  on CPU, goes to the native one. On CPU it has reverse-mode derivatives only.

  Args:
    lhs: images, [B, H, W, C] in the default layout.
    rhs: kernel, [h, w, C, F].
    window_strides: as in `lax.conv_general_dilated`, as all that follow.
    padding: of each side, or a string.
    lhs_dilation: native.
    rhs_dilation: native.
    dimension_numbers: native where it is not NHWC, HWIO, NHWC.
    feature_group_count: native where it is neither 1 nor C with F = C.
    backend: of `jax.default_backend()`, which it is by default, while tracing.
    **options: native where one is not None.

  Returns:
    [B, H', W', F], equal to the native one up to rounding.
  """
  depthwise_like = feature_group_count == lhs.shape[-1] == rhs.shape[-1]
  plain = (
    (backend or jax.default_backend()) == 'cpu'
    and _are_plain_images(lhs, rhs, dimension_numbers)
    and set(lhs_dilation or ()) | set(rhs_dilation or ()) <= {1}
    and (feature_group_count == 1 or depthwise_like)
    and all(value is None for value in options.values())
  )
  if plain and isinstance(padding, str):
    padding = lax.padtype_to_pads(
      lhs.shape[1:3], rhs.shape[:2], window_strides, padding
    )
  if plain and min(map(min, padding)) >= 0 and lhs.size and rhs.size:
    pairs = tuple((int(low), int(high)) for low, high in padding)
    run = _cpu_conv if feature_group_count == 1 else depthwise.conv
    return run(lhs, rhs, tuple(window_strides), pairs)
  return lax.conv_general_dilated(
    lhs,
    rhs,
    window_strides,
    padding,
    lhs_dilation=lhs_dilation,
    rhs_dilation=rhs_dilation,
    dimension_numbers=dimension_numbers,
    feature_group_count=feature_group_count,
    **options,
  )
