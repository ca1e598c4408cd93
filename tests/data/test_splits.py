"""Folds are stratified, seeded, and keep groups together."""

import numpy as np
import pytest

from radio_ssl.data import splits

_LABELS = np.repeat([0, 1, 2], [50, 30, 10])


def test_each_class_is_spread_evenly():
  folds = splits.stratified_folds(_LABELS, num_folds=5, seed=0)
  for label, each in ((0, 10), (1, 6), (2, 2)):
    assert np.bincount(folds[_LABELS == label]).tolist() == [each] * 5


def test_seed_decides():
  a, b, c = (
    splits.stratified_folds(_LABELS, num_folds=5, seed=s) for s in (0, 0, 1)
  )
  np.testing.assert_array_equal(a, b)
  assert (a != c).any()


def test_a_group_is_never_on_two_sides():
  groups = np.arange(90) // 2
  folds = splits.stratified_folds(_LABELS, num_folds=5, seed=0, groups=groups)
  assert set(folds) == set(range(5))
  for group in np.unique(groups):
    assert len(set(folds[groups == group])) == 1


def test_class_smaller_than_the_folds_is_named():
  labels = np.append(_LABELS, 3)
  with pytest.raises(ValueError, match='Class 3 has 1 sources, fewer'):
    splits.stratified_folds(labels, num_folds=5, seed=0)


def test_class_of_too_few_groups_is_named():
  groups = np.append(np.arange(80), np.full(10, 99))
  with pytest.raises(ValueError, match='Class 2 has 1 sources'):
    splits.stratified_folds(_LABELS, num_folds=5, seed=0, groups=groups)


def test_one_fold_is_refused():
  with pytest.raises(ValueError, match='num_folds is 1'):
    splits.stratified_folds(_LABELS, num_folds=1, seed=0)
