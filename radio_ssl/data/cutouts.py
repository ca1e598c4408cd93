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

# Pixels whose sides differ by less than this are squares, and those this near
# to the image's pixel scale have that.
_SQUARE = 0.95
# Steps between nodes of one grid differ by less, unless a seam of the map lies
# between them.
_TORN = 3.0
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
    pixel_scale_arcsec: side of a pixel; of whole pixels far from where their
      image has its scale, the mean of the two sides there.
    rotation_deg: of the columns from the north, north through east.
    corner: (y, x) of a tile's first pixel in its image; None for cutouts.
    stretch: longer side of the central pixel over pixel_scale_arcsec.
    squeeze: shorter side over the longer one.
  """

  pixels_jy_beam: np.ndarray
  surroundings_jy_beam: np.ndarray
  ra_deg: float
  dec_deg: float
  pixel_scale_arcsec: float
  rotation_deg: float = 0.0
  corner: tuple[int, int] | None = None
  stretch: float = 1.0
  squeeze: float = 1.0

  @property
  def field_arcsec(self) -> float:
    """Side on the sky, the longer one."""
    return len(self.pixels_jy_beam) * self.pixel_scale_arcsec * self.stretch

  @property
  def is_square(self) -> bool:
    """Whether its pixels are, and lie on the sky at all."""
    return self.squeeze > _SQUARE


def middle(pixels: np.ndarray, side_pix: float) -> np.ndarray:
  """The central square of an image [H, W, ...] that holds a side in pixels."""
  margins = [max(0, int((n - side_pix) / 2)) for n in pixels.shape[:2]]
  return pixels[tuple(slice(m, -m if m else None) for m in margins)]


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
  columns: Sequence[int] | None = None,
) -> Iterator[Cutout]:
  """Sliding-window tiles in the image's own pixels, from the first row up.

  Args:
    image: what to cut.
    size: side of a tile in pixels.
    stride: step between tiles in pixels; `tile_corners` tells the edge rule.
    max_missing: tiles with a larger fraction of NaN pixels are left out.
    rows: first rows of the wanted ones; None for all that there are.
    columns: first columns of the wanted ones; None for all.

  Yields:
    Tiles with the orientation of the image; mirrored where the image has east
    on the right.
  """
  height, width = image.pixels_jy_beam.shape
  if rows is None:
    rows = tile_corners(height, size, stride)
  if columns is None:
    columns = tile_corners(width, size, stride)
  if not columns:
    return
  around = size // 2
  left = max(0, min(columns) - around)
  right = max(columns) + size + around
  for y in rows:
    first = max(0, y - around)
    # One row of tiles at a time: the image may be larger than the memory.
    band = image.pixels_jy_beam[first : y + size + around, left:right]
    inner = band[y - first : y - first + size]
    missing = np.isnan(inner).sum(axis=0)
    kept = [
      x
      for x in columns
      if missing[x - left :][:size].sum() <= max_missing * size * size
    ]
    for x, place in zip(kept, _places(image, kept, y, size), strict=True):
      yield Cutout(
        pixels_jy_beam=inner[:, x - left :][:, :size][
          :, :: _step(image)
        ].copy(),
        surroundings_jy_beam=band[
          :, max(0, x - left - around) : x - left + size + around
        ],
        corner=(y, x),
        **place,
      )


def _step(image: fits.Image) -> int:
  """-1 where columns must be turned round to have the east on the left."""
  return -1 if np.linalg.det(image.wcs.pixel_scale_matrix) > 0 else 1


def _places(
  image: fits.Image, x: Sequence[int], y: Sequence[int] | int, size: int
) -> list[dict[str, float]]:
  """What a `Cutout` of whole pixels tells of its place, by its first pixels."""
  half = (size - 1) / 2
  xs, ys = np.broadcast_arrays(np.asarray(x, float) + half, np.add(y, half))
  ras, decs = fits.pixel_to_sky(image.wcs, xs, ys)
  here, up, right = (
    astropy.coordinates.SkyCoord(*at, unit='deg')
    for at in (
      (ras, decs),
      fits.pixel_to_sky(image.wcs, xs, ys + 1),
      fits.pixel_to_sky(image.wcs, xs + 1, ys),
    )
  )
  sides = np.stack([here.separation(at).arcsec for at in (up, right)])
  longer, shorter = sides.max(axis=0), sides.min(axis=0)
  scales = np.sqrt(longer * shorter)
  nominal = image.pixel_scale_arcsec
  near = np.abs(np.log(scales / nominal)) < -np.log(_SQUARE)
  scales = np.where(near, nominal, scales)
  columns = {
    'ra_deg': ras,
    'dec_deg': decs,
    'pixel_scale_arcsec': scales,
    'rotation_deg': here.position_angle(up).deg,
    'stretch': np.maximum(longer / scales, 1),
    # NaN off the sky, which is no square.
    'squeeze': shorter / longer,
  }
  return [
    dict(zip(columns, map(float, values), strict=True))
    for values in zip(*columns.values(), strict=True)
  ]


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
  if np.isnan(y).any():
    # The edge of the projection may leave the cutout itself whole.
    margin = 0
    y, x = grid(image, ra_deg, dec_deg, size_pix, scale)
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
  places = _places(image, first_x, first_y, size_pix)
  step = _step(image)
  margin = size_pix // 2 if surroundings else 0
  for x0, y0, place in zip(first_x, first_y, places, strict=True):
    frame = _padded(image, y0 - margin, x0 - margin, size_pix + 2 * margin)
    inner = frame[margin : margin + size_pix, margin : margin + size_pix]
    yield Cutout(
      pixels_jy_beam=inner[:, ::step].copy() if margin else inner[:, ::step],
      surroundings_jy_beam=frame,
      **place,
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
    (y, x), [size, size] each, 0-based; all NaN where a part of it is off the
    projection, or beyond a seam of it.
  """
  half = (size - 1) / 2
  nodes = np.linspace(-half, half, _NODES)
  left, up = np.meshgrid(-nodes * scale, nodes * scale)
  sin, cos = np.sin(np.radians(rotation_deg)), np.cos(np.radians(rotation_deg))
  east, north = left * cos + up * sin, up * cos - left * sin
  ra, dec = _from_tangent(ra_deg, dec_deg, east / 3600, north / 3600)
  x, y = fits.sky_to_pixel(image.wcs, ra, dec)
  steps = [np.hypot(np.diff(x, axis=n), np.diff(y, axis=n)) for n in (0, 1)]
  torn = any((step > _TORN * np.median(step)).any() for step in steps)
  if torn or not (np.isfinite(x).all() and np.isfinite(y).all()):
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
