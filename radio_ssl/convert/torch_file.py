"""Tensors of a file that `torch.save` wrote, without PyTorch and without risk.

Such a file is a zip archive of a pickle and the bytes of each storage (PyTorch
1.6 and later; docs.pytorch.org, "Serialization semantics"); older ones are
pickles in a row, then those bytes. A pickle is a program; this reader lets it
build tensors and plain containers. Whatever else it names, such as the settings
that PyTorch Lightning stores, becomes an object that holds nothing and does
nothing: no code of the file is looked up or run.
"""

import dataclasses
import math
import os
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

_DTYPES = {
  'FloatStorage': np.dtype('<f4'),
  'DoubleStorage': np.dtype('<f8'),
  'HalfStorage': np.dtype('<f2'),
  'BFloat16Storage': np.dtype(jnp.bfloat16),
  'LongStorage': np.dtype('<i8'),
  'IntStorage': np.dtype('<i4'),
  'ShortStorage': np.dtype('<i2'),
  'CharStorage': np.dtype('i1'),
  'ByteStorage': np.dtype('u1'),
  'BoolStorage': np.dtype('?'),
}
# A pickle of tensors names them; their bytes lie elsewhere in the archive.
_LARGEST_PICKLE = 2**28
# With which a file of before 1.6 begins, and the version of its format.
_MAGIC = (0x1950A86A20F9469CFC6C, 1001)


class _Inert:
  """Stands for everything that is not a tensor or a plain container."""

  def __new__(cls, *args, **kwargs):
    del args, kwargs
    return super().__new__(cls)

  def __init__(self, *args, **kwargs):
    del args, kwargs

  def __call__(self, *args, **kwargs):
    del args, kwargs
    return _Inert()

  def _nothing(self, *args):
    del args

  __setstate__ = __setitem__ = append = extend = add = _nothing


class _Dict(dict):
  """A `state_dict` carries attributes, which tell versions alone."""

  def __setstate__(self, state):
    del state


