"""Examples on their way to a data set, on disk, without TensorFlow.

TFDS sorts the examples of a split by the hash of their key. Those that are more
than it keeps in memory it writes to temporary files, and for that alone it
needs TensorFlow. `plain_files` gives it files of Python's instead, of the same
content, and lets it keep less.
"""

import contextlib
import pathlib
import struct
from collections.abc import Iterator
from unittest import mock

from tensorflow_datasets.core import shuffle

# Beside it a build has a quarter of a gigabyte of examples on their way.
_IN_MEMORY_BYTES = 1 << 28
_HEADER = struct.Struct('=16sQ')


@contextlib.contextmanager
def plain_files() -> Iterator[None]:
  """What TFDS prepares inside needs no TensorFlow, whatever its size."""
  with (
    mock.patch.object(shuffle, '_Bucket', _Bucket),
    mock.patch.object(shuffle, 'MAX_MEM_BUFFER_SIZE', _IN_MEMORY_BYTES),
  ):
    yield


class _Bucket:
  """(key, data) pairs whose keys are near each other, in a file.

  The file is open only while something is added: a thousand buckets are more
  than many machines let a process open.
  """

  def __init__(self, path: pathlib.Path):
    self.size = 0
    self._path = pathlib.Path(path)
    self._length = 0

  def __len__(self) -> int:
    return self._length

  def add(self, key: int, data: bytes) -> None:
    """Appends a pair; keys have up to 128 bits."""
    with self._path.open('ab') as file:
      file.write(_HEADER.pack(key.to_bytes(16, 'little'), len(data)))
      file.write(data)
    self._length += 1
    self.size += len(data)

  def read_values(self) -> Iterator[tuple[int, bytes]]:
    """The pairs in the order in which they came."""
    if not self._length:
      return
    with self._path.open('rb') as file:
      while header := file.read(_HEADER.size):
        key, size = _HEADER.unpack(header)
        yield int.from_bytes(key, 'little'), file.read(size)

  def del_file(self) -> None:
    """Removes the file, if anything was added."""
    self._path.unlink(missing_ok=True)
