"""Comparisons find what is there, and nothing where there is nothing."""

import numpy as np
import pytest

from radio_ssl.evaluate import comparisons


def _methods(share_a, share_b, seeds=3, num=300, seed=0):
  """Two methods that find sources alike hard: their errors go together."""
  rng = np.random.default_rng(seed)
  hard = rng.random(num)
  return tuple(
    np.array([hard + 0.1 * rng.normal(size=num) < share for _ in range(seeds)])
    for share in (share_a, share_b)
  )


def test_difference_is_that_of_the_means():
  right = (
    np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool),
    np.array([[1, 0, 0, 0]], bool),
  )
  found = comparisons.difference(right, ('a', 'b'))
  assert found.difference == 5 / 8 - 1 / 4
  assert found.seeds == (2, 1)
  low, high = found.interval
  assert low <= found.difference <= high


def test_a_method_does_not_differ_from_itself():
  right, _ = _methods(0.8, 0.8, seeds=1)
  found = comparisons.difference((right, right))
  assert (found.difference, found.interval, found.p) == (0, (0, 0), 1)


def test_a_clear_difference_is_found_and_pairing_helps():
  better, worse = _methods(0.85, 0.75)
  found = comparisons.difference((better, worse))
  assert found.interval[0] > 0
  assert found.p < 0.01
  # As if each had been scored on sources of its own.
  shuffled = np.random.default_rng(0).permutation(worse.T).T
  alone = comparisons.difference((better, shuffled))
  assert np.diff(alone.interval) > 1.3 * np.diff(found.interval)


def test_spread_over_the_seeds_widens_the_interval():
  rng = np.random.default_rng(0)
  alike = rng.random((4, 400)) < 0.8
  apart = rng.random((4, 400)) < np.array([[0.7], [0.75], [0.85], [0.9]])
  reference = rng.random((4, 400)) < 0.8
  narrow = comparisons.difference((alike, reference)).interval
  wide = comparisons.difference((apart, reference)).interval
  assert np.diff(wide) > 1.5 * np.diff(narrow)


def test_no_difference_is_called_one_in_about_5_of_100():
  called = 0
  for trial in range(200):
    a, b = _methods(0.8, 0.8, seeds=1, num=200, seed=trial)
    found = comparisons.difference((a, b), num_bootstrap=500, seed=trial)
    called += found.p < 0.05
  # Within three standard errors, and a bootstrap is a little bold.
  assert called <= 10 + 3 * np.sqrt(200 * 0.05 * 0.95) + 4


def test_holm_by_hand():
  corrected = comparisons.holm([0.01, 0.04, 0.03, 0.005])
  np.testing.assert_allclose(corrected, [0.03, 0.06, 0.06, 0.02])
  np.testing.assert_allclose(comparisons.holm([0.6, 0.7]), [1, 1])


def _result(name, right, sources=None):
  sources = sources or [f's{i}' for i in range(len(right))]
  rows = [
    {'name': s, 'label': 0, 'probabilities': [0.9, 0.1] if r else [0.1, 0.9]}
    for s, r in zip(sources, right, strict=True)
  ]
  # In whatever order.
  rows = rows[::-1] if name == 'b' else rows
  return {'encoder': name, 'test': {'scores': {}, 'predictions': rows}}


def test_family_is_corrected_together():
  better, worse = _methods(0.9, 0.7)
  results = {
    'a': [_result('a', row) for row in better],
    'b': [_result('b', row) for row in worse],
  }
  one, two = comparisons.family(
    results, [('a', 'b'), ('a', 'a')], num_bootstrap=1000
  )
  assert one.difference == pytest.approx(better.mean() - worse.mean())
  assert one.p_holm == pytest.approx(2 * one.p)
  assert two.p_holm == 1
  page = comparisons.table([one, two])
  assert '| a - b | 3, 3 | +' in page


def test_what_cannot_be_compared_is_refused():
  results = {'a': [_result('a', [1, 0])], 'b': [_result('b', [1, 0, 1])]}
  with pytest.raises(ValueError, match=r"No results of 'c'; there are: a, b\."):
    comparisons.family(results, [('a', 'c')])
  with pytest.raises(ValueError, match='scored on 3 sources'):
    comparisons.family(results, [('a', 'b')])
