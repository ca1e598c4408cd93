"""TFRecord shards, read in any order and without TensorFlow.

A shard is nothing but records: length (uint64, little-endian), 4 bytes of
checksum, the data, 4 bytes of checksum
(https://www.tensorflow.org/tutorials/load_data/tfrecord). They have no index:
the lengths are walked along once, when a shard is opened. The checksums are
left to `tfds_builders.check`, which compares whole files.
"""

import mmap
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_HEADER = struct.Struct('<QI')
_FOOTER_BYTES = 4


class Source:
  """Random access to the decoded records of some shards, one after another."""

  def __init__(
    self, pieces: Sequence[Any], decode: Callable[[bytes], Mapping[str, Any]]
  ):
    """Opens the shards.

    Args:
      pieces: `file_instructions` of a TFDS split: filename, examples_in_shard,
        and which of those, from `skip` on, `take` of them.
      decode: bytes of a record -> its features.

    Raises:
      ValueError: a file that is cut short or has other records.
    """
    self._pieces, self._decode = pieces, decode
    self._places = []
    for piece in pieces:
      # The mapping outlives the file handle, and threads share it.
      with open(piece.filename, 'rb') as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
      spans = _spans(data)
      if len(spans) != piece.examples_in_shard:
        raise ValueError(
          f'{piece.filename}: {len(spans)} whole records; wanted '
          f'{piece.examples_in_shard}. Fetch or build it again.'
        )
      chosen = spans[piece.skip : piece.skip + piece.take]
      self._places += [(data, span) for span in chosen]

  def __reduce__(self):
    # Another process maps the shards itself.
    return Source, (self._pieces, self._decode)

  def __len__(self):
    return len(self._places)

  def __getitem__(self, index):
    data, span = self._places[index]
    return self._decode(data[span])


def _spans(data: mmap.mmap) -> list[slice]:
  """Where each whole record's data are."""
  found, at = [], 0
  while at + _HEADER.size <= len(data):
    length, _ = _HEADER.unpack_from(data, at)
    start = at + _HEADER.size
    at = start + length + _FOOTER_BYTES
    if at > len(data):
      break
    found.append(slice(start, start + length))
  return found
