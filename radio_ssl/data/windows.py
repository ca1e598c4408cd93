"""Any part of a large image as float32 in Jy/beam, without the rest of it."""

import dataclasses
import math
import mmap
from collections.abc import Callable
from typing import IO, Any

import astropy.io.fits
import numpy as np
import scipy.ndimage

# Exact zeros over these many rows and columns are padding or lost records, not
# measurements.
_ZERO_BLOCKS_PIX = ((8, 8), (1, 32))
# What a window must know beyond its edges to find those blocks.
_HALO_PIX = tuple(
  max(sides) - 1 for sides in zip(*_ZERO_BLOCKS_PIX, strict=True)
)
_PIXELS_AT_ONCE = 1 << 22
_ROWS_AT_ONCE = 512
# Pages of a mapped file count as memory of this process until they are let go.
_LET_GO_BYTES = 1 << 28
# FITS standard 4.0, section 10.4.1.
_RICE_PARAMETERS = {'BYTEPIX': (1, 2, 4, 8), 'BLOCKSIZE': (16, 32)}
# Tiles larger than this, unpacked, are taken for damage.
_TILE_BYTES = 1 << 29
_TYPES = {8: '>u1', 16: '>i2', 32: '>i4', 64: '>i8', -32: '>f4', -64: '>f8'}

