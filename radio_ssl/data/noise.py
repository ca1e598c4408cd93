"""Local background, noise and limits of one image, and the flux above them.

Radio sources are positive, so they bend upwards every statistic that they
touch. Both halves of the answer lean on the other side: clipping starts from
the median and the median absolute deviation, and the rms comes from the pixels
below the background alone.
"""

import astropy.stats
import astropy.visualization
import numpy as np
import scipy.stats

_CLIP_SIGMA = 3.0
# The standard deviation of a unit Gaussian cut at 3 sigma.
_RMS_OF_CLIPPED = float(
  np.sqrt(
    1
    - 2
    * _CLIP_SIGMA
    * scipy.stats.norm.pdf(_CLIP_SIGMA)
    / (1 - 2 * scipy.stats.norm.sf(_CLIP_SIGMA))
  )
)


def background_and_rms(pixels: np.ndarray) -> tuple[float, float]:
  """The level and the rms of the noise that sources stand on.

  A source over 30 % of the pixels moves the rms by 3 % and the background by
  0.1 rms; over 45 %, by 8 % and 0.15 rms.

  Args:
    pixels: any shape and unit; NaN pixels are left out.

  Returns:
    (background, rms) in the unit of the pixels; NaN for both where no pixel is
    finite. The rms of a constant image is 0.
  """
  finite = pixels[np.isfinite(pixels)].astype(np.float32, copy=False)
  if not finite.size:
    return float('nan'), float('nan')
  # With an axis, astropy clips in C, 5 times faster than without.
  kept = astropy.stats.sigma_clip(
    finite,
    sigma=_CLIP_SIGMA,
    maxiters=20,
    cenfunc='median',
    stdfunc='mad_std',
    axis=0,
    masked=False,
  )
  kept = kept[np.isfinite(kept)].astype(np.float64)
  background = np.median(kept)
  below = kept[kept < background]
  if not below.size:
    return float(background), 0.0
  rms = np.sqrt(np.mean((below - background) ** 2)) / _RMS_OF_CLIPPED
  return float(background), float(rms)


def limits(pixels: np.ndarray, interval: str) -> tuple[float, float]:
  """The values that a picture of the image shows as black and white.

  Args:
    pixels: any shape; NaN pixels are left out.
    interval: 'minmax', 'zscale' (IRAF's) or 'sigma_clip' (background - 1 rms to
      background + 30 rms).

  Returns:
    (low, high) in the unit of the pixels, NaN where no pixel is finite.
  """
  finite = pixels[np.isfinite(pixels)]
  if not finite.size:
    return float('nan'), float('nan')
  if interval == 'minmax':
    return float(finite.min()), float(finite.max())
  if interval == 'zscale':
    low, high = astropy.visualization.ZScaleInterval().get_limits(finite)
    return float(low), float(high)
  if interval == 'sigma_clip':
    background, rms = background_and_rms(finite)
    return background - rms, background + 30 * rms
  raise ValueError(
    f'No interval named {interval!r}; there are: minmax, zscale, sigma_clip.'
  )


def flux_jy(
  pixels_jy_beam: np.ndarray,
  *,
  background_jy_beam: float,
  rms_jy_beam: float,
  beam_area_pix: float,
  radius_pix: float | None = None,
) -> float:
  """Flux of what stands 3 rms above the background.

  Args:
    pixels_jy_beam: [y, x], NaN counts as nothing.
    background_jy_beam: taken off every pixel.
    rms_jy_beam: of the noise.
    beam_area_pix: solid angle of the beam in pixels of this image.
    radius_pix: only pixels this close to the centre of the image count; None
      for all.

  Returns:
    Jy; 0 where nothing stands out. It leaves out wings below 3 rms and takes in
    every source inside the radius: a description of the cutout, not photometry.
  """
  above = np.asarray(pixels_jy_beam, np.float64) - background_jy_beam
  use = above > 3 * rms_jy_beam
  if radius_pix is not None:
    height, width = above.shape
    y, x = np.ogrid[:height, :width]
    distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    use &= distance <= radius_pix
  return float(above[use].sum() / beam_area_pix)
