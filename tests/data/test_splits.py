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


def test_seed_decides_among_groups_too():
  groups = np.arange(90) // 2
  a, b, c = (
    splits.stratified_folds(_LABELS, num_folds=5, seed=s, groups=groups)
    for s in (0, 0, 1)
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


def test_groups_of_one_make_the_folds_of_no_groups():
  np.testing.assert_array_equal(
    splits.stratified_folds(
      _LABELS, num_folds=5, seed=3, groups=np.arange(90)[::-1]
    ),
    splits.stratified_folds(_LABELS, num_folds=5, seed=3),
  )


def test_class_that_its_groups_keep_out_of_a_fold_is_named():
  # Class 0 has two groups, but the sizes put them into one fold.
  groups = np.array([3, 2, 2, 1, 3, 0, 2, 2, 3, 2, 1, 1])
  labels = np.array([0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1])
  with pytest.raises(ValueError, match='Class 0 is missing in fold'):
    splits.stratified_folds(labels, num_folds=2, seed=0, groups=groups)


def test_sources_at_one_position_share_a_group():
  # 20 arcsec apart in declination, then in right ascension at 60 degrees.
  ra = np.array([10.0, 10.0, 200.0, 200.0 + 20 / 3600 / np.cos(np.pi / 3)])
  dec = np.array([30.0, 30.0 + 20 / 3600, 60.0, 60.0])
  near = splits.groups_by_position(ra, dec, 20.5)
  assert near[0] == near[1] != near[2] == near[3]
  assert len(set(splits.groups_by_position(ra, dec, 19.5))) == 4


def test_friends_of_friends_are_one_group_across_zero_hours():
  ra = np.array([359.998, 0.0, 0.002, 90.0])
  groups = splits.groups_by_position(ra, np.zeros(4), 8.0)
  assert groups[0] == groups[1] == groups[2] != groups[3]


def test_equal_positions_are_one_group_at_radius_zero():
  groups = splits.groups_by_position(
    np.array([77.7, 77.7, 77.8]), np.full(3, 89.9), 0
  )
  assert groups[0] == groups[1] != groups[2]


def test_sources_without_a_position_stand_alone():
  nan = np.full(3, np.nan)
  assert len(set(splits.groups_by_position(nan, nan, 100))) == 3


@pytest.mark.parametrize('radius', [-1, np.nan, 1e6])
def test_radius_that_makes_no_sense_is_refused(radius):
  with pytest.raises(ValueError, match='radius_arcsec is'):
    splits.groups_by_position(np.zeros(2), np.zeros(2), radius)
