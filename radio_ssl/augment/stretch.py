"""Intervals and stretches of image display, as in astropy.visualization.

An interval gives the two values of an image that become 0 and 1; a stretch
bends what lies between. Both equal astropy's to 1e-6 (a test) and work under
jit and vmap. Astropy: https://docs.astropy.org/en/stable/visualization/
"""

import jax
import jax.numpy as jnp
from jax import Array

# The smallest and largest softening that each stretch takes; the others have
# none. Without the check a run with stretch='log' and the softening of 'asinh'
# would train on images that are nearly linear.
_SOFTENING = {
  'asinh': (1e-5, 1.0),
  'log': (1.0, 1e6),
  'power': (0.1, 10.0),
  'sinh': (0.05, 1.0),
}
# The softenings that astropy takes where none is given, and the paper's power.
DEFAULT_A = {'asinh': 0.1, 'log': 1000.0, 'power': 2.0, 'sinh': 1 / 3}
STRETCHES = ('linear', 'sqrt', 'squared', *_SOFTENING)
INTERVALS = ('minmax', 'zscale', 'sigma_clip')


def check(name: str, a: float) -> None:
  """Refuses an unknown stretch, or a softening that it does not take.

  Raises:
    ValueError: says which there are, or the range.
  """
  if name not in STRETCHES:
    raise ValueError(
      f'No stretch named {name!r}; there are: {", ".join(STRETCHES)}.'
    )
  low, high = _SOFTENING.get(name, (a, a))
  if not low <= a <= high:
    hint = ' (astropy and the paper take 1000)' if name == 'log' else ''
    raise ValueError(
      f'stretch {name!r} has stretch_a={a}; wanted {low:g} to {high:g}{hint}.'
    )


def stretch(x: Array, name: str, a: float) -> Array:
  """Bends values so that faint and bright structure both show.

  Args:
    x: any shape; clipped to [0, 1] first. NaN stays NaN.
    name: one of `STRETCHES`; 'squared' is 'power' with a = 2.
    a: the parameter `a` of astropy's stretch; unused where there is none.

  Returns:
    The same shape, in [0, 1]; 0 and 1 stay where they are.
  """
  check(name, a)
  x = jnp.clip(x, 0, 1)
  if name == 'sqrt':
    return jnp.sqrt(x)
  if name == 'squared':
    return x * x
  if name == 'power':
    return x**a
  if name == 'log':
    return jnp.log1p(a * x) / jnp.log1p(a)
  if name == 'asinh':
    # asinh written out: x >= 0 here, and XLA's own costs three times as much.
    y = x / a
    return jnp.log(y + jnp.sqrt(y * y + 1)) / jnp.arcsinh(1 / a)
  if name == 'sinh':
    return jnp.sinh(x / a) / jnp.sinh(1 / a)
  return x


def limits(
  image: Array, interval: str, *, contrast: Array | float = 0.25
) -> tuple[Array, Array]:
  """The values of one image that an interval maps to 0 and 1.

  Args:
    image: any shape, finite (fill missing pixels with the background first).
    interval: 'minmax'; 'zscale' (IRAF's, with astropy's defaults); or
      'sigma_clip': the extremes of the pixels that survive
      astropy.stats.sigma_clip(image, sigma=3, maxiters=5).
    contrast: of 'zscale', above 0: the smaller, the wider the limits.

  Returns:
    Two scalars, low <= high.
  """
  if interval == 'minmax':
    return image.min(), image.max()
  if interval == 'zscale':
    return _zscale(image, contrast=contrast)
  if interval == 'sigma_clip':
    return _sigma_clip(image)
  raise ValueError(
    f'No interval named {interval!r}; there are: {", ".join(INTERVALS)}.'
  )


def scale(x: Array, low: Array | float, high: Array | float) -> Array:
  """Maps [low, high] on [0, 1], clipped; all 0 where low equals high."""
  width = jnp.asarray(high - low)
  width = jnp.where(width > 0, width, jnp.inf)
  return jnp.clip((x - low) / width, 0, 1)


def _sigma_clip(image, *, sigma=3.0, iterations=5):
  """The survivors of clipping are one run of the sorted pixels: sort once."""
  pixels = jnp.sort(image.reshape(-1))
  index = jnp.arange(pixels.size)

  def clip(bounds, _):
    first, end = bounds
    inside = (index >= first) & (index < end)
    count = end - first
    median = (pixels[first + (count - 1) // 2] + pixels[first + count // 2]) / 2
    mean = jnp.sum(pixels, where=inside) / count
    std = jnp.sqrt(jnp.sum((pixels - mean) ** 2, where=inside) / count)
    keep = inside & (jnp.abs(pixels - median) <= sigma * std)
    first = jnp.argmax(keep)
    return (first, first + keep.sum()), None

  bounds = (jnp.asarray(0), jnp.asarray(pixels.size))
  (first, end), _ = jax.lax.scan(clip, bounds, length=iterations)
  return pixels[first], pixels[end - 1]


def _zscale(
  image, *, contrast, samples=1000, reject=0.5, krej=2.5, iterations=5
):
  """A line through the sorted sample, its outliers rejected in rounds."""
  pixels = image.reshape(-1)
  stride = max(1, pixels.size // samples)
  y = jnp.sort(pixels[::stride][:samples])
  n = y.size
  x = jnp.arange(n, dtype=y.dtype) - (n - 1) / 2
  least = max(5, int(n * reject))
  grow = jnp.ones(max(1, int(n * 0.01)), y.dtype)

  def fit(good):
    count = jnp.maximum(good.sum(), 1)
    x_mean = jnp.sum(x, where=good) / count
    y_mean = jnp.sum(y, where=good) / count
    var = jnp.sum((x - x_mean) ** 2, where=good)
    slope = jnp.sum((x - x_mean) * (y - y_mean), where=good)
    slope = slope / jnp.where(var > 0, var, 1)
    return slope, y - y_mean - slope * (x - x_mean), count

  def round_(carry, _):
    good, last_count, slope = carry
    count = good.sum()
    # Astropy stops here; a fixed number of rounds keeps what it has instead.
    running = (count < last_count) & (count >= least)
    new_slope, flat, _ = fit(good)
    mean = jnp.sum(flat, where=good) / jnp.maximum(count, 1)
    var = jnp.sum((flat - mean) ** 2, where=good) / jnp.maximum(count, 1)
    bad = ~good | (jnp.abs(flat) > krej * jnp.sqrt(var))
    bad = jnp.convolve(bad.astype(y.dtype), grow, mode='same') > 0.5
    carry = (
      jnp.where(running, ~bad, good),
      jnp.where(running, count, last_count),
      jnp.where(running, new_slope, slope),
    )
    return carry, None

  start = (jnp.ones(n, bool), jnp.asarray(n + 1), jnp.zeros((), y.dtype))
  (good, _, slope), _ = jax.lax.scan(round_, start, length=iterations)
  slope = slope / contrast
  middle = (n - 1) // 2
  median = (y[(n - 1) // 2] + y[n // 2]) / 2
  low = jnp.maximum(y[0], median - (middle - 1) * slope)
  high = jnp.minimum(y[-1], median + (n - middle) * slope)
  fitted = good.sum() >= least
  return jnp.where(fitted, low, y[0]), jnp.where(fitted, high, y[-1])
