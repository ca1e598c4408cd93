"""An image as it is to be cut: masked, smoothed and regridded as asked for."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from radio_ssl.data import derived, fits, places, windows

_ALIGNED_WITHIN_PIX = 0.1
# What tasks after the first take for granted of a companion.
_LOOKED_AT = windows.Statistics(1.0, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Steps:
  """What is done with every image before it is cut, in this order.

  Attributes:
    primary_beam_image: path of the image of the primary beam's response,
      `{folder}` and `{stem}` standing for those of the image.
    min_response: pixels of less response are missing.
    target_beam_arcsec: smooth to this round beam.
    pixel_scale_arcsec: resample to pixels of this size.
    allow_coarse_pixels: permits pixels larger than half the beam.
    rms_image: path of the image of the local rms, as `primary_beam_image`; it
      gives the rms of examples instead of their own pixels.
    allow_positive: permits images without a negative pixel.
  """

  primary_beam_image: str | None = None
  min_response: float = 0.3
  target_beam_arcsec: float | None = None
  pixel_scale_arcsec: float | None = None
  allow_coarse_pixels: bool = False
  rms_image: str | None = None
  allow_positive: bool = False

  def companions(self, path: pathlib.Path) -> dict[str, pathlib.Path]:
    """Files that belong to an image, by the name of their field."""
    return {
      field: pathlib.Path(
        pattern.replace('{folder}', str(path.parent)).replace(
          '{stem}', places.FITS_ENDING.sub('', path.name)
        )
      )
      for field in ('primary_beam_image', 'rms_image')
      if (pattern := getattr(self, field)) is not None
    }


@dataclasses.dataclass(frozen=True)
class Prepared:
  """An image, and what it was made of.

  Attributes:
    image: to be cut.
    original: as it is in the file.
    rms: image of the local rms on the original's pixels; None without one.
  """

  image: fits.Image
  original: fits.Image
  rms: fits.Image | None

  def rms_jy_beam(
    self, ra_deg: float, dec_deg: float, field_arcsec: float
  ) -> float | None:
    """Median of the rms image over a field; None where it tells nothing."""
    if self.rms is None:
      return None
    x, y = fits.sky_to_pixel(self.rms.wcs, ra_deg, dec_deg)
    half = field_arcsec / 2 / self.rms.pixel_scale_arcsec
    rows, columns = (
      slice(max(0, round(at - half)), max(0, round(at + half) + 1))
      for at in (float(y), float(x))
    )
    values = self.rms.pixels_jy_beam[rows, columns]
    values = values[values > 0]
    return float(np.median(values)) if values.size else None


@contextlib.contextmanager
def opened(
  path: pathlib.Path,
  steps: Steps,
  *,
  statistics: windows.Statistics | None = None,
  **overrides: Any,
) -> Iterator[Prepared]:
  """Opens an image and does the steps, window by window as it is read.

  Args:
    path: the image.
    steps: to be done.
    statistics: as `fits.opened` takes them.
    **overrides: of `fits.opened`, such as 'unit' and 'channel'.

  Raises:
    fits.FitsError: a bad image, one without a beam, or a companion that is not
      there or not of the same sky.
  """
  with contextlib.ExitStack() as files:
    original = files.enter_context(
      fits.opened(path, statistics=statistics, **overrides)
    )
    check_beam(original)
    if not steps.allow_positive:
      _check_noise(original)
    seen = None if statistics is None else _LOOKED_AT
    others = {
      field: files.enter_context(_companion(original, other, field, seen))
      for field, other in steps.companions(path).items()
    }
    image = original
    if response := others.get('primary_beam_image'):
      image = derived.masked(image, response, steps.min_response)
    if steps.target_beam_arcsec is not None:
      image = derived.smoothed(image, steps.target_beam_arcsec)
    if steps.pixel_scale_arcsec is not None:
      image = derived.regridded(image, steps.pixel_scale_arcsec)
    if not steps.allow_coarse_pixels:
      _check_pixels(image)
    yield Prepared(image, original, others.get('rms_image'))


def check_beam(image: fits.Image | fits.Header) -> None:
  """Refuses an image of unknown beam."""
  if image.beam is None:
    raise fits.FitsError(
      f'{image.path}: no beam in the header. Set beam_arcsec (--beam_arcsec).',
      'beam',
    )


def _check_noise(image: fits.Image) -> None:
  """Refuses maps of the rms or of weights, which surveys keep beside images."""
  if image.statistics.lowest > 0:
    raise fits.FitsError(
      f'{image.path}: no pixel is negative or 0 (the lowest has '
      f'{image.statistics.lowest:.3g} Jy/beam): a map of the rms or weights? '
      'Leave this file out, name it by --rms_image, or set --allow_positive.',
      'no noise',
    )


def _check_pixels(image: fits.Image) -> None:
  coarsest = image.beam.minor_arcsec / 2
  if image.pixel_scale_arcsec > coarsest * (1 + 1e-6):
    raise fits.FitsError(
      f'{image.path}: pixels of {image.pixel_scale_arcsec:.3g} arcsec, larger '
      f'than half the beam ({coarsest:.3g}). Set --allow_coarse_pixels, or '
      'leave this file out.',
      'coarse pixels',
    )


@contextlib.contextmanager
def _companion(
  image: fits.Image,
  path: pathlib.Path,
  field: str,
  statistics: windows.Statistics | None,
) -> Iterator[fits.Image]:
  """The image of the rms or of the response that belongs to an image."""
  with fits.opened(
    path,
    # A response has no unit, and each maker's own word for that.
    unit='Jy/beam' if field == 'primary_beam_image' else None,
    statistics=statistics,
  ) as other:
    height, width = image.pixels_jy_beam.shape
    x, y = np.array([0, 0, width - 1, width - 1]), np.array([0, height - 1] * 2)
    there = fits.sky_to_pixel(other.wcs, *fits.pixel_to_sky(image.wcs, x, y))
    # Corners of maps of the whole sky are no places on it.
    off = np.fmax.reduce(np.abs(np.stack(there) - [x, y]), None)
    same_shape = other.pixels_jy_beam.shape == (height, width)
    if not same_shape or off > _ALIGNED_WITHIN_PIX:
      raise fits.FitsError(
        f'{image.path}: {field} {path} has {other.pixels_jy_beam.shape} pixels '
        f'for {(height, width)}, corners up to {off:.3g} pixels away. Wanted '
        'the same pixels of the same sky.',
        'companion',
      )
    yield other
