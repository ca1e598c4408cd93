"""Arrays that wait on disk: a file is read once, however large the set."""

import tempfile
import weakref

import numpy as np


class Spool:
  """Arrays by number, in a nameless file that goes when the object goes."""

  def __init__(self):
    self._file = tempfile.TemporaryFile()
    weakref.finalize(self, self._file.close)
    self._kept: list[tuple[int, tuple[int, ...], np.dtype]] = []

  def add(self, array: np.ndarray) -> int:
    """Keeps a copy, and returns its number."""
    first = self._file.seek(0, 2)
    self._file.write(array.tobytes())
    self._kept.append((first, array.shape, array.dtype))
    return len(self._kept) - 1

  def get(self, number: int) -> np.ndarray:
    """A copy of what `add` gave that number."""
    first, shape, dtype = self._kept[number]
    self._file.seek(first)
    count = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(self._file.read(count), dtype).reshape(shape)
