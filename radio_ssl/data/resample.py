"""An image's values between its pixels."""

import numpy as np
import scipy.ndimage

from radio_ssl.data import windows

# Cubic splines forget a pixel's value after about this many pixels.
_SPLINE_MARGIN_PIX = 8
# What falls this close to whole pixels is copied, not interpolated.
_COPY_WITHIN_PIX = 0.05
# Low-pass before larger pixels: sigma of the new pixel's response, in new
# pixels. A point source then keeps its sum to 1 % wherever it falls.
_LOW_PASS_SIGMA = 0.6


def sample(
  pixels: np.ndarray | windows.Windows,
  y: np.ndarray,
  x: np.ndarray,
  ratio: float,
) -> np.ndarray:
  """Values of an image at some positions in it, as surface brightness.

  Args:
    pixels: [H, W] or what reads slices of it; NaN where not measured.
    y: [h, w], 0-based rows; all NaN for a grid that is off the image.
    x: [h, w], 0-based columns.
    ratio: new pixels are this many times as large; above 1 the image is
      low-passed first.

  Returns:
    float32 [h, w], NaN outside the image and where data are missing.
  """
  result = np.full(y.shape, np.nan, np.float32)
  if not np.isfinite(y[0, 0]):
    return result
  low_pass = _LOW_PASS_SIGMA * np.sqrt(max(0.0, ratio**2 - 1))
  margin = _SPLINE_MARGIN_PIX + int(np.ceil(4 * low_pass))
  y0, y1 = _window(y, margin, pixels.shape[0])
  x0, x1 = _window(x, margin, pixels.shape[1])
  if y0 >= y1 or x0 >= x1:
    return result
  window = pixels[y0:y1, x0:x1]
  missing = np.isnan(window)
  if missing.all():
    return result
  y, x = y - y0, x - x0
  inside = (y > -0.5) & (y < y1 - y0 - 0.5) & (x > -0.5) & (x < x1 - x0 - 0.5)
  whole_y, whole_x = np.rint(y), np.rint(x)
  off = max(abs(y - whole_y).max(), abs(x - whole_x).max())
  # Twice as large pixels fall on whole ones too, and must be low-passed.
  if off < _COPY_WITHIN_PIX and ratio < 1.5:
    at = whole_y[inside].astype(int), whole_x[inside].astype(int)
    result[inside] = window[at]
    return result
  filled = np.where(missing, np.nanmedian(window), window)
  weight = (~missing).astype(np.float32)
  if low_pass > 0:
    weight = scipy.ndimage.gaussian_filter(weight, low_pass, mode='nearest')
    # Normalised by the weight, missing pixels pull on nothing.
    smooth = scipy.ndimage.gaussian_filter(
      np.where(missing, 0, window), low_pass, mode='nearest'
    )
    seen = weight > 1e-3
    filled[seen] = smooth[seen] / weight[seen]
  at = np.stack([y[inside], x[inside]])
  values = scipy.ndimage.map_coordinates(filled, at, order=3, mode='nearest')
  if missing.any():
    seen = scipy.ndimage.map_coordinates(weight, at, order=1, mode='nearest')
    values[seen <= 0.5] = np.nan
  result[inside] = values
  return result


def _window(at: np.ndarray, margin: int, length: int) -> tuple[int, int]:
  low, high = int(np.floor(at.min())), int(np.ceil(at.max()))
  return max(0, low - margin), min(length, high + margin + 1)
