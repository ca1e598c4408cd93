"""The batch of a step is a pure function of the step."""

import itertools
import json

import numpy as np
import pytest

from radio_ssl import testing
from radio_ssl.data import examples, pipeline


def _rows(n, *, dtype=np.float32, labelled=True):
  return [
    examples.example(
      np.full((4, 5), i, dtype),
      name=f's{i}',
      source_file='a.fits',
      ra_deg=i,
      dec_deg=0.0,
      background_jy_beam=i / 10,
      rms_jy_beam=1 + i,
      label=i % 2 if labelled else None,
    )
    for i in range(n)
  ]


@pytest.fixture
def dataset(write_dataset):
  directory = write_dataset(
    {'train': _rows(10), 'test': _rows(3)},
    label_names=['a', 'b'],
    pixel_scale_arcsec=1.8,
    beam_major_arcsec=None,
  )
  return pipeline.open_dataset(directory)


def _take(n, *args, **kwargs):
  batches = pipeline.train_batches(*args, **kwargs)
  return list(itertools.islice(batches, n))


def test_opened_data_set_knows_its_geometry(dataset):
  assert dataset.geometry == examples.Geometry(4, 5, 'float32', 1.8, None)
  assert dataset.label_names == ('a', 'b')
  assert dict(dataset.num_examples) == {'train': 10, 'test': 3}


def test_batches_carry_what_the_record_holds(dataset):
  (batch,) = _take(1, dataset, 'train', batch_size=8, seed=0)
  assert batch['image'].shape == (8, 4, 5, 1)
  # Builders shuffle: a record's number says nothing of what is in it.
  value = batch['image'][:, 0, 0, 0]
  source = dataset.source('train')
  stored = [source[int(i)]['image'][0, 0, 0] for i in batch['index']]
  np.testing.assert_array_equal(value, stored)
  np.testing.assert_allclose(batch['background'], value / 10, rtol=1e-6)
  np.testing.assert_allclose(batch['rms'], 1 + value)
  np.testing.assert_array_equal(batch['label'], value % 2)
  np.testing.assert_array_equal(batch['row'], np.arange(8))


def test_every_epoch_has_each_example_once_in_another_order(dataset):
  batches = _take(4, dataset, 'train', batch_size=5, seed=0)
  order = np.concatenate([b['index'] for b in batches])
  assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
  assert list(order[:10]) != list(order[10:])
  assert list(order[:10]) != list(range(10))


def test_batches_run_across_the_ends_of_epochs(dataset):
  batches = _take(5, dataset, 'train', batch_size=4, seed=3)
  order = np.concatenate([b['index'] for b in batches])
  assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))


@pytest.mark.parametrize('first_step', [0, 1, 4])
def test_resumed_reading_equals_uninterrupted_reading(dataset, first_step):
  whole = _take(7, dataset, 'train', batch_size=4, seed=1)
  rest = _take(
    7 - first_step,
    dataset,
    'train',
    batch_size=4,
    seed=1,
    first_step=first_step,
  )
  for a, b in zip(rest, whole[first_step:], strict=True):
    np.testing.assert_array_equal(a['index'], b['index'])


@pytest.mark.parametrize('process_count', [2, 4])
@pytest.mark.parametrize('first_step', [0, 3])
def test_processes_share_the_rows_of_the_same_batches(
  dataset, process_count, first_step
):
  whole = _take(8, dataset, 'train', batch_size=8, seed=1)[first_step:]
  parts = [
    _take(
      8 - first_step,
      dataset,
      'train',
      batch_size=8,
      seed=1,
      first_step=first_step,
      process_index=p,
      process_count=process_count,
    )
    for p in range(process_count)
  ]
  for step, batch in enumerate(whole):
    for key in ('index', 'row', 'image'):
      joined = np.concatenate([part[step][key] for part in parts])
      np.testing.assert_array_equal(joined, batch[key], err_msg=key)


def test_workers_give_the_same_batches_in_the_same_order(dataset):
  settings = {
    'batch_size': 4,
    'seed': 1,
    'first_step': 3,
    'process_index': 1,
    'process_count': 2,
  }
  alone = _take(7, dataset, 'train', **settings)
  batches = pipeline.train_batches(
    dataset, 'train', num_workers=2, num_threads=1, **settings
  )
  for expected in alone:
    found = next(batches)
    assert set(found) == set(expected)
    for key, value in expected.items():
      np.testing.assert_array_equal(found[key], value, err_msg=key)
  batches.close()


def test_another_seed_gives_another_order(dataset):
  a, b = (
    _take(1, dataset, 'train', batch_size=10, seed=s)[0]['index']
    for s in (0, 1)
  )
  assert list(a) != list(b)


