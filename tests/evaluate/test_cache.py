"""Shared features are those of the same encoder and rows alone."""

import dataclasses

import jax
import numpy as np
import pytest

from radio_ssl.augment import inputs
from radio_ssl.evaluate import cache, features, runner, selection

_INPUT = inputs.Input(size_pix=16, field_arcsec=36.0)
_ENCODER = {'name': 'resnet10', 'width': 1 / 16}


@pytest.fixture
def counted(monkeypatch):
  """Numbers of the images that are encoded, one call a row."""
  calls, extract = [], features.extract

  def count(frozen, dataset, split, **settings):
    table = extract(frozen, dataset, split, **settings)
    calls.append(len(table.labels))
    return table

  monkeypatch.setattr(features, 'extract', count)
  return calls


def _frozen(seed=0, image_input=_INPUT):
  return features.untrained(_ENCODER, (image_input,), seed=seed)


def test_an_equal_encoder_and_rows_are_encoded_once(dataset, counted):
  shared, chosen = cache.Cache(), selection.choose(dataset, 'train', 'test')
  first = shared.extract(_frozen(), chosen, 'test', batch_size=5)
  second = shared.extract(_frozen(), chosen, 'test', batch_size=5)
  assert second is first
  assert counted == [10]


@pytest.mark.parametrize(
  'other', ['weights', 'statistics', 'input', 'split', 'rows', 'rotations']
)
def test_what_differs_is_encoded_anew(dataset, counted, other):
  shared, chosen = cache.Cache(), selection.choose(dataset, 'train', 'test')
  frozen = _frozen()
  shared.extract(frozen, chosen, 'test', rotations=1)
  split, rotations, expected = 'test', 1, 10
  if other == 'weights':
    frozen = _frozen(seed=1)
  elif other == 'statistics':
    moved = jax.tree.map(lambda x: x + 1e-3, frozen.variables['batch_stats'])
    variables = {**frozen.variables, 'batch_stats': moved}
    frozen = dataclasses.replace(frozen, variables=variables)
  elif other == 'input':
    wider = dataclasses.replace(_INPUT, field_arcsec=30.0)
    frozen = _frozen(image_input=wider)
  elif other == 'split':
    split, expected = 'train', len(chosen.rows['train'])
  elif other == 'rows':
    chosen, expected = chosen.part('test', [3, 1]), 2
  else:
    rotations = 4
  found = shared.extract(frozen, chosen, split, rotations=rotations)
  assert len(counted) == 2
  assert len(found.labels) == counted[-1] == expected
  np.testing.assert_array_equal(
    found.features,
    features.extract(frozen, chosen, split, rotations=rotations).features,
  )


def test_another_set_or_other_classes_share_nothing(write, make_rows, counted):
  shared = cache.Cache()
  first, second = (
    write({'test': make_rows(6, first=start)}, name=f'from{start}')
    for start in (0, 50)
  )
  found = [
    shared.extract(_frozen(), selection.choose(its, 'test', ''), 'test')
    for its in (first, second, first.of_classes(['two', 'one']))
  ]
  assert counted == [6, 6, 6]
  assert found[0].names != found[1].names
  np.testing.assert_array_equal(found[2].labels, 1 - found[0].labels)


@pytest.mark.parametrize('baseline', [None, 'random'])
def test_evaluations_of_a_process_share_features(
  config, simclr_run, tmp_path, counted, baseline
):
  shared = cache.Cache()
  for protocol in ('linear', 'knn'):
    config.protocol = protocol
    runner.run(
      config,
      checkpoint=simclr_run,
      baseline=baseline,
      output=tmp_path / protocol,
      extract=shared.extract,
    )
  # Of two splits, by the first protocol alone.
  assert len(counted) == 2
