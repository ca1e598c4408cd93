"""Tensors come out as PyTorch wrote them, and nothing of the file is run."""

import collections
import io
import os
import pathlib
import pickle
import struct
import zipfile

import numpy as np
import pytest

from radio_ssl.convert import torch_file


@pytest.fixture
def torch():
  return pytest.importorskip('torch')


def _save(torch, content, path, zipped):
  torch.save(content, path, _use_new_zipfile_serialization=zipped)


def _arrays(path):
  file = torch_file.TorchFile(path)
  return {name: file.array(name) for name in file.tensors}


@pytest.mark.parametrize('zipped', [True, False])
def test_tensors_of_every_kind_are_pytorchs(torch, tmp_path, zipped):
  base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
  state = {
    'float32': base,
    'float64': base.double(),
    'float16': base.half(),
    'bfloat16': base.bfloat16(),
    'int64': base.long(),
    'int8': base.to(torch.int8),
    'uint8': base.to(torch.uint8),
    'bool': base > 5,
    'scalar': torch.tensor(3.5),
    'empty': torch.zeros(0, 3),
    'view': base[:, 1:, ::2],
    'turned': base.permute(2, 0, 1),
    'parameter': torch.nn.Parameter(base + 1),
  }
  _save(torch, state, tmp_path / 'a.pth', zipped)
  found = _arrays(tmp_path / 'a.pth')
  assert set(found) == set(state)
  for name, tensor in state.items():
    wanted = tensor.detach()
    if name == 'bfloat16':
      assert str(found[name].dtype) == name
      wanted, found[name] = wanted.float(), found[name].astype(np.float32)
    np.testing.assert_array_equal(found[name], wanted.numpy(), strict=True)


class _Settings:
  """Of a class that nobody else has, as checkpoints are full of."""

  def __init__(self):
    self.lr = 0.1


@pytest.mark.parametrize('zipped', [True, False])
def test_tensors_beside_objects_of_other_code_are_found(
  torch, tmp_path, zipped
):
  content = {
    'state_dict': collections.OrderedDict({'backbone.w': torch.ones(2)}),
    'callbacks': {_Settings: {'best': torch.tensor(1.0), 'p': pathlib.Path()}},
    'hyper_parameters': _Settings(),
    'loops': [collections.defaultdict(list, a=[1]), (torch.zeros(3), None)],
    'numpy': np.float64(3),
    'set': {1, 2},
  }
  _save(torch, content, tmp_path / 'a.ckpt', zipped)
  found = _arrays(tmp_path / 'a.ckpt')
  np.testing.assert_array_equal(found['state_dict.backbone.w'], [1, 1])
  np.testing.assert_array_equal(found['loops.1.0'], [0, 0, 0])


class _Canary:
  def __init__(self, call, *args):
    self.call, self.args = call, args

  def __reduce__(self):
    return self.call, self.args


def _archive(path, content, storages=(), protocol=2, **members):
  with zipfile.ZipFile(path, 'w') as archive:
    data = content
    if not isinstance(content, bytes):
      data = pickle.dumps(content, protocol=protocol)
    archive.writestr('archive/data.pkl', data)
    for key, value in dict(storages).items():
      archive.writestr(f'archive/data/{key}', value)
    for name, value in members.items():
      archive.writestr(f'archive/{name}', value)
  return path


@pytest.mark.parametrize('protocol', [0, 1, 2, 3, 4, 5])
def test_code_in_the_pickle_is_not_run(tmp_path, protocol):
  canaries = [tmp_path / name for name in 'abc']
  content = {
    'a': _Canary(os.system, f'touch {canaries[0]}'),
    'b': _Canary(eval, f'__import__("os").mkdir({str(canaries[1])!r})'),
    'c': _Canary(os.mkdir, str(canaries[2])),
  }
  path = _archive(tmp_path / 'a.pth', content, protocol=protocol)
  assert torch_file.TorchFile(path).tensors == {}
  assert not any(canary.exists() for canary in canaries)
  # They sing where they are let: the plain reader runs them.
  with zipfile.ZipFile(path) as archive:
    pickle.loads(archive.read('archive/data.pkl'))
  assert all(canary.exists() for canary in canaries)


