import io
import os
import pickle
import tarfile

import numpy as np
import pytest

from radio_ssl.data import unpickle


class _Canary:
  """Leaves a file behind when its pickle is run."""

  def __init__(self, path):
    self.path = str(path)

  def __reduce__(self):
    return os.mkdir, (self.path,)


def _archive(path, members):
  with tarfile.open(path, 'w:gz') as archive:
    for name, data in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
  return path


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers_come_back_equal(protocol):
  batch = {
    'data': [np.arange(6, dtype=np.uint8).reshape(2, 3)],
    'big_endian': np.array([1.5, np.nan], dtype='>f4'),
    'scalar': np.float64(2.5),
    'filenames': [np.str_('a.png'), 'b.png', b'c.png'],
    'labels': (1, 2.5, None, True),
  }
  read = unpickle.loads(pickle.dumps(batch, protocol))
  assert read.keys() == batch.keys()
  np.testing.assert_array_equal(read['data'][0], batch['data'][0])
  np.testing.assert_array_equal(read['big_endian'], batch['big_endian'])
  assert read['filenames'] == batch['filenames']
  assert read['labels'] == batch['labels']
  assert read['scalar'] == 2.5


def test_an_array_written_by_python_2_is_read():
  # Protocol 2 with 8-bit strings, as Python 2 wrote {'data': uint8 [1, 2]}.
  data = (
    b'\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n'
    b'K\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R'
    b'(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\xfe\xfft'
    b'bs.'
  )
  read = unpickle.loads(data)
  np.testing.assert_array_equal(read['data'], np.uint8([254, 255]))


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path, protocol):
  canary = tmp_path / 'canary'
  data = pickle.dumps({'data': [_Canary(canary)]}, protocol)
  with pytest.raises(pickle.UnpicklingError, match=r'refused.*posix\.mkdir'):
    unpickle.loads(data)
  assert not canary.exists()
  pickle.loads(data)
  assert canary.exists(), 'the canary must be able to sing'


@pytest.mark.parametrize(
  'name',
  [
    'builtins\neval',
    'builtins\ngetattr',
    'numpy\nload',
    'numpy\nfromfile',
    'numpy.core.multiarray\nfromstring',
    'numpy\nndarray.tofile',
    'subprocess\nPopen',
  ],
)
def test_other_globals_are_refused_by_name(name):
  with pytest.raises(
    pickle.UnpicklingError, match=f'refused global {name.replace(chr(10), ".")}'
  ):
    unpickle.loads(f'c{name}\n.'.encode())


def test_a_dotted_name_does_not_reach_inside_an_allowed_class():
  # Protocol 4 resolves dots itself when find_class does not stop them.
  data = b'\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.'
  with pytest.raises(pickle.UnpicklingError, match=r'ndarray\.tofile'):
    unpickle.loads(data)


@pytest.mark.parametrize('data', [b'', b'hello', pickle.dumps([1, 2])[:-4]])
def test_a_damaged_pickle_is_one_kind_of_error(data):
  with pytest.raises(pickle.UnpicklingError):
    unpickle.loads(data)


def test_batches_of_an_archive_come_with_their_member_names(tmp_path):
  path = _archive(
    tmp_path / 'a.tar.gz',
    {
      'folder/data_batch_1': pickle.dumps({b'labels': [1]}),
      'folder/test_batch': pickle.dumps({'labels': [2]}),
    },
  )
  assert dict(unpickle.read_batches(path)) == {
    'data_batch_1': {'labels': [1]},
    'test_batch': {'labels': [2]},
  }


def test_a_refused_member_is_named_with_its_archive(tmp_path):
  data = pickle.dumps({'data': _Canary(tmp_path / 'canary')})
  path = _archive(tmp_path / 'a.tar.gz', {'f/data_batch_1': data})
  with pytest.raises(
    pickle.UnpicklingError, match=r'a\.tar\.gz: f/data_batch_1: refused global'
  ):
    list(unpickle.read_batches(path))


@pytest.mark.parametrize('name', ['../data_batch_1', '/tmp/data_batch_1'])
def test_a_member_outside_the_archive_is_not_followed(tmp_path, name):
  path = _archive(tmp_path / 'a.tar.gz', {name: pickle.dumps({'a': 1})})
  if name.startswith('/'):
    assert list(unpickle.read_batches(path)) == [('data_batch_1', {'a': 1})]
  else:
    with pytest.raises(tarfile.OutsideDestinationError):
      list(unpickle.read_batches(path))
  assert list(tmp_path.iterdir()) == [path]


def test_a_batch_that_is_no_dict_is_refused(tmp_path):
  path = _archive(tmp_path / 'a.tar.gz', {'batch': pickle.dumps([1])})
  with pytest.raises(pickle.UnpicklingError, match='batch holds a list'):
    list(unpickle.read_batches(path))
