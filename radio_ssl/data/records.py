"""A FITS file as it lies on disk: headers and data, one after the other.

The size of every part is known from its header before it is read, and nothing
is held whole: a damaged or hostile file ends in an error, not in a full memory
or disk. Section numbers are those of the FITS standard 4.0.
"""

import bz2
import contextlib
import gzip
import lzma
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO

import astropy.io.fits
import numpy as np

_BLOCK = 2880
_CHUNK = 512 * _BLOCK
_HEADER_BLOCKS = 4096  # 147456 cards
_END = b'END' + b' ' * 77
_PACKED = {b'\x1f\x8b': gzip.open, b'BZh': bz2.open, b'\xfd7zXZ': lzma.open}
# Deflate cannot do better: 258 bytes in 2 bits.
_DEFLATE_AT_MOST = 1032
_DISK_LEFT_FREE = 1 << 30
# Of the one's complement sums of section 4.4.2.7 and appendix J.
_ONES = 0xFFFFFFFF


class DamagedError(ValueError):
  """What a header promises is not there, or is not what it says."""


def is_packed(path: pathlib.Path) -> bool:
  """Whether `plain` would have to unpack a file."""
  with open(path, 'rb') as file:
    return file.read(8).startswith(tuple(_PACKED))


@contextlib.contextmanager
def plain(path: pathlib.Path) -> Iterator[IO[bytes]]:
  """Opens a file; one packed by gzip, bzip2 or xz as a temporary copy.

  Raises:
    DamagedError: the packed file is cut short, or would fill the disk.
  """
  with open(path, 'rb') as file:
    start = file.read(8)
    file.seek(0)
    unpacker = next(
      (f for m, f in _PACKED.items() if start.startswith(m)), None
    )
    if unpacker is None:
      yield file
      return
    with unpacker(file) as packed, _scratch() as (copy, unpacked):
      free = shutil.disk_usage(tempfile.gettempdir()).free - _DISK_LEFT_FREE
      if unpacker is gzip.open:
        free = min(free, _DEFLATE_AT_MOST * path.stat().st_size)
      _copy(packed, copy, at_most=free)
      copy.flush()
      yield unpacked


@contextlib.contextmanager
def _scratch() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
  """A temporary file, open to write and, apart from that, to read.

  It loses its name at once: then it goes with this process, killed or not.
  Windows names an open file for as long as it is open.
  """
  number, name = tempfile.mkstemp()
  try:
    with open(number, 'wb') as copy, open(name, 'rb') as unpacked:
      with contextlib.suppress(PermissionError):
        os.unlink(name)
      yield copy, unpacked
  finally:
    pathlib.Path(name).unlink(missing_ok=True)


def headers(
  file: IO[bytes], *, verify: bool = True
) -> list[astropy.io.fits.Header]:
  """The header of every unit as it is stored, once its checksums are verified.

  Args:
    file: plain; read from its start.
    verify: False takes the sums for granted.

  Raises:
    DamagedError: data are cut short, or differ from their CHECKSUM or DATASUM.
  """
  size = file.seek(0, 2)
  file.seek(0)
  found = []
  for number, (header, text, length) in enumerate(_walk(file)):
    if file.tell() + length > size:
      raise DamagedError(
        f'truncated: unit {number} has {length} bytes of data by its header, '
        f'{size - file.tell()} are there'
      )
    found.append(header)
    if verify and {'CHECKSUM', 'DATASUM'} & set(header):
      _verify(number, header, text, _chunks(file, length))
    else:
      file.seek(_padded(length), 1)
  return found


def _walk(
  file: IO[bytes],
) -> Iterator[tuple[astropy.io.fits.Header, bytes, int]]:
  """Each unit's header, parsed and raw, and the size of its data in bytes.

  Between two steps the caller reads or passes over those data and what pads
  them to whole blocks.
  """
  first = True
  while True:
    block = file.read(_BLOCK)
    if not block.startswith(b'SIMPLE' if first else b'XTENSION'):
      if first:
        raise DamagedError('no SIMPLE card at its start')
      # Whatever stands behind the last unit is none (section 3.5).
      return
    text = [block]
    while not _ends(text[-1]):
      if len(text[-1]) < _BLOCK or len(text) >= _HEADER_BLOCKS:
        raise DamagedError('truncated: a header without END')
      text.append(file.read(_BLOCK))
    joined = b''.join(text)
    header = astropy.io.fits.Header.fromstring(joined)
    yield header, joined, _data_size(header)
    first = False


def _padded(length: int) -> int:
  return -(-length // _BLOCK) * _BLOCK


def _ends(block: bytes) -> bool:
  return any(block[i : i + 80] == _END for i in range(0, len(block), 80))


def _data_size(header: astropy.io.fits.Header) -> int:
  """Bytes of data without padding, equation (2) of section 4.4.1.2."""
  sides = [int(header[f'NAXIS{n + 1}']) for n in range(int(header['NAXIS']))]
  if not sides:
    return 0
  if header.get('GROUPS') is True and sides[0] == 0:
    sides = sides[1:]  # Random groups, section 6.
  count = int(header.get('PCOUNT', 0)) + math.prod(sides)
  size = abs(int(header['BITPIX'])) // 8 * int(header.get('GCOUNT', 1)) * count
  if min(sides) < 0 or size < 0:
    raise DamagedError(f'negative size of data ({sides} pixels)')
  return size


def _chunks(file: IO[bytes], length: int) -> Iterator[bytes]:
  """Data and their padding, which many writers leave out at the very end."""
  there, whole = 0, _padded(length)
  while there < whole:
    wanted = min(whole - there, _CHUNK)
    chunk = file.read(wanted)
    if there + len(chunk) < min(there + wanted, length):
      missing = length - there - len(chunk)
      raise DamagedError(f'truncated: {missing} bytes are missing')
    there += wanted
    yield chunk.ljust(wanted, b'\0')


def _copy(packed: IO[bytes], copy: IO[bytes], *, at_most: int) -> None:
  for _, text, length in _walk(packed):
    size = copy.tell() + len(text) + length
    if size > at_most:
      raise DamagedError(
        f'its headers promise {size} bytes, and {at_most} are what it can hold '
        'or the disk can take'
      )
    copy.write(text)
    for chunk in _chunks(packed, length):
      copy.write(chunk)


def _verify(
  number: int,
  header: astropy.io.fits.Header,
  text: bytes,
  data: Iterator[bytes],
) -> None:
  total = 0
  for chunk in data:
    total = _added(total, chunk)
  stated = str(header.get('DATASUM', '')).strip()
  if stated and int(stated) % _ONES != total % _ONES:
    raise DamagedError(f'Datasum verification failed for unit {number}')
  if str(header.get('CHECKSUM', '')).strip() and _added(total, text) % _ONES:
    raise DamagedError(f'Checksum verification failed for unit {number}')


def _added(total: int, data: bytes) -> int:
  """One's complement sum of big-endian 32-bit words."""
  total += int(np.frombuffer(data, '>u4').sum(dtype=np.uint64))
  while total > _ONES:
    total = (total & _ONES) + (total >> 32)
  return total