@dataclasses.dataclass(frozen=True)
class _Storage:
  key: str
  dtype: np.dtype
  size: int


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor that has not been read.

  Attributes:
    storage: where its bytes are.
    offset: of its first element in the storage.
    shape: of the tensor.
    strides: in elements.
  """

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def _rebuild_tensor(storage, offset, shape, strides, *unused) -> Tensor:
  del unused
  if not isinstance(storage, _Storage):
    raise pickle.UnpicklingError('a tensor without a storage')
  numbers = (offset, *shape, *strides)
  if len(shape) != len(strides) or any(
    type(n) is not int or n < 0 for n in numbers
  ):
    raise pickle.UnpicklingError(f'a tensor of shape {shape}, {strides}')
  last = sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
  # Steps of 0 would make a large tensor of a small storage.
  if 0 not in shape and (
    offset + last >= storage.size or math.prod(shape) > storage.size
  ):
    raise pickle.UnpicklingError(
      f'a tensor of shape {tuple(shape)} does not fit its storage of '
      f'{storage.size} elements'
    )
  return Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor, *unused):
  del unused
  return tensor


_GLOBALS = {
  ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
  ('torch._utils', '_rebuild_parameter'): _rebuild_parameter,
  ('collections', 'OrderedDict'): _Dict,
}


class _Unpickler(pickle.Unpickler):
  """Knows the few names of `_GLOBALS`, and those of storages."""

  def __init__(self, file):
    super().__init__(file)
    self.storages: list[_Storage] = []

  def find_class(self, module: str, name: str) -> Any:
    if module == 'torch' and name in _DTYPES:
      return _DTYPES[name]
    return _GLOBALS.get((module, name), _Inert)

  def persistent_load(self, pid: Any) -> _Storage:
    match pid:
      # Older files add what part of another storage it is: None is all of it.
      case ('storage', np.dtype() as dtype, str(key), _, int(size), *view):
        if view in ([], [None]):
          self.storages.append(_Storage(key, dtype, size))
          return self.storages[-1]
    raise pickle.UnpicklingError(f'a storage of an unknown kind: {pid!r}')


class _Archive:
  """A file since PyTorch 1.6."""

  def __init__(self, path: pathlib.Path):
    self._archive = zipfile.ZipFile(path)
    names = self._archive.namelist()
    found = [name for name in names if name.endswith('/data.pkl')]
    if len(found) != 1:
      raise ValueError(
        f'a zip archive with {len(found)} data.pkl; wanted one, as torch.save '
        'writes it'
      )
    self._folder = found[0].removesuffix('data.pkl')
    if f'{self._folder}byteorder' in names:
      order = self._archive.read(f'{self._folder}byteorder')
      if order != b'little':
        raise ValueError(f'byte order {order!r}; wanted little')
    size = self._archive.getinfo(found[0]).file_size
    if size > _LARGEST_PICKLE:
      raise ValueError(
        f'its pickle has {size} bytes; that of tensors has at most '
        f'{_LARGEST_PICKLE}'
      )
    with self._archive.open(found[0]) as file:
      self.content = _Unpickler(file).load()

  def read(self, storage: _Storage) -> bytes:
    """The bytes of a storage."""
    return self._archive.read(f'{self._folder}data/{storage.key}')


class _Row:
  """A file of before: five pickles, then length and bytes of each storage."""

  def __init__(self, path: pathlib.Path):
    self._path = path
    with path.open('rb') as file:
      magic, version, system = (_Unpickler(file).load() for _ in range(3))
      if (magic, version) != _MAGIC:
        raise ValueError('not a file of torch.save')
      if not (isinstance(system, dict) and system.get('little_endian')):
        raise ValueError('written on a machine of another byte order')
      unpickler = _Unpickler(file)
      self.content = unpickler.load()
      storages = {storage.key: storage for storage in unpickler.storages}
      # The places of the storages' bytes; a length comes before each.
      self._starts = {}
      for key in _Unpickler(file).load():
        storage = storages[key]
        (length,) = struct.unpack('<q', file.read(8))
        if length != storage.size:
          raise ValueError(f'storage {key} has {length} elements')
        self._starts[key] = file.tell()
        file.seek(length * storage.dtype.itemsize, os.SEEK_CUR)

  def read(self, storage: _Storage) -> bytes:
    """The bytes of a storage."""
    with self._path.open('rb') as file:
      file.seek(self._starts[storage.key])
      return file.read(storage.size * storage.dtype.itemsize)


class TorchFile:
  """The tensors of a file, by their path in it: 'state_dict.conv1.weight'.

  Args:
    path: of the file.

  Raises:
    ValueError: it is none of torch.save, or damaged.
  """

  def __init__(self, path: str | pathlib.Path):
    self._path = pathlib.Path(path)
    form = _Archive if zipfile.is_zipfile(self._path) else _Row
    try:
      self._file = form(self._path)
    except OSError:
      raise
    # A damaged pickle fails in many ways: EOFError, IndexError, ...
    except Exception as error:
      raise ValueError(
        f'{self._path}: not readable as a file of torch.save: {error}.'
      ) from error
    self.tensors = dict(_flat(self._file.content, ''))

  def array(self, name: str) -> np.ndarray:
    """A tensor, as an array of its own.

    Raises:
      ValueError: its storage is missing or damaged.
    """
    tensor = self.tensors[name]
    storage = tensor.storage
    try:
      data = self._file.read(storage)
    except (KeyError, zipfile.BadZipFile) as error:
      raise ValueError(f'{self._path}: {name}: {error}') from error
    if len(data) != storage.size * storage.dtype.itemsize:
      raise ValueError(
        f'{self._path}: {name}: {len(data)} bytes; wanted {storage.size} of '
        f'{storage.dtype}.'
      )
    flat = np.frombuffer(data, storage.dtype)[tensor.offset :]
    step = storage.dtype.itemsize
    return np.lib.stride_tricks.as_strided(
      flat,
      tensor.shape,
      [n * step for n in tensor.strides],
      writeable=False,
    ).copy()


def _flat(value: Any, path: str) -> Iterator[tuple[str, Tensor]]:
  """The tensors in nested containers, by path."""
  if isinstance(value, Tensor):
    yield path, value
  entries = []
  if isinstance(value, Mapping):
    entries = value.items()
  elif isinstance(value, list | tuple):
    entries = enumerate(value)
  for key, entry in entries:
    yield from _flat(entry, f'{path}.{key}' if path else str(key))
