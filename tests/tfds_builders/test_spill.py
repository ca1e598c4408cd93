import pathlib
import sys

import numpy as np
import pytest
from tensorflow_datasets.core import shuffle

from tfds_builders import build, spill
from tfds_builders.radio_fits import testing

survey = testing.survey


def shuffled(folder, number):
  shuffler = shuffle.Shuffler(folder, 'train')
  for i in range(number):
    shuffler.add(f'key {i}', bytes([i % 256]) * (i % 100))
  return list(shuffler), shuffler


def test_order_is_the_same_in_memory_and_on_disk(tmp_path, monkeypatch):
  expected, _ = shuffled(tmp_path, 3000)
  assert not list(tmp_path.iterdir())
  monkeypatch.setattr(spill, '_IN_MEMORY_BYTES', 1000)
  with spill.plain_files():
    found, shuffler = shuffled(tmp_path, 3000)
    assert sum(shuffler.bucket_lengths) == 3000
    assert len([n for n in shuffler.bucket_lengths if n]) > 900
  assert found == expected
  assert not list(tmp_path.iterdir())


def test_same_key_twice_is_still_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(spill, '_IN_MEMORY_BYTES', 0)
  with spill.plain_files():
    shuffler = shuffle.Shuffler(tmp_path, 'train')
    shuffler.add('a', b'1')
    shuffler.add('a', b'2')
    with pytest.raises(shuffle.DuplicatedKeysError):
      list(shuffler)


def test_large_set_is_built_without_tensorflow(survey, tmp_path, monkeypatch):
  settings = survey | {'size_pix': 40}
  small = build.build('radio_fits', **settings)
  # Five of the 32 tiles fit.
  monkeypatch.setattr(spill, '_IN_MEMORY_BYTES', 5 * 4 * 40**2)
  settings['data_dir'] = tmp_path / 'other'
  large = build.build('radio_fits', **settings)
  (expected, _), (found, _) = testing.read(small), testing.read(large)
  assert list(found) == list(expected)
  for name, example in found.items():
    np.testing.assert_array_equal(example['image'], expected[name]['image'])
  assert 'tensorflow' not in sys.modules
  left = [p.name for p in pathlib.Path(large).iterdir() if 'bucket' in p.name]
  assert not left
