"""Scores against numbers worked out by hand."""

import numpy as np
import pytest
import sklearn.metrics

from radio_ssl.evaluate import metrics

# True 0: 3 right, 1 taken for 1. True 1: 2 right, 2 taken for 0.
_LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
_PREDICTED = np.array([0, 0, 0, 1, 1, 1, 0, 0])


def _score(labels, predicted, names=('a', 'b'), **kwargs):
  return metrics.score(labels, np.eye(len(names))[predicted], names, **kwargs)


def test_scores_by_hand():
  result = _score(_LABELS, _PREDICTED)
  assert result['confusion_matrix'] == [[3, 1], [2, 2]]
  assert result['accuracy'] == 5 / 8
  assert result['balanced_accuracy'] == (3 / 4 + 2 / 4) / 2
  f1 = [2 * 3 / (4 + 5), 2 * 2 / (4 + 3)]
  assert result['macro_f1'] == pytest.approx(np.mean(f1))
  assert result['per_class']['a']['precision'] == 3 / 5
  assert result['per_class']['b'] == {
    'precision': pytest.approx(2 / 3),
    'recall': 0.5,
    'f1': pytest.approx(f1[1]),
    'support': 4,
  }


def test_class_that_never_appears_counts_as_zero():
  result = _score(_LABELS, _PREDICTED, names=('a', 'b', 'c'))
  assert result['per_class']['c']['f1'] == 0
  f1 = [2 * 3 / (4 + 5), 2 * 2 / (4 + 3), 0]
  assert result['macro_f1'] == pytest.approx(np.mean(f1))
  assert result['balanced_accuracy'] == (3 / 4 + 2 / 4) / 2


def test_interval_is_the_binomial_one():
  generator = np.random.default_rng(0)
  labels = generator.integers(0, 2, 400)
  wrong = generator.random(400) < 0.2
  result = _score(labels, np.where(wrong, 1 - labels, labels))
  low, high = result['intervals']['accuracy']
  spread = 1.96 * np.sqrt(result['accuracy'] * (1 - result['accuracy']) / 400)
  assert low == pytest.approx(result['accuracy'] - spread, abs=0.01)
  assert high == pytest.approx(result['accuracy'] + spread, abs=0.01)


def test_interval_covers_the_truth_about_95_times_in_100():
  generator = np.random.default_rng(1)
  covered = 0
  for trial in range(200):
    labels = generator.integers(0, 2, 104)
    wrong = generator.random(104) < 0.2
    low, high = _score(
      labels, np.where(wrong, 1 - labels, labels), num_bootstrap=400, seed=trial
    )['intervals']['accuracy']
    covered += low <= 0.8 <= high
  assert 180 <= covered <= 199


def test_same_seed_same_interval():
  a, b, c = (
    _score(_LABELS, _PREDICTED, seed=s, num_bootstrap=101)['intervals']
    for s in (0, 0, 1)
  )
  assert a == b
  assert a != c


def test_interval_of_the_balanced_accuracy_feels_the_rare_class():
  # 90 sources of a class that is always right, 10 of one that is half right.
  labels = np.repeat([0, 1], [90, 10])
  predicted = np.concatenate([np.zeros(90, int), [1] * 5, [0] * 5])
  result = _score(labels, predicted, num_bootstrap=4000)
  assert result['balanced_accuracy'] == 0.75
  low, high = result['intervals']['balanced_accuracy']
  # Half the spread of a proportion of 5 in 10.
  spread = 1.96 * np.sqrt(0.25 / 10) / 2
  assert low == pytest.approx(0.75 - spread, abs=0.025)
  assert high == pytest.approx(0.75 + spread, abs=0.025)
  low, high = result['intervals']['accuracy']
  assert high - low < 0.1


def test_draws_that_miss_a_class_leave_it_out_of_the_balanced_accuracy():
  labels = np.array([0] * 30 + [1])
  result = _score(labels, labels, num_bootstrap=300)
  # A third of the draws holds no source of class 1: nothing was wrong there.
  assert result['intervals']['balanced_accuracy'] == [1, 1]


def test_perfect_scores_have_no_spread_to_resample():
  result = _score(_LABELS, _LABELS)
  assert result['accuracy'] == result['macro_f1'] == 1
  assert result['intervals']['accuracy'] == [1, 1]


def test_resampling_cells_equals_resampling_sources():
  generator = np.random.default_rng(4)
  labels = generator.integers(0, 3, 60)
  predicted = np.where(
    generator.random(60) < 0.6, labels, generator.integers(0, 3, 60)
  )
  names = ('a', 'b', 'c')
  interval = _score(labels, predicted, names, num_bootstrap=4000)['intervals']
  drawn = []
  for _ in range(800):
    rows = generator.integers(0, 60, 60)
    drawn.append(
      sklearn.metrics.f1_score(
        labels[rows], predicted[rows], average='macro', labels=[0, 1, 2]
      )
    )
  expected = np.percentile(drawn, [2.5, 97.5])
  np.testing.assert_allclose(interval['macro_f1'], expected, atol=0.02)


