"""Images made from an image while parts of it are read.

Each takes a `fits.Image` and gives one with other pixels, beam or WCS, of which
any window can be read; nothing larger than that is ever in memory.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.fft

from radio_ssl.data import fits, resample

# Work on windows as wide as a mosaic would need several times its memory.
_COLUMNS_AT_ONCE = 1024
# A Gaussian is below 4e-6 of its peak there.
_REACH_SIGMA = 5
_SIGMA_OF_FWHM = 1 / np.sqrt(8 * np.log(2))
# Beams are rounded in headers.
_SAME_BEAM = 1e-3


class _Computed:
  """Reads like a `windows.Windows`; each window is computed."""

  def __init__(
    self,
    compute: Callable[[slice, slice], np.ndarray],
    shape: tuple[int, int],
  ):
    self.shape = shape
    self._compute = compute

  def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
    """float32 [y, x], NaN where not measured; ends beyond the image are cut."""
    rows, columns = (
      slice(*part.indices(length)[:2])
      for part, length in zip(index, self.shape, strict=True)
    )
    height = max(0, rows.stop - rows.start)
    blocks = [np.empty((height, 0), np.float32)]
    for start in range(columns.start, columns.stop, _COLUMNS_AT_ONCE):
      stop = min(start + _COLUMNS_AT_ONCE, columns.stop)
      if height:
        blocks.append(self._compute(rows, slice(start, stop)))
    return np.concatenate(blocks, axis=1)


def masked(image: fits.Image, response: fits.Image, least: float) -> fits.Image:
  """NaN where the primary beam's response is less than `least`, or unknown.

  Args:
    image: on the same pixels as the response.
    response: of the primary beam, 1 at its centre.
    least: 0 to 1.
  """

  def compute(rows: slice, columns: slice) -> np.ndarray:
    pixels = image.pixels_jy_beam[rows, columns].copy()
    pixels[~(response.pixels_jy_beam[rows, columns] >= least)] = np.nan
    return pixels

  return _with(image, compute, image.pixels_jy_beam.shape)


def smoothed(image: fits.Image, beam_arcsec: float) -> fits.Image:
  """The image as a larger, round beam would have seen it.

  It is convolved with the Gaussian that makes the one beam of the other, and
  scaled by the ratio of their areas: a point source keeps its peak in Jy/beam,
  an extended one gains. Missing pixels, and what lies beyond the edge, pull on
  nothing; they stay missing. The angle of the beam counts from the north of the
  image's own frame at its reference pixel.

  Args:
    image: with a beam.
    beam_arcsec: FWHM.

  Raises:
    fits.FitsError: the image's beam is larger.
  """
  beam = image.beam
  if beam.major_arcsec > beam_arcsec * (1 + _SAME_BEAM):
    raise fits.FitsError(
      f'{image.path}: its beam of {beam.major_arcsec:.4g} arcsec is larger '
      f'than the wanted {beam_arcsec:.4g}. Raise target_beam_arcsec, or leave '
      'this file out.',
      'beam too large',
    )
  target = fits.Beam(beam_arcsec, beam_arcsec, 0.0)
  spread = _covariance_pix(image, target) - _covariance_pix(image, beam)
  # Rounding makes a beam that is there already a little too large.
  values, vectors = np.linalg.eigh(spread)
  spread = vectors @ np.diag(np.maximum(values, 0)) @ vectors.T
  reach = 8 + int(np.ceil(_REACH_SIGMA * np.sqrt(spread.diagonal().max())))
  factor = target.area_arcsec2 / beam.area_arcsec2

  def compute(rows: slice, columns: slice) -> np.ndarray:
    top, left = max(0, rows.start - reach), max(0, columns.start - reach)
    wide = image.pixels_jy_beam[
      top : rows.stop + reach, left : columns.stop + reach
    ]
    made = _convolved(wide, spread) * np.float32(factor)
    return made[
      rows.start - top : rows.stop - top,
      columns.start - left : columns.stop - left,
    ]

  made = _with(image, compute, image.pixels_jy_beam.shape)
  return dataclasses.replace(made, beam=target)


def _covariance_pix(image: fits.Image, beam: fits.Beam) -> np.ndarray:
  """Of the beam's Gaussian, in pixels, [2, 2] for (x, y)."""
  angle = np.radians(beam.pa_deg)
  axes = np.array(  # Columns: major and minor axis as (east, north).
    [[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]]
  )
  sigmas = _SIGMA_OF_FWHM * np.array([beam.major_arcsec, beam.minor_arcsec])
  to_pixels = np.linalg.inv(image.wcs.pixel_scale_matrix * 3600)
  half = to_pixels @ axes @ np.diag(sigmas)
  return half @ half.T


