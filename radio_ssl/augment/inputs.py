"""How a stored image becomes what an encoder sees.

One object for training, evaluation and prediction, saved in every checkpoint.
Order: missing pixels -> background and rms -> central field, resampled with a
low-pass -> (in training: warp, blur, noise) -> interval -> stretch.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from radio_ssl.augment import resample, stretch
from radio_ssl.data import examples

INTERVALS = ('noise', *stretch.INTERVALS)


@dataclasses.dataclass(frozen=True)
class Input:
  """The deterministic part of what an encoder sees.

  Attributes:
    size_pix: height and width.
    field_arcsec: side of the central square of the sky that is mapped on
      `size_pix`. None takes the whole image, whatever its angle: right where
      every cutout was scaled to its source, and the only choice where pixel
      scales differ. 172.8 is 96 pixels of FIRST at half the beam per pixel
      (64 x 2.7); its diagonal, 244 arcsec, still fits into the 270 arcsec of
      the MiraBest batches, so that no rotation shows a corner.
    channels: 1; or 3, the same image three times, for encoders from natural
      images.
    interval: what becomes 0 and 1: 'noise' (`clip_low` and `clip_high`, in
      units of the rms), or 'minmax', 'zscale', 'sigma_clip' of each image's
      field (the paper's; an empty field becomes amplified noise).
    clip_low: in rms; for 'noise'. At 1 five sixths of an empty sky are black
      and lobes of 2 rms still show. At -3 the sky is a grey grain that FITS
      images have and clipped pictures lack: the two forms of one source then
      differ by half of what two sources do, at 1 by less than 0.4.
    clip_high: in rms; for 'noise'. Of 828 MiraBest FITS 11 % peak above 300,
      2 % above 1000.
    stretch: one of `radio_ssl.augment.stretch.STRETCHES`.
    stretch_a: its parameter, astropy's `a`. 0.003 of 1000 rms: linear up to
      about 3 rms, logarithmic above, so that faint lobes and the order of the
      bright spots both show.
    full_scale_sigma: an 8-bit picture carries no noise level; 255 is taken
      for that many rms. 90 is the median peak of those FITS inside
      the default field.
    allow_coarse_pixels: pixels larger than half the beam merge what the
      telescope separated, and are refused unless this is set.
  """

  size_pix: int = 64
  field_arcsec: float | None = 172.8
  channels: int = 1
  interval: str = 'noise'
  clip_low: float = 1.0
  clip_high: float = 1000.0
  stretch: str = 'asinh'
  stretch_a: float = 0.003
  full_scale_sigma: float = 90.0
  allow_coarse_pixels: bool = False


def parse(fields: Mapping[str, Any]) -> Input:
  """`config.input` as an `Input`; ValueError on a field that it lacks."""
  known = [field.name for field in dataclasses.fields(Input)]
  if unknown := sorted(set(fields) - set(known)):
    raise ValueError(
      f'input has no field {unknown[0]!r}; there are: {", ".join(known)}.'
    )
  return Input(**fields)


def field_pix(input: Input, geometry: examples.Geometry) -> float:
  """Side of the central field in pixels of the stored image."""
  if input.field_arcsec is None:
    return float(min(geometry.height, geometry.width))
  return input.field_arcsec / geometry.pixel_scale_arcsec


def validate(input: Input, geometry: examples.Geometry) -> None:
  """Refuses settings that do not fit together or do not fit the images.

  Args:
    input: the settings.
    geometry: what all images of the data set share.

  Raises:
    ValueError: one line: the field, its value, what was wanted.
  """
  stretch.check(input.stretch, input.stretch_a)
  if input.interval not in INTERVALS:
    raise ValueError(
      f'No interval named {input.interval!r}; '
      f'there are: {", ".join(INTERVALS)}.'
    )
  if input.channels not in (1, 3):
    raise ValueError(f'input.channels is {input.channels}; wanted 1 or 3.')
  if input.size_pix < 8:
    raise ValueError(f'input.size_pix is {input.size_pix}; wanted 8 or more.')
  if not input.clip_low < input.clip_high:
    raise ValueError(
      f'input.clip_low={input.clip_low} is not below '
      f'input.clip_high={input.clip_high}.'
    )
  if not input.full_scale_sigma > 0:
    raise ValueError(
      f'input.full_scale_sigma is {input.full_scale_sigma}; wanted > 0.'
    )
  if geometry.dtype not in ('float32', 'uint8'):
    raise ValueError(f'images are {geometry.dtype}; wanted float32 or uint8.')
  _validate_field(input, geometry)


def _validate_field(input, geometry):
  if input.field_arcsec is not None:
    if geometry.pixel_scale_arcsec is None:
      raise ValueError(
        f'input.field_arcsec={input.field_arcsec}, but the pixel scale of '
        'these images is unknown or varies. Build the set with '
        '--pixel_scale_arcsec, or set input.field_arcsec=None (the whole '
        'image).'
      )
    side = min(geometry.height, geometry.width) * geometry.pixel_scale_arcsec
    if not 0 < input.field_arcsec <= side * (1 + 1e-6):
      raise ValueError(
        f'input.field_arcsec is {input.field_arcsec}; wanted more than 0 and '
        f'at most {side:g}, the side of these images.'
      )
  refuse_coarse_pixels(
    input, geometry, field_pix(input, geometry) / input.size_pix, 'input'
  )


def refuse_coarse_pixels(
  input: Input, geometry: examples.Geometry, step: float, whose: str
) -> None:
  """Raises ValueError where pixels would be larger than half the minor axis.

  Args:
    input: may allow them.
    geometry: where it knows no beam or pixel scale, nothing is refused.
    step: side of the new pixels in pixels of the stored image.
    whose: names the culprit in the message.
  """
  scale = geometry.pixel_scale_arcsec
  beam = geometry.beam_minor_arcsec or geometry.beam_major_arcsec
  if input.allow_coarse_pixels or scale is None or beam is None:
    return
  # Where the survey itself samples its beam by less, that is what there is.
  if step * scale > max(beam / 2, scale) * (1 + 1e-6):
    raise ValueError(
      f'{whose}: pixels of {step * scale:.3g} arcsec are larger than half the '
      f'beam of {beam:g}; raise size_pix, lower field_arcsec, or set '
      'input.allow_coarse_pixels.'
    )


def to_sigma(
  images: Array, background: Array, rms: Array, input: Input
) -> Array:
  """Linear pixels in units of the noise; missing ones are the background.

  Args:
    images: [B, H, W, 1], float (NaN = missing) or uint8 (255 becomes
      `input.full_scale_sigma`).
    background: [B], in the images' unit; unused for uint8.
    rms: [B], the same; where it is 0 or not finite, as in an empty image, 1.
    input: for `full_scale_sigma`.

  Returns:
    [B, H, W, 1] float32, finite, background 0.
  """
  if images.dtype == jnp.uint8:
    return images.astype(jnp.float32) * (input.full_scale_sigma / 255)
  usable = jnp.isfinite(rms) & (rms > 0)
  rms = jnp.where(usable, rms, 1)[:, None, None, None]
  sigma = (images - background[:, None, None, None]) / rms
  return jnp.where(jnp.isfinite(sigma), sigma, 0).astype(jnp.float32)


def frame(
  batch: Mapping[str, Array], input: Input, size: int, step: float
) -> Array:
  """The centre of each image in units of the noise, on another pixel grid.

  Args:
    batch: 'image' [B, H, W, 1], 'background' [B], 'rms' [B].
    input: for `to_sigma`.
    size: pixels of the result along each side.
    step: side of its pixels in pixels of the stored image.

  Returns:
    [B, size, size] float32; 0, the background, outside the image.
  """
  images = batch['image']
  rows, columns = (resample.window(n, size, step) for n in images.shape[1:3])
  sigma = to_sigma(
    images[:, rows, columns], batch['background'], batch['rms'], input
  )
  return resample.resample(sigma[..., 0], size, step)


def limits(
  batch: Mapping[str, Array], input: Input, geometry: examples.Geometry
) -> tuple[Array, Array]:
  """What becomes 0 and 1 in each image, in units of the noise: two [B].

  An interval of the image looks at the stored pixels of the central field, so
  that all views of an image, and `prepare`, scale it alike.
  """
  if input.interval == 'noise':
    shape = batch['image'].shape[:1]
    return jnp.full(shape, input.clip_low), jnp.full(shape, input.clip_high)
  size = round(field_pix(input, geometry))
  # As odd or even as the image: a plain cut, nothing is interpolated.
  size += (size - geometry.height) % 2
  pixels = frame(batch, input, size, 1.0)
  return jax.vmap(lambda image: stretch.limits(image, input.interval))(pixels)


def display(
  images: Array, low: Array | float, high: Array | float, input: Input
) -> Array:
  """Interval and stretch: any shape, linear -> [0, 1]."""
  return stretch.stretch(
    stretch.scale(images, low, high), input.stretch, input.stretch_a
  )


def prepare(
  batch: Mapping[str, Array], input: Input, geometry: examples.Geometry
) -> Array:
  """The one deterministic view of each image, for evaluation and prediction.

  Args:
    batch: 'image' [B, H, W, 1] float32 or uint8, 'background' [B], 'rms' [B].
    input: the checkpoint's.
    geometry: of the data set that the batch comes from.

  Returns:
    [B, size_pix, size_pix, channels] float32 in [0, 1].

  Raises:
    ValueError: as in `validate`.
  """
  validate(input, geometry)
  step = field_pix(input, geometry) / input.size_pix
  images = frame(batch, input, input.size_pix, step)
  low, high = limits(batch, input, geometry)
  images = display(images, low[:, None, None], high[:, None, None], input)
  return jnp.repeat(images[..., None], input.channels, axis=-1)