def test_eight_bit_pictures_have_no_noise_level(write_dataset):
  directory = write_dataset({'train': _rows(4, dtype=np.uint8, labelled=False)})
  dataset = pipeline.open_dataset(directory)
  (batch,) = _take(1, dataset, 'train', batch_size=4, seed=0)
  assert batch['image'].dtype == np.uint8
  assert (batch['background'] == 0).all()
  assert (batch['rms'] == 1).all()
  assert 'label' not in batch


@pytest.fixture
def halved(write_dataset):
  """The same examples in float32 and in float16."""
  splits = {'train': _rows(10), 'test': _rows(3)}
  return [
    pipeline.open_dataset(
      write_dataset(
        {
          split: [examples.stored(row, dtype) for row in rows]
          for split, rows in splits.items()
        },
        label_names=['a', 'b'],
        name=f'of_{dtype}',
      )
    )
    for dtype in ('float32', 'float16')
  ]


def test_readers_of_a_float16_set_see_float32_in_jy_beam(halved):
  whole, half = halved
  assert (whole.stored_dtype, half.stored_dtype) == ('float32', 'float16')
  assert half.geometry == whole.geometry
  both = [
    [sorted(d.source(split), key=lambda r: r['name']) for d in (whole, half)]
    for split in ('train', 'test')
  ]
  for records in both:
    for a, b in zip(*records, strict=True):
      assert b.keys() == a.keys()
      assert b['image'].dtype == np.float32
      np.testing.assert_allclose(b['image'], a['image'], rtol=2**-11)
  (batch,) = _take(1, half, 'train', batch_size=10, seed=0)
  assert batch['image'].dtype == np.float32
  np.testing.assert_allclose(
    batch['image'][:, 0, 0, 0], batch['rms'] - 1, rtol=2**-11
  )
  (record,) = half.of_classes(['b']).source('test')
  np.testing.assert_allclose(record['image'], 1, rtol=2**-11)
  assert record['label'] == 0


def test_float16_of_an_unknown_unit_is_refused(write_dataset, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(examples, 'SCALE_FIELD', 'other')
    rows = [examples.stored(row, 'float16') for row in _rows(3)]
    directory = write_dataset({'train': rows}, label_names=['a', 'b'])
  with pytest.raises(ValueError, match="'image_scale_jy_beam' is missing"):
    pipeline.open_dataset(directory)


def test_fingerprint_is_not_of_the_prose(write_dataset):
  directory = write_dataset({'train': _rows(3)}, label_names='ab')
  before = pipeline.open_dataset(directory).fingerprint
  path = directory / 'dataset_info.json'
  info = json.loads(path.read_text())
  info |= {'description': 'Told better.', 'citation': '@misc{a}'}
  path.write_text(json.dumps(info))
  assert pipeline.open_dataset(directory).fingerprint == before
  info['splits'][0]['numBytes'] = '1'
  path.write_text(json.dumps(info))
  assert pipeline.open_dataset(directory).fingerprint != before


@pytest.mark.parametrize(
  ('field', 'value'),
  [('image', np.ones((4, 5, 1), np.float32)), ('ra_deg', 1.0), ('name', b't0')],
)
def test_fingerprint_is_of_what_examples_hold(tmp_path, field, value):
  rows = _rows(1)
  first, again, other = (
    pipeline.open_dataset(
      testing.write(tmp_path / folder, {'train': its}, label_names='ab')
    ).fingerprint
    for folder, its in (
      ('a', rows),
      ('b', [dict(reversed(rows[0].items()))]),
      ('c', [rows[0] | {field: value}]),
    )
  )
  assert first == again != other


def test_fingerprint_changes_with_the_data(write_dataset):
  prints = {
    pipeline.open_dataset(
      write_dataset({'train': _rows(n)}, label_names='ab', name=f'of{n}')
    ).fingerprint
    for n in (3, 4)
  }
  assert len(prints) == 2


def test_missing_data_set_says_how_to_build_it(tmp_path):
  with pytest.raises(ValueError, match=r'tfds_builders\.build'):
    pipeline.open_dataset(tmp_path)


def test_unknown_split_lists_what_there_is(dataset):
  with pytest.raises(ValueError, match=r"'valid'; there are: train, test"):
    dataset.source('valid')


def test_an_empty_slice_is_refused(dataset):
  with pytest.raises(ValueError, match=r"'train\[3:3\]' is empty or damaged"):
    dataset.source('train[3:3]')


def test_batch_larger_than_the_split_is_refused(dataset):
  with pytest.raises(ValueError, match='3 examples, fewer than'):
    pipeline.train_batches(dataset, 'test', batch_size=4, seed=0)


def test_negative_number_of_workers_is_refused(dataset):
  with pytest.raises(ValueError, match='num_workers is -1; wanted >= 0'):
    pipeline.train_batches(
      dataset, 'train', batch_size=4, seed=0, num_workers=-1
    )


def test_batch_that_does_not_divide_over_processes_is_refused(dataset):
  with pytest.raises(ValueError, match='does not divide over 3'):
    pipeline.train_batches(
      dataset, 'train', batch_size=4, seed=0, process_count=3
    )
