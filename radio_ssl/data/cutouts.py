"""Pieces of an image: sliding-window tiles and source-centred cutouts.

Tiles are whole pixels of the image, untouched. A cutout is drawn on its own
north-up tangent grid centred on the source, so that rotated, Galactic and wide
images give the same picture of it. Pixels are a surface brightness (Jy/beam):
resampling keeps their values, whatever the size of the new pixels.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import astropy.coordinates
import numpy as np
import scipy.interpolate

from radio_ssl.data import fits, resample

# The grid of a cutout is found exactly on this many nodes a side.
_NODES = 9


@dataclasses.dataclass(frozen=True)
class Cutout:
  """A piece of an image.

  Attributes:
    pixels_jy_beam: float32 [y, x], NaN where nothing was measured.
    surroundings_jy_beam: the same on a frame that is up to twice as wide, for
      noise estimates; on the same pixel scale.
    ra_deg: ICRS position of the centre, pixel ((W - 1) / 2, (H - 1) / 2).
    dec_deg: as ra_deg.
    pixel_scale_arcsec: side of a pixel.
    rotation_deg: of the columns from the north, north through east.
    corner: (y, x) of a tile's first pixel in its image; None for cutouts.
  """

  pixels_jy_beam: np.ndarray
  surroundings_jy_beam: np.ndarray
  ra_deg: float
  dec_deg: float
  pixel_scale_arcsec: float
  rotation_deg: float = 0.0
  corner: tuple[int, int] | None = None

  @property
  def field_arcsec(self) -> float:
    """Side on the sky."""
    return len(self.pixels_jy_beam) * self.pixel_scale_arcsec


def tile_corners(length: int, size: int, stride: int) -> list[int]:
  """First pixels of the tiles along one axis.

  Tiles lie wholly inside. Where the stride does not end at the edge, a last
  tile is moved back to end there, so that every pixel is in some tile.

  Args:
    length: of the image's axis, in pixels.
    size: of a tile.
    stride: from one tile to the next.

  Returns:
    Ascending; empty where the image is smaller than a tile.
  """
  if size < 1 or stride < 1:
    raise ValueError(f'tile {size} and stride {stride} must be 1 or more')
  if length < size:
    return []
  corners = list(range(0, length - size + 1, stride))
  if corners[-1] != length - size:
    corners.append(length - size)
  return corners


def tiles(
  image: fits.Image,
  *,
  size: int,
  stride: int,
  max_missing: float = 0.1,
  rows: Sequence[int] | None = None,
) -> Iterator[Cutout]:
  """Sliding-window tiles in the image's own pixels, from the first row up.

  Args:
    image: what to cut.
    size: side of a tile in pixels.
    stride: step between tiles in pixels; `tile_corners` tells the edge rule.
    max_missing: tiles with a larger fraction of NaN pixels are left out.
    rows: first rows of the wanted ones; None for all that there are.

  Yields:
    Tiles with the orientation of the image; mirrored where the image has east
    on the right.
  """
  height, width = image.pixels_jy_beam.shape
  across = tile_corners(width, size, stride)
  around = size // 2
  if rows is None:
    rows = tile_corners(height, size, stride)
  for y in rows if across else []:
    first = max(0, y - around)
    # One row of tiles at a time: the image may be larger than the memory.
    band = image.pixels_jy_beam[first : y + size + around, :]
    inner = band[y - first : y - first + size]
    missing = np.isnan(inner).sum(axis=0)
    kept = [
      x
      for x in across
      if missing[x : x + size].sum() <= max_missing * size * size
    ]
    if kept:
      yield from _row_of_tiles(image, band, inner, y, kept)


def _row_of_tiles(
  image: fits.Image,
  band: np.ndarray,
  inner: np.ndarray,
  y: int,
  corners: list[int],
) -> Iterator[Cutout]:
  """Tiles at (y, corners), of rows `inner`; noise may look at all of `band`."""
  size = len(inner)
  xs = np.array(corners, float) + (size - 1) / 2
  ys = np.full(len(corners), y + (size - 1) / 2)
  ras, decs = fits.pixel_to_sky(image.wcs, xs, ys)
  rotations = _rotations_deg(image, xs, ys, ras, decs)
  step = -1 if np.linalg.det(image.wcs.pixel_scale_matrix) > 0 else 1
  for x, ra, dec, rotation in zip(corners, ras, decs, rotations, strict=True):
    columns = slice(max(0, x - size // 2), x + size + size // 2)
    yield Cutout(
      pixels_jy_beam=inner[:, x : x + size][:, ::step].copy(),
      surroundings_jy_beam=band[:, columns],
      ra_deg=float(ra),
      dec_deg=float(dec),
      pixel_scale_arcsec=image.pixel_scale_arcsec,
      rotation_deg=float(rotation),
      corner=(y, x),
    )


def _rotations_deg(
  image: fits.Image,
  xs: np.ndarray,
  ys: np.ndarray,
  ras: np.ndarray,
  decs: np.ndarray,
) -> np.ndarray:
  """Position angles of the columns at some pixels."""
  here = astropy.coordinates.SkyCoord(ras, decs, unit='deg')
  up = fits.pixel_to_sky(image.wcs, xs, ys + 1)
  return here.position_angle(astropy.coordinates.SkyCoord(*up, unit='deg')).deg


def cutout(
  image: fits.Image,
  *,
  ra_deg: float,
  dec_deg: float,
  size_pix: int,
  field_arcsec: float | None = None,
) -> Cutout:
  """The field around a position: north up, east left, the position central.

  Where the wanted grid falls on the image's own pixels these are copied; else
  values come from a cubic spline, which is near exact for images that sample
  their beam. Larger pixels are low-passed first. NaN pixels take their
  neighbourhood's median for the spline and are NaN again in the result, as is
  what lies outside the image.

  Args:
    image: what to cut.
    ra_deg: ICRS.
    dec_deg: ICRS.
    size_pix: side of the result in pixels.
    field_arcsec: side of the result on the sky; None keeps the image's pixels.

  Returns:
    The cutout; all NaN where the position is outside the image.
  """
  scale = image.pixel_scale_arcsec
  if field_arcsec is not None:
    scale = field_arcsec / size_pix
  margin = size_pix // 2
  y, x = grid(image, ra_deg, dec_deg, size_pix + 2 * margin, scale)
  ratio = scale / image.pixel_scale_arcsec
  frame = resample.sample(image.pixels_jy_beam, y, x, ratio)
  inner = slice(margin, margin + size_pix)
  return Cutout(
    pixels_jy_beam=frame[inner, inner].copy(),
    surroundings_jy_beam=frame,
    ra_deg=ra_deg,
    dec_deg=dec_deg,
    pixel_scale_arcsec=scale,
  )


def crops(
  image: fits.Image,
  *,
  ra_deg: np.ndarray,
  dec_deg: np.ndarray,
  size_pix: int,
  surroundings: bool = True,
) -> Iterator[Cutout]:
  """The image's own pixels around each position; nothing is interpolated.

  The position lies within half a pixel of the centre in each axis; the cutout
  tells where its centre is. Orientation is that of the image, as of `tiles`.

  Args:
    image: what to cut.
    ra_deg: [N], ICRS.
    dec_deg: [N], ICRS.
    size_pix: side of the results in pixels.
    surroundings: False leaves them out, for speed.

  Yields:
    Cutouts in the order of the positions; NaN outside the image.
  """
  x, y = fits.sky_to_pixel(image.wcs, ra_deg, dec_deg)
  half = (size_pix - 1) / 2
  off = ~(np.isfinite(x) & np.isfinite(y))
  # A position that is not on this projection is far outside.
  first_x, first_y = (
    np.rint(np.where(off, -1e6, at) - half).astype(int) for at in (x, y)
  )
  xs, ys = first_x + half, first_y + half
  ras, decs = fits.pixel_to_sky(image.wcs, xs, ys)
  rotations = _rotations_deg(image, xs, ys, ras, decs)
  step = -1 if np.linalg.det(image.wcs.pixel_scale_matrix) > 0 else 1
  margin = size_pix // 2 if surroundings else 0
  for n, (x0, y0) in enumerate(zip(first_x, first_y, strict=True)):
    frame = _padded(image, y0 - margin, x0 - margin, size_pix + 2 * margin)
    inner = frame[margin : margin + size_pix, margin : margin + size_pix]
    yield Cutout(
      pixels_jy_beam=inner[:, ::step].copy() if margin else inner[:, ::step],
      surroundings_jy_beam=frame,
      ra_deg=float(ras[n]),
      dec_deg=float(decs[n]),
      pixel_scale_arcsec=image.pixel_scale_arcsec,
      rotation_deg=float(rotations[n]),
    )


def _padded(image: fits.Image, y0: int, x0: int, size: int) -> np.ndarray:
  """A square of the image, NaN where it lies outside."""
  height, width = image.pixels_jy_beam.shape
  rows = slice(max(0, y0), max(0, min(height, y0 + size)))
  columns = slice(max(0, x0), max(0, min(width, x0 + size)))
  part = image.pixels_jy_beam[rows, columns]
  if part.shape == (size, size):
    return part
  result = np.full((size, size), np.nan, np.float32)
  if part.size:
    top, left = rows.start - y0, columns.start - x0
    result[top : top + len(part), left : left + part.shape[1]] = part
  return result


def grid(
  image: fits.Image,
  ra_deg: float,
  dec_deg: float,
  size: int,
  scale: float,
  rotation_deg: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
  """Where the pixels of a tangent grid around a position lie in an image.

  Args:
    image: with the WCS.
    ra_deg: ICRS position of the grid's centre.
    dec_deg: as ra_deg.
    size: pixels a side.
    scale: of the grid's pixels in arcsec.
    rotation_deg: of its columns from the north, north through east.

  Returns:
    (y, x), [size, size] each, 0-based; NaN where it leaves the projection.
  """
  half = (size - 1) / 2
  nodes = np.linspace(-half, half, _NODES)
  left, up = np.meshgrid(-nodes * scale, nodes * scale)
  sin, cos = np.sin(np.radians(rotation_deg)), np.cos(np.radians(rotation_deg))
  east, north = left * cos + up * sin, up * cos - left * sin
  ra, dec = _from_tangent(ra_deg, dec_deg, east / 3600, north / 3600)
  x, y = fits.sky_to_pixel(image.wcs, ra, dec)
  if not (np.isfinite(x).all() and np.isfinite(y).all()):
    return np.full((size, size), np.nan), np.full((size, size), np.nan)
  # The map is smooth: a cubic through 9 x 9 nodes is exact to far below a
  # hundredth of a pixel, and 1000 times cheaper than the map itself.
  steps = np.arange(size) - half
  return tuple(
    scipy.interpolate.RectBivariateSpline(nodes, nodes, values)(steps, steps)
    for values in (y, x)
  )


def _from_tangent(
  ra_deg: float, dec_deg: float, east_deg: np.ndarray, north_deg: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Sky positions of offsets in the tangent plane (gnomonic projection)."""
  xi, eta = np.radians(east_deg), np.radians(north_deg)
  sin, cos = np.sin(np.radians(dec_deg)), np.cos(np.radians(dec_deg))
  across = cos - eta * sin
  ra = ra_deg + np.degrees(np.arctan2(xi, across))
  dec = np.degrees(np.arctan2(sin + eta * cos, np.hypot(xi, across)))
  return ra % 360, dec