def _tensor(offset=0, shape=(2, 3), strides=(3, 1), size=6, key='0'):
  """A pickle of one tensor, as PyTorch's are: by names and a persistent id."""

  class Storage:
    pass

  class Tensor:
    def __reduce__(self):
      return _rebuild_tensor_v2, (Storage(), offset, shape, strides)

  class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
      if isinstance(obj, Storage):
        return ('storage', FloatStorage, key, 'cpu', size)
      return None

  file = io.BytesIO()
  Pickler(file, protocol=2).dump({'w': Tensor()})
  return (
    file.getvalue()
    .replace(f'c{__name__}\n_rebuild'.encode(), b'ctorch._utils\n_rebuild')
    .replace(f'c{__name__}\nFloat'.encode(), b'ctorch\nFloat')
  )


def _rebuild_tensor_v2():
  """Stands for PyTorch's: a pickle holds its name."""


class FloatStorage:
  """Likewise."""


_SIX = np.arange(6, dtype='<f4').tobytes()


def test_a_tensor_without_pytorch(tmp_path):
  path = _archive(tmp_path / 'a.pth', _tensor(), {'0': _SIX})
  np.testing.assert_array_equal(_arrays(path)['w'], np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
  'kwargs',
  [
    {'offset': 1},
    {'offset': -1},
    {'shape': (3, 3)},
    {'shape': (2, 3, 1)},
    {'strides': (-3, 1)},
    # A terabyte from six numbers.
    {'shape': (10**6, 10**6), 'strides': (0, 0)},
    {'size': 10**12, 'shape': (10**12,), 'strides': (1,)},
    {'size': 5, 'shape': (5,), 'strides': (1,)},
    {'key': '../0'},
    {'key': '7'},
  ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, kwargs):
  path = _archive(tmp_path / 'a.pth', _tensor(**kwargs), {'0': _SIX})
  with pytest.raises(ValueError, match=str(path)):
    _arrays(path)


def test_other_files_are_refused(tmp_path):
  path = tmp_path / 'a.pth'
  path.write_bytes(pickle.dumps(1) * 5)
  with pytest.raises(ValueError, match=r'not a file of torch\.save'):
    torch_file.TorchFile(path)
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('a/b', b'')
  with pytest.raises(ValueError, match=r'with 0 data\.pkl'):
    torch_file.TorchFile(path)
  _archive(path, _tensor(), {'0': _SIX}, byteorder=b'big')
  with pytest.raises(ValueError, match='byte order'):
    torch_file.TorchFile(path)
  with pytest.raises(OSError, match='gone'):
    torch_file.TorchFile(tmp_path / 'gone')


def _row(*, content=None, size=6, data=_SIX, order=True):
  """A file of before 1.6, without PyTorch."""
  magic, version = 0x1950A86A20F9469CFC6C, 1001
  parts = [magic, version, {'little_endian': order}]
  pickles = [pickle.dumps(part, protocol=2) for part in parts]
  pickles += [content or _tensor(), pickle.dumps(['0'], protocol=2)]
  return b''.join(pickles) + struct.pack('<q', size) + data


def test_an_old_file_without_pytorch(tmp_path):
  path = tmp_path / 'a.pth'
  path.write_bytes(_row())
  np.testing.assert_array_equal(_arrays(path)['w'], np.arange(6).reshape(2, 3))
  canary = tmp_path / 'canary'
  sings = pickle.dumps(_Canary(os.mkdir, str(canary)), protocol=2)
  for bad in (
    {'size': 7},
    {'size': -1},
    {'data': _SIX[:-1]},
    {'order': False},
    {'content': sings},
  ):
    path.write_bytes(_row(**bad))
    with pytest.raises(ValueError, match=str(path)):
      _arrays(path)
  assert not canary.exists()


def test_damaged_bytes_are_refused(tmp_path):
  path = _archive(tmp_path / 'a.pth', _tensor(), {'0': _SIX})
  data = bytearray(path.read_bytes())
  data[data.find(_SIX) + 5] ^= 1
  path.write_bytes(data)
  with pytest.raises(ValueError, match='w: Bad CRC'):
    _arrays(path)


def test_truncated_pickles_are_refused(tmp_path):
  whole = _tensor()
  for cut in range(1, len(whole)):
    path = _archive(tmp_path / 'a.pth', whole[:cut], {'0': _SIX})
    with pytest.raises(ValueError, match='not readable'):
      torch_file.TorchFile(path)
