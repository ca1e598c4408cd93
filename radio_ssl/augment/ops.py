"""Random changes of one image [H, W] in units of the noise, one key each.

Every docstring says what happens to the flux and to the size of a source.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array

# A Gaussian ends at this many standard deviations.
_REACH = 3.0
SIGMA_PER_FWHM = 1 / (2 * math.sqrt(2 * math.log(2)))


def positions(
  size: int,
  *,
  zoom: Array | float,
  angle: Array | float,
  flip: Array | bool,
  shift: Array,
) -> tuple[Array, Array]:
  """Where each pixel of a view looks, relative to the centre of the frame.

  The view is mirrored in x where `flip`, scaled by `zoom`, moved by `shift`,
  and the whole turned by `angle` about the centre of the frame.

  Args:
    size: pixels of the view along each side.
    zoom: pixels of the frame per pixel of the view.
    angle: in radians; a source on the +x axis of the view lies at this angle
      from +x towards +y in the frame.
    flip: mirror.
    shift: [2], (y, x) of the view's centre before the turn, in frame pixels.

  Returns:
    y and x, each [size, size], in pixels of the frame from its centre.
  """
  offset = (jnp.arange(size) - (size - 1) / 2) * zoom
  y = offset[:, None] + shift[0]
  x = jnp.where(flip, -1.0, 1.0) * offset[None, :] + shift[1]
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  return sin * x + cos * y, cos * x - sin * y


def warp(frame: Array, y: Array, x: Array) -> Array:
  """Looks an image up at any positions: crop, turn and mirror in one gather.

  Bilinear. Surface brightness is kept (a constant stays constant), with it
  the flux where `positions` are as dense as the frame's pixels; sources are
  smeared by at most half a pixel of the frame. Positions outside the frame
  are the background, 0.

  Args:
    frame: [H, W].
    y: any shape, in pixels from the centre of the frame, which is
      ((H - 1) / 2, (W - 1) / 2).
    x: the same shape.

  Returns:
    That shape.
  """
  height, width = frame.shape
  # A border of background all round: positions beyond it are moved onto it.
  frame = jnp.pad(frame, ((1, 2), (1, 2)))
  y = jnp.clip(y + (height + 1) / 2, 0, height + 1)
  x = jnp.clip(x + (width + 1) / 2, 0, width + 1)
  row, column = y.astype(jnp.int32), x.astype(jnp.int32)
  dy, dx = y - row, x - column
  pixels = frame.reshape(-1)
  first = row * (width + 3) + column

  def at(offset):
    return pixels.at[first + offset].get(mode='promise_in_bounds')

  top = at(0) * (1 - dx) + at(1) * dx
  bottom = at(width + 3) * (1 - dx) + at(width + 4) * dx
  return top * (1 - dy) + bottom * dy


def warp_bicubic(frame: Array, y: Array, x: Array) -> Array:
  """`warp` by cubic convolution, Keys 1981, with a = -1/2 as in Pillow.

  Sharper, by sixteen pixels in place of four. Beside a bright core it goes
  below what there is, by 2/27 of a lone pixel at most: a dark ring, and an
  edge that is steeper than the beam's.
  """
  height, width = frame.shape
  # As in `warp`, of the three pixels that a position looks at beside its own.
  frame = jnp.pad(frame, 3)
  y = jnp.clip(y + (height + 5) / 2, 1, height + 3)
  x = jnp.clip(x + (width + 5) / 2, 1, width + 3)
  row, column = y.astype(jnp.int32), x.astype(jnp.int32)
  pixels = frame.reshape(-1)
  result = 0.0
  for i, of_row in enumerate(_cubic(y - row)):
    for j, of_column in enumerate(_cubic(x - column)):
      place = (row + i - 1) * (width + 6) + column + j - 1
      found = pixels.at[place].get(mode='promise_in_bounds')
      result += of_row * of_column * found
  return result


def _cubic(t: Array) -> tuple[Array, Array, Array, Array]:
  """Weights of the pixels at -1, 0, 1 and 2 for positions t in [0, 1)."""

  def near(d):
    return (1.5 * d - 2.5) * d**2 + 1

  def far(d):
    return ((-0.5 * d + 2.5) * d - 4) * d + 2

  return far(1 + t), near(t), near(1 - t), far(2 - t)


def reach_pix(sigma_pix: float) -> int:
  """Half-width of the square that holds a Gaussian of that width."""
  return math.ceil(_REACH * sigma_pix)


def _smoothing(size: int, sigma_pix: Array | float, border: int) -> Array:
  """One axis of a Gaussian smoothing as a matrix, [size, size + 2 border].

  A product with it runs at the speed of the hardware everywhere; a
  convolution whose kernel differs from image to image does not.
  """
  row = jnp.arange(size)[:, None] + border
  column = jnp.arange(size + 2 * border)[None, :]
  # Below a fifth of a pixel the samples no longer tell the width, and the
  # matrix is the identity to 4e-6.
  sigma = jnp.maximum(jnp.asarray(sigma_pix, jnp.float32), 0.2)
  return jnp.exp(-0.5 * ((row - column) / sigma) ** 2)


def _both_axes(matrix: Array, image: Array) -> Array:
  # Under the TPU's default precision a bright core would lose 0.4 %.
  highest = jax.lax.Precision.HIGHEST
  image = jnp.matmul(matrix, image, precision=highest)
  return jnp.matmul(image, matrix.T, precision=highest)


def blur(image: Array, sigma_pix: Array | float) -> Array:
  """Smooths with a round Gaussian that sums to 1.

  A constant stays constant and the sum over a source is kept, in Jy per beam
  *as it was*; its peak falls and its size grows, sigma^2 by sigma_pix^2. (An
  image given in Jy per *new* beam would be larger by the ratio of the areas.)

  Args:
    image: [S, S]; at its edge the part of the Gaussian that is inside counts.
    sigma_pix: standard deviation in pixels, may be traced; 0 changes nothing.

  Returns:
    [S, S].
  """
  matrix = _smoothing(len(image), sigma_pix, 0)
  return _both_axes(matrix / matrix.sum(axis=1, keepdims=True), image)


def larger_beam(
  image: Array, sigma_pix: Array | float, factor: Array | float
) -> Array:
  """What a telescope with a larger round beam would have seen.

  Smoothed from the one Gaussian to the other and given in Jy per *new* beam,
  larger by the ratio of the areas: a point source keeps its peak, every source
  its flux, and sizes grow. An extended source rises above a point source.

  Args:
    image: [S, S], background 0.
    sigma_pix: standard deviation of the beam that it has, in pixels.
    factor: new beam over old one, 1 or more; 1 changes nothing.

  Returns:
    [S, S].
  """
  wider = jnp.sqrt(jnp.maximum(jnp.square(factor) - 1, 0))
  return blur(image, sigma_pix * wider) * jnp.square(factor)


def plane(
  image: Array, offset: Array | float, slope_y: Array, slope_x: Array
) -> Array:
  """Adds a background that the reduction left: a level and a gradient.

  Args:
    image: [S, S].
    offset: added everywhere, in the unit of the image.
    slope_y: what the last row gets more than the first; fluxes change by what
      lies under the source, sizes by nothing but faint wings.
    slope_x: the same for columns.

  Returns:
    [S, S].
  """
  ramp = jnp.linspace(-0.5, 0.5, len(image))
  return image + offset + slope_y * ramp[:, None] + slope_x * ramp[None, :]


def floor_at_percentile(image: Array, percentile: Array | float) -> Array:
  """Lifts what is fainter than a percentile of the image up to it.

  As in published pictures whose noise was clipped away: faint lobes and noise
  go alike, sources look smaller, what is brighter keeps its value.

  Args:
    image: [S, S].
    percentile: 0 to 100; 0 changes nothing.

  Returns:
    [S, S].
  """
  return jnp.maximum(image, jnp.percentile(image, percentile))


def correlated_noise(
  rng: Array, size: int, sigma_pix: Array | float, reach: int
) -> Array:
  """Noise as an interferometer leaves it: smooth on the scale of the beam.

  White noise smoothed by the beam and brought back to an rms of 1, up to the
  edges. Added to an image it leaves flux (on average) and sizes alone.

  Args:
    rng: key.
    size: pixels of each side.
    sigma_pix: standard deviation of the beam in pixels, may be traced.
    reach: of the largest beam, static; see `reach_pix`.

  Returns:
    [size, size]; two pixels at distance d correlate as
    exp(-d^2 / (4 sigma_pix^2)).
  """
  white = jax.random.normal(rng, (size + 2 * reach, size + 2 * reach))
  matrix = _smoothing(size, sigma_pix, reach)
  rms = jnp.sqrt(jnp.sum(matrix**2, axis=1, keepdims=True))
  return _both_axes(matrix / rms, white)


def gamma(image: Array, exponent: Array | float) -> Array:
  """Bends the stretch: image ** exponent, for an image in [0, 1].

  Flux ratios change, their order and every outline stay; above 1 faint lobes
  sink towards black, below 1 they rise towards the core.
  """
  tiny = jnp.finfo(image.dtype).tiny
  return jnp.exp(exponent * jnp.log(jnp.maximum(image, tiny)))


def contrast(
  image: Array, factor: Array | float, brightness: Array | float
) -> Array:
  """Stretches a stretched image about its mean, shifts it, clips to [0, 1].

  [S, S], or [S, S, C], where each channel has a mean of its own.
  No outline moves. Faint parts may reach 0, bright ones 1.
  """
  mean = image.mean(axis=(0, 1), keepdims=True)
  return jnp.clip((image - mean) * factor + mean + brightness, 0, 1)
