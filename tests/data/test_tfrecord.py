"""TFRecord sets read as array_record sets do, without TensorFlow."""

import pathlib
import struct
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl.data import examples, pipeline


def _rows(first, last):
  return [
    examples.example(
      np.full((3, 4), i, np.float32),
      name=f's{i}',
      source_file='a.fits',
      ra_deg=i / 3,
      dec_deg=0.0,
      background_jy_beam=0.0,
      rms_jy_beam=1.0,
    )
    for i in range(first, last)
  ]


def _as_tfrecord(directory: pathlib.Path) -> None:
  """Writes the shards of a data set anew; checksums are left 0."""
  builder = tfds.builder_from_directory(directory)
  for split, info in builder.info.splits.items():
    raw = builder.as_data_source(
      split,
      deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES,
    )
    (shard,) = map(pathlib.Path, info.filepaths)
    records = [struct.pack('<QI', len(r), 0) + r + bytes(4) for r in raw]
    shard.with_name(shard.name.replace('array_record', 'tfrecord')).write_bytes(
      b''.join(records)
    )
    shard.unlink()
  _replace_in_info(directory, 'array_record', 'tfrecord')


def _replace_in_info(directory, old, new):
  info = directory / 'dataset_info.json'
  info.write_text(info.read_text().replace(old, new))


@pytest.fixture
def pair(write_dataset):
  """The same records as array_record and as tfrecord."""
  splits = {'train': _rows(0, 9), 'test': _rows(9, 12)}
  directories = [write_dataset(splits, name=name) for name in ('a', 'b')]
  _as_tfrecord(directories[1])
  return [pipeline.open_dataset(d) for d in directories]


@pytest.mark.parametrize(
  'split', ['train', 'test', 'train[2:5]', 'train[50%:]']
)
def test_records_and_slices_are_those_of_array_record(pair, split):
  array_record, tfrecord = pair
  assert tfrecord.file_format == 'tfrecord'
  wanted, found = array_record.source(split), tfrecord.source(split)
  assert len(found) == len(wanted) > 0
  for i, (a, b) in enumerate(zip(wanted, found, strict=True)):
    assert a['name'] == b['name'] == found[i]['name']
    assert a['ra_deg'] == b['ra_deg']
    np.testing.assert_array_equal(a['image'], b['image'])
  assert 'tensorflow' not in sys.modules


def test_batches_are_those_of_array_record(pair):
  a, b = (
    next(pipeline.train_batches(d, 'train', batch_size=8, seed=0)) for d in pair
  )
  assert a.keys() == b.keys()
  for key, value in a.items():
    np.testing.assert_array_equal(value, b[key], err_msg=key)


def test_workers_read_tfrecord(pair):
  _, tfrecord = pair
  settings = {'batch_size': 8, 'seed': 0}
  expected = next(pipeline.train_batches(tfrecord, 'train', **settings))
  batches = pipeline.train_batches(
    tfrecord, 'train', num_workers=1, num_threads=1, **settings
  )
  np.testing.assert_array_equal(next(batches)['image'], expected['image'])
  batches.close()


@pytest.mark.parametrize('kept', [0, 5, 0.5, -1])
def test_a_shard_that_is_cut_short_is_refused(pair, kept):
  _, tfrecord = pair
  shard = next(tfrecord.directory.glob('*train.tfrecord*'))
  content = shard.read_bytes()
  kept = int(kept * len(content)) if isinstance(kept, float) else kept
  shard.write_bytes(content[:kept])
  with pytest.raises(ValueError, match=r"'train' is empty or damaged"):
    tfrecord.source('train')
  assert len(tfrecord.source('test')) == 3


def test_an_empty_slice_is_refused(pair):
  with pytest.raises(ValueError, match='is empty or damaged: no examples'):
    pair[1].source('train[3:3]')


def test_other_formats_are_refused_with_the_remedy(pair):
  directory = pair[0].directory
  _replace_in_info(directory, 'array_record', 'riegeli')
  with pytest.raises(ValueError, match=r'stored as riegeli; .*convert_format'):
    pipeline.open_dataset(directory)
