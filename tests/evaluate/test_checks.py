"""What cannot be scored honestly is refused, or told."""

import dataclasses

import numpy as np
import pytest

from configs import base
from radio_ssl.data import splits
from radio_ssl.evaluate import checks, features, protocols, selection


def _table(labels, first=0, ra=None):
  num = len(labels)
  positions = np.arange(first, first + num, dtype=float) if ra is None else ra
  return features.Table(
    features=np.zeros((num, 1)),
    labels=np.asarray(labels, np.int32),
    names=[f's{i}' for i in range(first, first + num)],
    columns={'ra_deg': np.asarray(positions), 'dec_deg': np.zeros(num)},
  )


def _check(config, dataset, train, test=None):
  chosen = selection.Selection(dataset, {}, 'train', 'test')
  checks.examples(
    config, chosen, {'train': train, 'test': test or _table([0, 1], 100)}
  )


def test_protocols_are_the_modules_that_predict():
  assert protocols.names() == [
    'finetune',
    'knn',
    'linear',
    'linear_sgd',
  ]


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (
      {'protocol': 'metrics'},
      "No protocol named 'metrics'.*: finetune, knn, linear",
    ),
    ({'protocol': 'magic'}, "No protocol named 'magic'"),
    ({'rotations': 3}, 'rotations is 3; wanted 1 or 4 or 8'),
    ({'which': 'target'}, "which is 'target'; wanted .*'online' or 'ema'"),
    ({'num_folds': 1}, 'num_folds is 1; wanted 2 or more'),
    ({'batch_size': 0}, 'batch_size is 0; wanted 1 or more'),
    ({'num_bootstrap': 0}, 'num_bootstrap is 0'),
    ({'data.test': 'train'}, "train and config.data.test are both 'train'"),
  ],
)
def test_bad_settings_are_refused_by_name(config, fields, message):
  config.update_from_flattened_dict(fields)
  with pytest.raises(ValueError, match=message):
    checks.settings(config, None, 'pixels')


def test_nothing_to_evaluate_is_refused(config):
  with pytest.raises(ValueError, match='give a checkpoint or a baseline'):
    checks.settings(config, None, None)


def test_config_of_another_program_is_refused():
  with pytest.raises(ValueError, match=r'Wanted a config of configs/eval/'):
    checks.settings(base.get_config(), 'runs/x', None)


@pytest.mark.parametrize('place', ['', 'data.'])
def test_field_that_is_invented_or_missing_is_refused(config, place):
  holder = config.data if place else config
  with holder.unlocked():
    holder.sed = 1
  with pytest.raises(ValueError, match="has no field 'sed'"):
    checks.settings(config, 'runs/x', None)
  with holder.unlocked():
    del holder.sed
    del holder['classes' if place else 'seed']
  with pytest.raises(ValueError, match=r"lacks the field '(classes|seed)'"):
    checks.settings(config, 'runs/x', None)


def test_unknown_baseline_is_refused_before_anything_is_read(config):
  with pytest.raises(ValueError, match="'noise'; there are: random, pixels"):
    checks.settings(config, None, 'noise')


def test_splits_that_share_a_source_are_refused(config, dataset):
  train, test = _table([0, 1] * 12), _table([0, 1], first=23)
  with pytest.raises(ValueError, match='share 1 sources, such as s23'):
    _check(config, dataset, train, test)


@pytest.mark.parametrize('count', [0, 1, 3])
def test_class_too_small_for_the_folds_is_named(config, dataset, count):
  train = _table([0] * 12 + [1] * count)
  message = rf"{{'two': {count}}}; lower config.num_folds\.$"
  with pytest.raises(ValueError, match=message):
    _check(config, dataset, train)


@pytest.mark.parametrize('folds', [2, 3, 5])
def test_smallest_class_that_is_let_through_divides_twice(
  config, dataset, folds
):
  config.num_folds = folds
  for count in range(1, 20):
    labels = np.array([0] * 30 + [1] * count)
    try:
      _check(config, dataset, _table(labels))
    except ValueError:
      continue
    break
  outer = splits.stratified_folds(labels, num_folds=folds, seed=0)
  for fold in range(folds):
    splits.stratified_folds(labels[outer != fold], num_folds=folds, seed=0)
  # One source fewer would not do.
  left = labels[outer != np.bincount(outer[labels == 1]).argmax()]
  with pytest.raises(ValueError, match='Class 1 has'):
    splits.stratified_folds(left[:-1], num_folds=folds, seed=0)


def test_one_class_alone_is_refused(dataset):
  alone = dataclasses.replace(dataset, label_names=('one',))
  with pytest.raises(ValueError, match="one class alone, 'one'"):
    checks.classes(alone)


def test_sources_of_one_position_count_once(config, dataset):
  labels = [0] * 12 + [1] * 6
  ra = np.arange(18.0)
  ra[12:16] = 50 + np.arange(4) * 10 / 3600
  with pytest.raises(ValueError, match="'two': 3}"):
    _check(config, dataset, _table(labels, ra=ra))


def test_test_sources_beside_training_sources_are_told(config, dataset, caplog):
  train = _table([0, 1] * 12)
  _check(config, dataset, train, _table([0, 1], 100))
  assert not caplog.text
  beside = _table([0, 1, 0], 100, ra=[100, 5 + 59 / 3600, 6 - 61 / 3600])
  train.columns['ra_deg'][9] = 5
  _check(config, dataset, train, beside)
  assert '1 of 3 test sources lie within 60 arcsec' in caplog.text
