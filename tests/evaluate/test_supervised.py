"""Classifiers that are taught on images."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from configs import base
from configs.eval import finetune_mirabest, linear_sgd_mirabest
from radio_ssl.evaluate import (
  classifier,
  features,
  finetune,
  linear_sgd,
  runner,
  selection,
  supervised,
)
from radio_ssl.models import base as models


@pytest.fixture
def chosen(dataset):
  return selection.choose(dataset, 'train', 'test')


@pytest.fixture
def short(config):
  """Ten epochs of SGD on the classifier."""
  config.protocol = 'linear_sgd'
  config.training.num_epochs = 10
  config.training.batch_size = 12
  config.training.optimizer = base.optimizer('sgd', lr=20.0, weight_decay=0.0)
  return config


@pytest.fixture
def start(config):
  return features.untrained(config.encoder, features.shown(config, ()), seed=0)


def _part(chosen):
  return chosen.part('train', range(24))


def _same(a, b):
  return all(
    np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


def test_a_frozen_encoder_stays_as_it_is_and_its_classifier_learns(
  short, start, chosen
):
  fitted = linear_sgd.fit_images(start, _part(chosen), short)
  assert fitted.encoder is start
  found = fitted.probabilities(chosen.part('test', range(10)), short)
  table = features.extract(start, chosen, 'test')
  assert (found.argmax(axis=1) == table.labels).mean() >= 0.9
  np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
  assert fitted.facts['steps'] == 20
  assert fitted.facts['rows'] == 24


def test_sgd_finds_what_gradient_descent_in_numpy_finds(short, start, chosen):
  """One batch of all rows, views that change nothing: plain descent."""
  short.training.update(
    batch_size=24, num_epochs=3, crop_area=(1.0, 1.0), flip=False
  )
  short.training.optimizer.momentum = 0.0
  short.training.lr_drops = (2,)
  short.training.optimizer.lr = 3.0
  fitted = linear_sgd.fit_images(start, _part(chosen), short)
  table = features.extract(start, chosen, 'train')
  onehot = np.eye(2)[table.labels]
  kernel, bias = np.zeros((table.features.shape[1], 2)), np.zeros(2)
  for lr in np.array([3.0, 3.0, 0.3]) * 24 / 256:
    logits = table.features @ kernel + bias
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    kernel -= lr * table.features.T @ (p - onehot) / 24
    bias -= lr * (p - onehot).mean(axis=0)
  np.testing.assert_allclose(fitted.probe.weights[0], kernel, atol=2e-5)
  np.testing.assert_allclose(fitted.probe.bias[0], bias, atol=2e-5)


def test_fine_tuning_moves_the_encoder_and_its_statistics(short, start, chosen):
  short.training.optimizer = base.optimizer('adamw', lr=5e-3)
  fitted = finetune.fit_images(start, _part(chosen), short)
  assert fitted.encoder.encoder == start.encoder
  for collection in ('params', 'batch_stats'):
    before, after = start.variables, fitted.encoder.variables
    assert jax.tree.structure(before[collection]) == jax.tree.structure(
      after[collection]
    )
    assert not _same(before[collection], after[collection])
  assert fitted.facts['final_loss'] < np.log(2)


def test_the_same_seed_teaches_the_same(short, start, chosen):
  one, other = (
    linear_sgd.fit_images(start, _part(chosen), short) for _ in range(2)
  )
  assert _same(one.probe.weights, other.probe.weights)
  short.seed = 1
  third = linear_sgd.fit_images(start, _part(chosen), short)
  assert not _same(one.probe.weights, third.probe.weights)


def test_fewer_rows_than_a_batch_are_one_batch(short, start, chosen):
  few = chosen.part('train', range(5))
  facts = linear_sgd.fit_images(start, few, short).facts
  # Two devices: four of the five at a time.
  assert (facts['batch_size'], facts['steps']) == (4, 10)


def test_a_layer_learns_slower_than_the_one_above_it(start):
  factors = classifier.layer_factors(start.encoder, start.input, 0.5)
  assert set(factors) == set(start.variables['params'])
  assert factors['stem_conv'] == factors['stem_norm'] == 0.5**5
  assert factors['stage1_block1_conv1'] == 0.5**4
  assert factors['stage4_block1_norm2'] == 0.5


def test_the_patches_of_a_vit_and_its_positions_are_the_lowest_layer(start):
  vit = models.make_encoder(base.encoder('vit_tiny', patch_size=8))
  factors = classifier.layer_factors(vit, start.input, 0.5)
  lowest = min(factors.values())
  assert {k for k, v in factors.items() if v == lowest} == {
    k for k in factors if not k.startswith(('block', 'norm'))
  }
  assert factors['norm'] == 0.5
  assert factors['block12'] == 0.25
  assert lowest == 0.5**14


def test_layer_decay_slows_the_stem(short, start, chosen):
  short.training.optimizer = base.optimizer('sgd', lr=0.1, weight_decay=0.0)
  short.training.num_epochs = 1

  def moved(decay):
    short.training.layer_decay = decay
    after = finetune.fit_images(start, _part(chosen), short).encoder.variables
    before = start.variables['params']['stem_conv']['kernel']
    return np.abs(after['params']['stem_conv']['kernel'] - before).max()

  assert 0 < moved(0.5) < 0.1 * moved(1.0)


@pytest.mark.parametrize(
  ('field', 'value', 'told'),
  [
    ('num_epochs', 0, 'num_epochs is 0; wanted 1 or more'),
    ('batch_size', 0, 'batch_size is 0; wanted 1 or more'),
    ('layer_decay', 1.5, r'layer_decay is 1.5; wanted within \(0, 1\]'),
    ('warmup_epochs', 10, 'warmup_epochs is 10; wanted fewer than'),
    ('crop', 1, "'crop' is unknown"),
  ],
)
def test_a_bad_field_is_named(short, field, value, told):
  short.training[field] = value
  with pytest.raises(ValueError, match=told):
    supervised.parse(short.training)


def test_a_warm_up_with_drops_is_refused(short):
  short.training.update(warmup_epochs=1, lr_drops=(2,))
  with pytest.raises(ValueError, match='wanted one of both'):
    supervised.parse(short.training)


def test_a_learning_rate_that_diverges_is_told(short, start, chosen):
  short.training.optimizer = base.optimizer('sgd', lr=1e30, weight_decay=0.0)
  with pytest.raises(FloatingPointError, match=r'lower config\.training'):
    finetune.fit_images(start, _part(chosen), short)


def test_an_evaluation_on_images_writes_what_one_on_features_does(
  short, simclr_run, tmp_path
):
  short.training.num_epochs = 40
  result = runner.run(short, output=tmp_path / 'out', checkpoint=simclr_run)
  stored = json.loads((tmp_path / 'out' / 'results.json').read_text())
  assert stored['protocol'] == 'linear_sgd'
  assert stored['cross_validation']['scores']['accuracy'] >= 0.9
  assert len(stored['test']['predictions']) == 10
  assert result['chosen']['rows'] == 24
  assert stored['overlap']


def test_each_fold_is_scored_by_a_classifier_that_has_not_seen_it(
  short, simclr_run, tmp_path, monkeypatch
):
  seen = []

  def fit(start, training, config):
    names = {r['name'] for r in training.source('train')}
    table = features.tabulate(training, 'train', features.nothing)
    seen.append({name.decode() for name in names})
    assert len(table.names) == len(names)
    return dataclasses.replace(
      linear_sgd_fit(start, training, config), facts={}
    )

  linear_sgd_fit = linear_sgd.fit_images
  monkeypatch.setattr(linear_sgd, 'fit_images', fit)
  short.training.num_epochs = 1
  result = runner.run(short, output=tmp_path / 'out', checkpoint=simclr_run)
  every = {row['name'] for row in result['cross_validation']['predictions']}
  folds, last = seen[:-1], seen[-1]
  assert len(folds) == 2
  assert folds[0] | folds[1] == every
  assert not folds[0] & folds[1]
  assert last == every


def test_an_untrained_encoder_that_is_fine_tuned_is_called_scratch(
  short, tmp_path
):
  short.protocol = 'finetune'
  short.training.num_epochs = 1
  result = runner.run(short, output=tmp_path / 'out', baseline='random')
  assert result['encoder'] == 'scratch'
  assert result['baseline']['seed'] == 0


@pytest.mark.parametrize(
  ('change', 'baseline', 'told'),
  [
    ({}, 'pixels', "baseline 'pixels' has none"),
    ({'label_counts': (1,)}, 'random', 'label curves are of the linear probe'),
    ({'fields_arcsec': (36.0, 54.0)}, 'random', 'wanted one, or ()'),
    ({'fields_arcsec': (0.0,)}, 'random', 'wanted numbers above 0'),
  ],
)
def test_what_images_cannot_do_is_refused(
  short, tmp_path, change, baseline, told
):
  short.update(change)
  with pytest.raises(ValueError, match=told):
    runner.run(short, output=tmp_path / 'out', baseline=baseline)


def test_the_shipped_settings_are_the_papers():
  sgd = linear_sgd_mirabest.get_config().training
  assert (sgd.optimizer.name, sgd.optimizer.lr) == ('sgd', 0.3)
  assert sgd.optimizer.weight_decay == 0
  assert supervised.parse(sgd).lr_drops == (10, 80)
  tuned = finetune_mirabest.get_config().training
  assert (tuned.optimizer.name, tuned.optimizer.lr) == ('adamw', 5e-4)
  for training in map(supervised.parse, (sgd, tuned)):
    assert (training.batch_size, training.num_epochs) == (256, 100)
    assert training.crop_area == (0.95, 1.0)


def test_part_of_a_split_is_all_that_there_is(write, make_rows):
  opened = write({'train': make_rows(6, first=0)})
  names = [r['name'] for r in opened.source('train')]
  part = selection.choose(opened, 'train').part('train', [4, 1])
  found = part.source('train')
  assert [found[i]['name'] for i in range(len(found))] == [names[4], names[1]]
  assert (part.train, part.test) == ('train', '')
