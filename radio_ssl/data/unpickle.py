"""Reading CIFAR-like pickled batches without running the code in them.

A pickle is a program: what it names it can import and call. This reader lets
it name the builders of numpy arrays and nothing else, see
https://docs.python.org/3/library/pickle.html#restricting-globals.
"""

import io
import pathlib
import pickle
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


def _bytes_of_text(text: str, encoding: str) -> bytes:
  """What Python 3 calls when it writes bytes in protocols 0 to 2."""
  if encoding != 'latin1':
    raise pickle.UnpicklingError(
      f'A pickle encodes text as {encoding!r}; only latin1 is allowed.'
    )
  return text.encode('latin1')


# What numpy names when it pickles an array, a dtype or a scalar; written
# before numpy 2 without the underscore. Looked up through numpy itself, so
# that no module is imported because a file says so.
_ARRAY = np.zeros(0).__reduce__()[0]
# Protocol 5 writes an array as its buffer.
_BUFFER = np.zeros(0).__reduce_ex__(5)[0]
_SCALAR = np.float32(0).__reduce__()[0]
_GLOBALS = {
  ('numpy', 'ndarray'): np.ndarray,
  ('numpy', 'dtype'): np.dtype,
  ('numpy.core.multiarray', '_reconstruct'): _ARRAY,
  ('numpy._core.multiarray', '_reconstruct'): _ARRAY,
  ('numpy.core.multiarray', 'scalar'): _SCALAR,
  ('numpy._core.multiarray', 'scalar'): _SCALAR,
  ('numpy.core.numeric', '_frombuffer'): _BUFFER,
  ('numpy._core.numeric', '_frombuffer'): _BUFFER,
  ('_codecs', 'encode'): _bytes_of_text,
}


class _Unpickler(pickle.Unpickler):
  def find_class(self, module: str, name: str) -> Any:
    try:
      return _GLOBALS[module, name]
    except KeyError:
      raise pickle.UnpicklingError(
        f'refused global {module}.{name}: only numpy arrays and plain '
        'containers are read from pickles.'
      ) from None


def loads(data: bytes, *, encoding: str = 'latin1') -> Any:
  """Returns the arrays and plain containers in a pickle.

  Args:
    data: the pickle, of Python 2 or 3.
    encoding: of the 8-bit strings of Python 2; latin1 also carries arrays.

  Raises:
    pickle.UnpicklingError: the pickle names anything but numpy's arrays,
      dtypes and scalars (the message says what), or is no pickle.
  """
  try:
    return _Unpickler(io.BytesIO(data), encoding=encoding).load()
  except pickle.UnpicklingError:
    raise
  # A damaged pickle fails in many ways: EOFError, IndexError, ValueError, ...
  except Exception as error:
    raise pickle.UnpicklingError(f'not a readable pickle: {error}') from error


def read_batches(path: str | pathlib.Path) -> Iterator[tuple[str, Mapping]]:
  """Yields (member name, batch) for each pickled dict of a tar archive.

  Members are read in memory, so nothing an archive names can be written to
  disk; links, devices and folders are passed over.

  Args:
    path: the archive, with any compression tarfile knows.

  Yields:
    The member's base name, and its dict with `str` keys.

  Raises:
    pickle.UnpicklingError: a member is refused; names archive and member.
  """
  with tarfile.open(path) as archive:
    for member in archive:
      if not member.isreg():
        continue
      # Names outside the folder are refused though nothing is extracted.
      tarfile.data_filter(member, str(pathlib.Path(path).parent))
      try:
        batch = loads(archive.extractfile(member).read())
      except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(
          f'{path}: {member.name}: {error}'
        ) from error
      if not isinstance(batch, Mapping):
        raise pickle.UnpicklingError(
          f'{path}: {member.name} holds a {type(batch).__name__}, not a dict.'
        )
      yield (
        pathlib.PurePosixPath(member.name).name,
        {k.decode() if isinstance(k, bytes) else k: batch[k] for k in batch},
      )
