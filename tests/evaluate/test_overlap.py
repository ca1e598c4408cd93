"""Scored sources that pretraining has seen are found by position."""

import numpy as np
import pytest

from radio_ssl.data import catalogue, examples, pipeline
from radio_ssl.evaluate import features, overlap

_NAN = float('nan')


def _images(positions, scale=2.0, rotation=float('nan')):
  """Images of 50 pixels, 100 arcsec at the usual scale."""
  return [
    examples.example(
      np.zeros((50, 50), np.float32),
      name=f'tile{i}',
      source_file='a.fits',
      ra_deg=ra,
      dec_deg=dec,
      pixel_scale_arcsec=scale,
      rotation_deg=rotation,
    )
    for i, (ra, dec) in enumerate(positions)
  ]


@pytest.fixture
def pretrained_on(write_dataset):
  """Writes images and returns the meta of a checkpoint trained on them."""

  def write(positions, split='train', **kwargs):
    directory = write_dataset({'train': _images(positions, **kwargs)})
    dataset = pipeline.open_dataset(directory)
    return {
      'config': {'data': {'split': split}},
      'dataset': {
        'directory': str(directory),
        'fingerprint': dataset.fingerprint,
      },
    }

  return write


def _table(ra, dec, size):
  columns = {'ra_deg': ra, 'dec_deg': dec, 'source_size_arcsec': size}
  return features.Table(
    features=np.zeros((len(ra), 1)),
    labels=np.zeros(len(ra), np.int32),
    names=[f's{i}' for i in range(len(ra))],
    columns={k: np.array(v, float) for k, v in columns.items()},
  )


def _arcsec(north):
  return north / 3600


def test_images_that_show_a_source_are_counted_for_each_split(pretrained_on):
  # Half an image is 50 arcsec; a source reaches 30 arcsec or half its size.
  meta = pretrained_on([(10, 0), (10, 1), (10, 2), (10, 3)])
  train = _table([10, 10], [_arcsec(79), 1 + _arcsec(81)], [_NAN, 20])
  test = _table(
    [10, 10, 10, 10],
    [1 - _arcsec(40), 2 + _arcsec(99), 3 - _arcsec(101), 40],
    [_NAN, 100, 100, _NAN],
  )
  found = overlap.with_pretraining({'train': train, 'test': test}, meta)
  assert found == {'num_images': 4, 'showing': {'train': 1, 'test': 2}}


def test_images_are_counted_once_however_many_sources_they_show(pretrained_on):
  meta = pretrained_on([(10, 0), (200, 0)])
  table = _table([10, 10, 10], [0, _arcsec(5), _arcsec(9)], [_NAN] * 3)
  found = overlap.with_pretraining({'test': table}, meta)
  assert found['showing'] == {'test': 1}


def test_images_that_were_not_trained_on_do_not_count(pretrained_on):
  meta = pretrained_on([(10, 0), (20, 0)], split='train[:1]')
  table = _table([20], [0], [_NAN])
  found = overlap.with_pretraining({'test': table}, meta)
  assert found == {'num_images': 1, 'showing': {'test': 0}}


def test_sources_without_a_position_leave_it_unknown(pretrained_on):
  meta = pretrained_on([(10, 0)])
  table = _table([_NAN, 50], [_NAN, 0], [_NAN, _NAN])
  found = overlap.with_pretraining({'test': table}, meta)
  assert found == {'unknown': "the split 'test' has sources without a position"}


def test_images_of_unknown_scale_count_by_their_centre(pretrained_on):
  meta = pretrained_on([(10, 0), (20, 0)], scale=_NAN)
  table = _table([10, 20], [_arcsec(29), _arcsec(31)], [_NAN, _NAN])
  found = overlap.with_pretraining({'test': table}, meta)
  assert found['showing'] == {'test': 1}


def test_sources_of_a_hold_out_count_beside_the_split_of_that_name(
  pretrained_on, tmp_path
):
  meta = pretrained_on([(10, 0), (10, 1), (10, 2)])
  path = tmp_path / 'h.csv'
  catalogue.write(path, [('a', 10, 0, np.nan, np.nan)])
  held_out = catalogue.read(path)
  test = _table([10], [2], [_NAN])
  found = overlap.with_pretraining({'test': test}, meta, held_out)
  assert found['showing'] == {'test': 1, 'holdout': 1}
  scored = _table([10, 10], [1, 0], [_NAN, _NAN])
  found = overlap.with_pretraining({'holdout': scored}, meta, held_out)
  assert found['showing'] == {'holdout': 2}


def test_what_cannot_be_known_is_said(pretrained_on):
  table = {'test': _table([10], [0], [_NAN])}
  meta = pretrained_on([(10, 0)])
  rebuilt = meta | {'dataset': meta['dataset'] | {'fingerprint': 'other'}}
  found = overlap.with_pretraining(table, rebuilt)
  assert 'built anew' in found['unknown']
  gone = meta | {'dataset': meta['dataset'] | {'directory': '/nowhere'}}
  found = overlap.with_pretraining(table, gone)
  assert found == {'unknown': '/nowhere is not here'}


def test_images_without_a_position_leave_it_unknown(pretrained_on):
  found = overlap.with_pretraining(
    {'test': _table([10], [0], [_NAN])}, pretrained_on([(10, 0), (_NAN, _NAN)])
  )
  assert 'without a position' in found['unknown']


@pytest.mark.parametrize(('rotation', 'shown'), [(_NAN, 0), (0, 0), (45, 1)])
def test_turned_images_show_what_lies_in_their_corners(
  pretrained_on, rotation, shown
):
  # Half the diagonal of 100 arcsec is 71, and 30 more.
  meta = pretrained_on([(10.0, 0.0)], rotation=rotation)
  tables = {'test': _table([10.0], [_arcsec(95)], [0.0])}
  found = overlap.with_pretraining(tables, meta)
  assert found['showing'] == {'test': shown}