def _convolved(pixels: np.ndarray, covariance: np.ndarray) -> np.ndarray:
  """With a Gaussian of integral 1; float32, NaN where there was NaN."""
  missing = ~np.isfinite(pixels)
  total = _gaussian(np.where(missing, 0, pixels), covariance)
  weight = _gaussian((~missing).astype(float), covariance)
  with np.errstate(invalid='ignore', divide='ignore'):
    made = (total / weight).astype(np.float32)
  made[missing] = np.nan
  return made


def _gaussian(values: np.ndarray, covariance: np.ndarray) -> np.ndarray:
  """Convolution, exact for what the pixels sample; zeros beyond the edge."""
  reach = int(np.ceil(_REACH_SIGMA * np.sqrt(covariance.diagonal().max())))
  height, width = (
    scipy.fft.next_fast_len(n + reach + 1, real=True) for n in values.shape
  )
  # In Fourier space the narrowest of Gaussians needs no sampling.
  v, u = scipy.fft.fftfreq(height)[:, None], scipy.fft.rfftfreq(width)[None]
  (xx, xy), (_, yy) = covariance
  power = -2 * np.pi**2 * (xx * u * u + 2 * xy * u * v + yy * v * v)
  spectrum = scipy.fft.rfft2(values, (height, width)) * np.exp(power)
  made = scipy.fft.irfft2(spectrum, (height, width))
  return made[: values.shape[0], : values.shape[1]]


def regridded(image: fits.Image, pixel_scale_arcsec: float) -> fits.Image:
  """The image on square pixels of another size, in its own orientation.

  What does not fill a last pixel is left over on both sides alike. Jy/beam is a
  surface brightness and stays (`resample`).

  Args:
    image: of any pixel scale.
    pixel_scale_arcsec: side of the new pixels.
  """
  ratio = pixel_scale_arcsec / image.pixel_scale_arcsec
  old = image.pixels_jy_beam.shape
  shape = tuple(max(1, int(n / ratio + 1e-6)) for n in old)
  # Where the new image's first edge lies, in old pixels from the old edge.
  left_over = [(n - m * ratio) / 2 for n, m in zip(old, shape, strict=True)]

  def compute(rows: slice, columns: slice) -> np.ndarray:
    y, x = (
      (np.arange(part.start, part.stop) + 0.5) * ratio + first - 0.5
      for part, first in zip((rows, columns), left_over, strict=True)
    )
    grid = np.meshgrid(y, x, indexing='ij')
    return resample.sample(image.pixels_jy_beam, *grid, ratio)

  wcs = image.wcs.deepcopy()
  wcs.wcs.crpix = [
    (at - 0.5 - first) / ratio + 0.5
    for at, first in zip(wcs.wcs.crpix, left_over[::-1], strict=True)
  ]
  if wcs.wcs.has_cd():
    wcs.wcs.cd = wcs.wcs.cd * ratio
  else:
    wcs.wcs.cdelt = np.array(wcs.wcs.cdelt) * ratio
  wcs.wcs.set()
  wcs.array_shape = shape
  made = _with(image, compute, shape)
  return dataclasses.replace(
    made, wcs=wcs, pixel_scale_arcsec=pixel_scale_arcsec
  )


def _with(
  image: fits.Image,
  compute: Callable[[slice, slice], np.ndarray],
  shape: tuple[int, int],
) -> fits.Image:
  return dataclasses.replace(image, pixels_jy_beam=_Computed(compute, shape))
