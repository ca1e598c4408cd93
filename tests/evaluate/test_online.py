"""The online score, and what it refuses before the first step."""

import dataclasses
import types

import numpy as np
import pytest

from radio_ssl.augment import inputs
from radio_ssl.data import catalogue
from radio_ssl.evaluate import features, online

_INPUT = inputs.Input(size_pix=16, field_arcsec=36.0)


def _monitor(validation='', holdout=''):
  return types.SimpleNamespace(
    train='train', validation=validation, holdout=holdout
  )


@pytest.fixture(scope='module')
def frozen():
  return features.untrained(
    {'name': 'resnet10', 'width': 1 / 16}, (_INPUT,), seed=0
  )


def test_validation_split_is_scored_by_neighbours_in_the_training_split(
  write, make_rows, frozen, monkeypatch
):
  splits = {
    'train': make_rows(12, first=0),
    'valid': make_rows(4, first=50, labels=[0, 1, 0, 0]),
  }
  extract = features.extract

  def by_hand(frozen, dataset, split):
    # By number, odd ones look like class 1: s53 is labelled otherwise.
    table = extract(frozen, dataset, split)
    shown = [int(name[1:]) % 2 for name in table.names]
    return dataclasses.replace(table, features=np.eye(2)[shown])

  monkeypatch.setattr(features, 'extract', by_hand)
  dataset = write(splits)
  assert online.accuracy(frozen, dataset, _monitor('valid')) == 0.75
  assert online.accuracy(frozen, dataset, _monitor()) == 1.0


def test_twins_on_the_sky_share_a_fold(write, make_rows, frozen, monkeypatch):
  # Each source comes twice, at one place; its features tell the place alone.
  generator = np.random.default_rng(0)
  labels = np.repeat(generator.integers(0, 2, 20), 2)
  places = np.repeat(generator.normal(size=(20, 8)), 2, axis=0)
  rows = list(make_rows(40, first=0, labels=labels))
  extract = features.extract

  def by_place(*args):
    table = extract(*args)
    shown = [places[int(name[1:])] for name in table.names]
    return dataclasses.replace(table, features=np.stack(shown))

  monkeypatch.setattr(features, 'extract', by_place)
  assert online.accuracy(frozen, write({'train': rows}), _monitor()) == 1.0
  for i, row in enumerate(rows):
    row['ra_deg'] = np.float64(i // 2)
  dataset = write({'train': rows}, name='twins')
  assert online.accuracy(frozen, dataset, _monitor()) < 0.8


@pytest.mark.parametrize('validation', ['', 'valid'])
def test_held_out_sources_are_not_scored_and_are_no_neighbours(
  write, make_rows, frozen, monkeypatch, tmp_path, validation
):
  read = []
  extract = features.extract

  def spy(frozen, dataset, split):
    table = extract(frozen, dataset, split)
    read.extend(table.names)
    return table

  monkeypatch.setattr(features, 'extract', spy)
  splits = {
    name: list(
      make_rows(num, first=first, pixel_scale_arcsec=np.full(num, 1.8))
    )
    for name, num, first in (('train', 14, 0), ('valid', 6, 50))
  }
  path = tmp_path / 'h.csv'
  catalogue.write(path, [(i, i, 0.001, np.nan, np.nan) for i in (3, 4, 51)])
  monitor = _monitor(validation, str(path))
  dataset = write(splits)
  online.check(monitor, dataset, _INPUT)
  online.accuracy(frozen, dataset, monitor)
  wanted = {*range(14), *(range(50, 56) if validation else ())} - {3, 4, 51}
  assert sorted(read) == sorted(f's{i}' for i in wanted)


def test_hold_out_of_another_sky_is_refused(write, make_rows, tmp_path):
  path = tmp_path / 'h.csv'
  catalogue.write(path, [('x', 99, 0, np.nan, np.nan)])
  rows = make_rows(12, first=0, pixel_scale_arcsec=np.full(12, 1.8))
  with pytest.raises(ValueError, match=r'of config\.monitor: .*h\.csv.* none'):
    online.check(_monitor(holdout=str(path)), write({'train': rows}), _INPUT)


@pytest.mark.parametrize(
  ('splits', 'validation', 'told'),
  [
    (
      {'train': dict(num=12, first=0), 'valid': dict(num=4, first=8)},
      'valid',
      'share 4 sources, such as s10',
    ),
    (
      {
        'train': dict(num=4, first=0, labels=[0] * 4),
        'valid': dict(num=4, first=8),
      },
      'valid',
      "no source of the class 'two' to learn from",
    ),
    ({'train': dict(num=12, first=0)}, 'gone', "no split 'gone'"),
    (
      {'train': dict(num=12, first=0, labels=[0] * 11 + [1])},
      '',
      'of config.monitor: Class 1 has 1 sources',
    ),
  ],
)
def test_what_cannot_be_scored_is_refused(
  write, make_rows, splits, validation, told
):
  dataset = write({k: make_rows(**v) for k, v in splits.items()})
  with pytest.raises(ValueError, match=told):
    online.check(_monitor(validation), dataset, _INPUT)


def test_images_that_do_not_fit_the_input_are_refused(write, make_rows):
  dataset = write({'train': make_rows(12, first=0)})
  large = inputs.Input(size_pix=16, field_arcsec=500.0)
  with pytest.raises(ValueError, match=r'of config\.monitor: .*at most 72'):
    online.check(_monitor(), dataset, large)