def test_scores_over_seeds_equal_those_of_each_seed():
  generator = np.random.default_rng(4)
  labels = generator.integers(0, 3, 200)
  predicted = np.where(
    generator.random((4, 200)) < 0.7, labels, generator.integers(0, 3, (4, 200))
  )
  each = [
    metrics.score(labels, np.eye(3)[row], 'abc', num_bootstrap=4000)
    for row in predicted
  ]
  together = metrics.over_seeds(
    labels, predicted, num_classes=3, num_bootstrap=4000
  )
  for name, (mean, sd, interval) in together.items():
    values = [scores[name] for scores in each]
    assert mean == pytest.approx(np.mean(values))
    assert sd == pytest.approx(np.std(values, ddof=1))
    assert interval[0] < mean < interval[1]
  one = metrics.over_seeds(
    labels, predicted[:1], num_classes=3, num_bootstrap=4000
  )
  for name, (_, sd, interval) in one.items():
    assert np.isnan(sd)
    np.testing.assert_allclose(interval, each[0]['intervals'][name], atol=0.01)


def test_scores_of_folds_are_those_of_their_rows_alone():
  rng = np.random.default_rng(3)
  labels = rng.integers(0, 3, 90)
  probabilities = rng.dirichlet(np.ones(3), 90)
  folds = np.array([f'fold_{k}' for k in rng.integers(0, 11, 90)])
  found = metrics.over_folds(labels, probabilities, folds)
  assert found['names'] == [f'fold_{k}' for k in range(11)]
  for name in ('accuracy', 'balanced_accuracy', 'macro_f1'):
    alone = [
      metrics.score(
        labels[folds == fold],
        probabilities[folds == fold],
        ['a', 'b', 'c'],
        num_bootstrap=1,
      )[name]
      for fold in found['names']
    ]
    assert found[name]['values'] == pytest.approx(alone)
    assert found[name]['mean'] == pytest.approx(np.mean(alone))
    assert found[name]['sd'] == pytest.approx(np.std(alone, ddof=1))


def test_calibration_by_hand():
  p = np.array([[0.55, 0.45], [0.6, 0.4], [0.9, 0.1], [0.05, 0.95], [1, 0]])
  found = metrics.calibration(np.array([0, 1, 0, 1, 0]), p)
  # 0.6 and 0.9 lie on edges, in the bins below them.
  counts = [row['num_examples'] for row in found['bins']]
  assert counts == [0, 0, 0, 0, 0, 2, 0, 0, 1, 2]
  error = (2 * abs(0.5 - 0.575) + 1 * abs(1 - 0.9) + 2 * abs(1 - 0.975)) / 5
  assert found['expected_calibration_error'] == pytest.approx(error)
  assert found['bins'][5]['confidence'] == pytest.approx(0.575)
  assert found['bins'][5]['accuracy'] == 0.5
  low, high = found['bins'][5]['interval']
  assert 0 < low < 0.5 < high < 1


def test_honest_probabilities_have_hardly_any_calibration_error():
  generator = np.random.default_rng(0)
  claimed = generator.uniform(0.5, 1, 20000)
  labels = (generator.random(20000) > claimed).astype(int)
  p = np.stack([claimed, 1 - claimed], axis=1)
  honest = metrics.calibration(labels, p)['expected_calibration_error']
  bold = metrics.calibration(labels, np.round(p))['expected_calibration_error']
  assert honest < 0.01
  assert bold == pytest.approx(0.25, abs=0.01)


def test_accuracy_by_quartile_by_hand():
  values = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, np.nan])
  right = np.array([1, 0, 1, 1, 0, 0, 1, 1, 0], bool)
  found = metrics.by_property(right, values)
  assert found['unknown'] == 1
  rows = [(r['low'], r['high'], r['accuracy']) for r in found['bins']]
  assert rows == [(1, 2, 0.5), (3, 4, 1), (5, 6, 0), (7, 8, 1)]
  assert sum(r['num_examples'] for r in found['bins']) == 8


def test_values_that_repeat_share_a_bin():
  found = metrics.by_property(np.ones(10, bool), np.repeat([1.0, 2.0], 5))
  assert [r['num_examples'] for r in found['bins']] == [5, 5]
  found = metrics.by_property(np.ones(3, bool), np.ones(3))
  assert [r['num_examples'] for r in found['bins']] == [3]
