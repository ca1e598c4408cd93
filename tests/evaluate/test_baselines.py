"""Baselines learn from the training split alone."""

import dataclasses

import numpy as np
import pytest

from radio_ssl.augment import inputs
from radio_ssl.evaluate import baselines, features


def _tables(name, config, dataset, meta=None, splits=('train', 'test')):
  return baselines.tables(name, config, dataset, list(splits), meta)


def test_unknown_baseline_lists_what_there_is(config, dataset):
  with pytest.raises(ValueError, match=r"'noise'.*random, pixels, catalogue"):
    _tables('noise', config, dataset)


def test_test_rows_cannot_change_the_principal_components(
  config, dataset, write, make_rows
):
  wild = write({'train': make_rows(24, first=0), 'test': make_rows(6, first=7)})
  usual, _ = _tables('pixels', config, dataset)
  other, _ = _tables('pixels', config, wild)
  np.testing.assert_array_equal(
    usual['train'].features, other['train'].features
  )
  # The components are those of the training rows, worked out another way.
  x = np.stack(
    [
      np.asarray(
        inputs.prepare(_batch(r), inputs.Input(**config.input), wild.geometry)
      ).ravel()
      for r in wild.source('train')
    ]
  ).astype(np.float64)
  _, _, axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
  expected = np.abs((x - x.mean(axis=0)) @ axes[:5].T)
  np.testing.assert_allclose(
    np.abs(other['train'].features), expected, rtol=1e-3, atol=1e-3
  )


def _batch(record):
  return {
    'image': record['image'][None],
    'background': np.zeros(1, np.float32),
    'rms': np.full(1, 1e-4, np.float32),
  }


def test_components_are_at_most_what_the_rows_span(config, dataset):
  config.pixel_components = 1000
  tables, facts = _tables('pixels', config, dataset)
  assert facts['components'] == 23
  assert tables['test'].features.shape == (10, 23)
  assert facts['explained_variance'] == pytest.approx(1)


def test_no_components_are_refused(config, dataset):
  config.pixel_components = 0
  with pytest.raises(ValueError, match='pixel_components is 0; wanted 1'):
    _tables('pixels', config, dataset)


def test_identical_images_are_refused(config, write, make_rows):
  rows = list(make_rows(6, first=0))
  same = [row | {'image': rows[0]['image']} for row in rows]
  with pytest.raises(ValueError, match=r'small.*all images of .train. are'):
    _tables('pixels', config, write({'train': same}), splits=['train'])


_NAN = float('nan')


@pytest.fixture
def catalogued(write, make_rows):
  sizes = [10.0, 20.0, 40.0, _NAN, 0.0, 90.0]
  return write(
    {
      'train': make_rows(6, first=0, source_size_arcsec=sizes),
      'test': make_rows(2, first=10, source_size_arcsec=[_NAN, 1e4]),
    }
  )


def test_unknown_sizes_take_the_median_of_the_training_split(
  config, catalogued
):
  tables, facts = _tables('catalogue', config, catalogued)
  found = {
    name: np.exp(row)
    for table in tables.values()
    for name, row in zip(table.names, table.features, strict=True)
  }
  # The median of 0, 10, 20, 40, 90; what is not positive takes the least.
  expected = dict(s0=10, s1=20, s2=40, s3=20, s4=10, s5=90, s10=20, s11=1e4)
  assert {k: v.tolist() for k, v in found.items()} == {
    k: [pytest.approx(v)] for k, v in expected.items()
  }
  assert facts['imputed'] == {
    'train': {'source_size_arcsec': 1},
    'test': {'source_size_arcsec': 1},
  }


def test_columns_without_any_value_are_dropped_and_named(config, catalogued):
  tables, facts = _tables('catalogue', config, catalogued)
  assert facts['columns'] == ['source_size_arcsec']
  assert facts['dropped'] == ['flux_jy']
  assert tables['train'].features.shape == (6, 1)


def test_set_without_catalogue_numbers_is_refused(config, dataset):
  with pytest.raises(ValueError, match='no source sizes and no fluxes'):
    _tables('catalogue', config, dataset)


def test_random_encoder_takes_architecture_and_input_of_the_checkpoint(
  config, dataset, simclr_run, monkeypatch
):
  asked = []
  untrained = features.untrained

  def spy(encoder, image_inputs, *, seed):
    asked.append((encoder, *image_inputs, seed))
    return untrained(encoder, image_inputs, seed=seed)

  monkeypatch.setattr(features, 'untrained', spy)
  meta = features.from_checkpoint(simclr_run).meta
  config.encoder.width = 1 / 8
  config.input.size_pix = 20
  config.seed = 3
  own, _ = _tables('random', config, dataset, splits=['test'])
  lent, facts = _tables('random', config, dataset, meta, splits=['test'])
  assert own['test'].features.shape == (10, 64)
  assert lent['test'].features.shape == (10, 32)
  assert [a[0]['width'] for a in asked] == [1 / 8, 1 / 16]
  assert [a[1].size_pix for a in asked] == [20, 16]
  assert [a[2] for a in asked] == [3, 3]
  assert facts['encoder'] == meta['config']['encoder']
  assert facts['inputs'] == [dataclasses.asdict(asked[1][1])]