Raw = Callable[[slice, slice], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Statistics:
  """Of all pixels of an image.

  Attributes:
    measured: fraction that holds a measurement.
    zeros: fraction in areas of exact zeros, which are not measured.
    brightest: largest absolute value in Jy/beam; NaN without measurements.
    lowest: value in Jy/beam, likewise.
  """

  measured: float
  zeros: float
  brightest: float
  lowest: float = float('nan')


class Windows:
  """An image on disk; `windows[y0:y1, x0:x1]` reads that part.

  Attributes:
    shape: (rows, columns).
  """

  def __init__(self, raw: Raw, shape: tuple[int, int], factor: float):
    """Takes what reads values in the unit of the file, and its factor."""
    self.shape = shape
    self._raw = raw
    self._factor = factor

  def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
    """float32 [y, x], NaN where not measured; ends beyond the image are cut."""
    outer, inner = self._with_halo(index)
    pixels = self._read(*_within(outer, inner))
    if np.count_nonzero(pixels) == pixels.size:
      return pixels
    pixels = self._read(*outer)
    blank_padding(pixels)
    return pixels[inner].copy()

  def statistics(self) -> Statistics:
    """Looks at all of it once, some rows at a time."""
    finite, measured, brightest, lowest = 0, 0, np.nan, np.nan
    for row in range(0, self.shape[0], _ROWS_AT_ONCE):
      index = slice(row, row + _ROWS_AT_ONCE), slice(None)
      outer, inner = self._with_halo(index)
      pixels = self._read(*outer)
      finite += np.isfinite(pixels[inner]).sum()
      blank_padding(pixels)
      part = pixels[inner]
      measured += np.isfinite(part).sum()
      # fmax and fmin pass over NaN; of NaN alone they are NaN.
      lowest = np.fmin(lowest, np.fmin.reduce(part, None))
      brightest = np.fmax(brightest, np.fmax.reduce(np.abs(part), None))
    size = self.shape[0] * self.shape[1]
    return Statistics(
      float(measured / size),
      float((finite - measured) / size),
      float(brightest),
      float(lowest),
    )

  def _with_halo(
    self, index: tuple[slice, slice]
  ) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """What to read for a window, and where the window lies in that."""
    outer, inner = [], []
    for part, length, halo in zip(index, self.shape, _HALO_PIX, strict=True):
      start, stop, _ = part.indices(length)
      first = max(0, start - halo)
      outer.append(slice(first, min(length, stop + halo)))
      inner.append(slice(start - first, max(start, stop) - first))
    return tuple(outer), tuple(inner)

  def _read(self, rows: slice, columns: slice) -> np.ndarray:
    width = columns.stop - columns.start
    pixels = np.empty((rows.stop - rows.start, width), np.float32)
    step = max(1, _PIXELS_AT_ONCE // max(1, width))
    with np.errstate(invalid='ignore', over='ignore'):
      for row in range(rows.start, rows.stop, step):
        block = slice(row, min(row + step, rows.stop))
        part = pixels[row - rows.start : block.stop - rows.start]
        values = self._raw(block, columns)
        part[:] = values if self._factor == 1 else values * self._factor
        # One quick pass tells that there is nothing to look for.
        if not np.isfinite(part.sum()):
          part[np.isinf(part)] = np.nan
    return pixels


def _within(outer: tuple[slice, ...], inner: tuple[slice, ...]) -> list[slice]:
  return [
    slice(o.start + i.start, o.start + i.stop)
    for o, i in zip(outer, inner, strict=True)
  ]


def of_section(
  hdu: Any, stored: astropy.io.fits.Header, plane: tuple[int, ...]
) -> Raw:
  """Reads a tile-compressed image; astropy unpacks the tiles that are met.

  Args:
    hdu: the image.
    stored: header of the table in which it is kept.
    plane: index on the leading axes, in NumPy's order.

  Raises:
    ValueError: tiles or parameters that no sound file has.
  """
  _check_compression(stored)

  def raw(rows: slice, columns: slice) -> np.ndarray:
    return hdu.section[(*plane, rows, columns)]

  return raw


def of_file(
  file: IO[bytes],
  offset: int,
  cards: astropy.io.fits.Header,
  plane: tuple[int, ...],
) -> Raw:
  """Reads an uncompressed image through the page cache of the machine.

  Args:
    file: plain FITS; must stay open.
    offset: of the image's data.
    cards: its header as stored.
    plane: index on the leading axes, in NumPy's order.
  """
  mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
  shape = [cards[f'NAXIS{n}'] for n in range(cards['NAXIS'], 0, -1)]
  array = np.frombuffer(
    mapped, _TYPES[cards['BITPIX']], int(np.prod(shape)), offset
  )
  image = array.reshape(shape)[plane]
  scale, zero = cards.get('BSCALE', 1), cards.get('BZERO', 0)
  blank = cards.get('BLANK') if cards['BITPIX'] > 0 else None
  touched = 0

  def raw(rows: slice, columns: slice) -> np.ndarray:
    nonlocal touched
    values = stored = image[rows, columns]
    if image.dtype.kind != 'f' or (scale, zero) != (1, 0):
      values = stored.astype(np.float64) * scale + zero
    if blank is not None:
      values[stored == blank] = np.nan
    touched += values.shape[0] * max(4096, stored.nbytes // max(1, len(stored)))
    if touched > _LET_GO_BYTES and hasattr(mmap, 'MADV_DONTNEED'):
      mapped.madvise(mmap.MADV_DONTNEED)
      touched = 0
    return values

  return raw


def _check_compression(stored: astropy.io.fits.Header) -> None:
  """Refuses what makes astropy's decoder in C write where it must not."""
  values = {
    stored[f'ZNAME{n}']: stored.get(f'ZVAL{n}')
    for n in range(1, 10)
    if f'ZNAME{n}' in stored
  }
  for name, allowed in _RICE_PARAMETERS.items():
    if name in values and values[name] not in allowed:
      raise ValueError(
        f'{name} of the compression is {values[name]!r}, wanted one of '
        f'{allowed}'
      )
  axes = range(1, stored['ZNAXIS'] + 1)
  sides = [stored[f'ZNAXIS{n}'] for n in axes]
  tile = [stored.get(f'ZTILE{n}', sides[0] if n == 1 else 1) for n in axes]
  count = math.prod(-(-s // t) for s, t in zip(sides, tile, strict=True))
  if count != stored['NAXIS2'] or math.prod(tile) * 8 > _TILE_BYTES:
    raise ValueError(
      f'{stored["NAXIS2"]} compressed tiles of {tile} pixels for an image of '
      f'{sides}'
    )


def blank_padding(pixels: np.ndarray) -> None:
  """Sets blocks and long runs of exact zeros to NaN, in place."""
  zeros = pixels.size - np.count_nonzero(pixels)
  if zeros < min(map(math.prod, _ZERO_BLOCKS_PIX)):
    return
  zero = pixels == 0
  for block in _ZERO_BLOCKS_PIX:
    # A block holds one of half its size on a grid of halves, which is quick to
    # look for; integer images have many zeros and no block.
    step_y, step_x = (max(1, side // 2) for side in block)
    height, width = zero.shape[0] // step_y, zero.shape[1] // step_x
    grid = zero[: height * step_y, : width * step_x]
    if grid.reshape(height, step_y, width, step_x).all(axis=(1, 3)).any():
      opened = scipy.ndimage.binary_opening(zero, np.ones(block, bool))
      pixels[opened] = np.nan
