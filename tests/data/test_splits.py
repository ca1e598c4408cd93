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


def test_circles_that_touch_share_a_group_each_with_its_own_reach():
  # From the first: 100, 100 and 220 arcsec north, the last a degree away.
  dec = np.array([0, 100, -100, 220, 3600]) / 3600
  reach = np.array([60.0, 39.9, 40.1, 80.2, 1.0])
  groups = splits.groups_by_reach(np.full(5, 12.0), dec, reach)
  assert groups[0] == groups[2]
  # 1 and 3 touch by a hair.
  assert groups[1] == groups[3] != groups[0]
  assert len(set(groups)) == 3


def test_touching_pairs_come_both_ways_and_leave_out_what_has_no_place():
  ra = np.array([359.99, 0.01, np.nan, 90.0])
  first, second = splits.touching(ra, np.zeros(4), np.full(4, 36.01))
  pairs = set(zip(first.tolist(), second.tolist(), strict=True))
  assert pairs == {(0, 0), (1, 1), (3, 3), (0, 1), (1, 0)}


@pytest.mark.parametrize('reach', [-1, np.nan, 4e5])
def test_reach_that_makes_no_sense_is_refused(reach):
  with pytest.raises(ValueError, match=r'reach_arcsec\[1\] is'):
    splits.groups_by_reach(np.zeros(2), np.zeros(2), np.array([0, reach]))


_FRACTIONS = {'train': 0.8, 'valid': 0.1, 'test': 0.1}


def _counts(labels, chosen):
  return {
    name: [int(np.sum(chosen[labels == k] == name)) for k in np.unique(labels)]
    for name in _FRACTIONS
  }


@pytest.mark.parametrize('seed', range(20))
def test_split_gives_each_class_its_fractions_exactly_without_groups(seed):
  chosen = splits.stratified_split(_LABELS, fractions=_FRACTIONS, seed=seed)
  assert _counts(_LABELS, chosen) == {
    'train': [40, 24, 8],
    'valid': [5, 3, 1],
    'test': [5, 3, 1],
  }


def _sky(seed):
  """Labels and groups as on the sky: most alone, some in groups of mixed
  classes."""
  rng = np.random.default_rng(seed)
  labels = rng.choice(4, 600, p=[0.25, 0.4, 0.2, 0.15])
  return labels, rng.choice(520, 600)


@pytest.mark.parametrize('seed', range(20))
def test_split_never_parts_a_group_and_keeps_the_shares_of_classes(seed):
  labels, groups = _sky(seed)
  chosen = splits.stratified_split(
    labels, fractions=_FRACTIONS, seed=seed, groups=groups
  )
  for group in np.unique(groups):
    assert len(set(chosen[groups == group])) == 1
  for label in range(4):
    for name, fraction in _FRACTIONS.items():
      share = np.mean(chosen[labels == label] == name)
      assert share == pytest.approx(fraction, abs=0.02)


@pytest.mark.parametrize('seed', range(5))
def test_split_is_the_same_for_the_same_seed_and_another_for_another(seed):
  labels, groups = _sky(7)
  a, b, c = (
    splits.stratified_split(labels, fractions=_FRACTIONS, seed=s, groups=groups)
    for s in (seed, seed, seed + 1)
  )
  np.testing.assert_array_equal(a, b)
  assert (a != c).any()


def test_split_does_not_depend_on_the_names_of_classes_and_groups():
  labels, groups = _sky(3)
  a = splits.stratified_split(
    labels, fractions=_FRACTIONS, seed=1, groups=groups
  )
  b = splits.stratified_split(
    np.array(['Bent', 'Compact', 'FRI', 'FRII'])[labels],
    fractions=_FRACTIONS,
    seed=1,
    groups=np.array([f'group {g:03d}' for g in groups]),
  )
  np.testing.assert_array_equal(a, b)


def test_split_is_what_it_was_when_it_was_published():
  # A change of these letters changes every data set split by this function.
  chosen = splits.stratified_split(
    np.arange(40) % 2, fractions=_FRACTIONS, seed=0, groups=np.arange(40) // 3
  )
  assert ''.join(name[1] for name in chosen[::3]) == 'rrrrrrrrarrera'


def test_large_groups_are_drawn_for_every_split_in_proportion():
  groups = np.append(np.repeat(np.arange(10), 4), np.arange(10, 370))
  labels = np.zeros(400, int)
  hits = sum(
    np.mean(chosen[:40] == 'test')
    for chosen in (
      splits.stratified_split(
        labels, fractions=_FRACTIONS, seed=s, groups=groups
      )
      for s in range(200)
    )
  )
  # 2000 draws at 0.1: the standard deviation of their mean is 0.007.
  assert hits / 200 == pytest.approx(0.1, abs=0.03)


def test_every_example_is_drawn_for_every_split_in_proportion():
  hits = np.mean(
    [
      splits.stratified_split(_LABELS, fractions=_FRACTIONS, seed=s) == 'test'
      for s in range(500)
    ],
    axis=0,
  )
  assert hits.min() > 0.03
  assert hits.max() < 0.2


def test_fixed_examples_stay_and_take_their_group_along():
  labels, groups = _sky(5)
  fixed = np.where(groups < 20, 'test', '')
  fixed[np.flatnonzero(groups == 3)[1:]] = ''
  chosen = splits.stratified_split(
    labels, fractions=_FRACTIONS, seed=2, groups=groups, fixed=fixed
  )
  assert set(chosen[groups < 20]) == {'test'}
  # They take places, so the shares are as ever.
  for label in range(4):
    share = np.mean(chosen[labels == label] == 'test')
    assert share == pytest.approx(0.1, abs=0.02)


def test_more_fixed_examples_than_places_are_kept_all_the_same():
  fixed = np.where(np.arange(90) < 40, 'test', '')
  chosen = splits.stratified_split(
    _LABELS, fractions=_FRACTIONS, seed=2, fixed=fixed
  )
  assert _counts(_LABELS, chosen)['test'] == [40, 3, 1]
  # The other ten share the rest by 8 to 1.
  assert _counts(_LABELS, chosen)['valid'] == [1, 3, 1]


def test_small_class_has_one_example_in_every_split():
  labels = np.append(_LABELS, [3, 3, 3])
  chosen = splits.stratified_split(labels, fractions=_FRACTIONS, seed=0)
  assert sorted(chosen[labels == 3]) == ['test', 'train', 'valid']


def test_shares_of_a_class_that_does_not_divide_are_rounded():
  for count in range(3, 60):
    chosen = splits.stratified_split(
      np.zeros(count, int), fractions=_FRACTIONS, seed=count
    )
    for name, fraction in _FRACTIONS.items():
      number = np.sum(chosen == name)
      assert number >= 1
      assert abs(number - fraction * count) < (1 if count >= 10 else 1.5)


@pytest.mark.parametrize(
  'fractions',
  [
    {'train': 0.8, 'test': 0.1},
    {'train': 1.2, 'test': -0.2},
    {'train': 1.0, 'test': 0.0},
    {'train': np.nan, 'test': 0.5},
    {},
  ],
)
def test_fractions_that_are_no_shares_are_refused(fractions):
  with pytest.raises(ValueError, match='wanted positive ones that sum to 1'):
    splits.stratified_split(_LABELS, fractions=fractions, seed=0)


def test_split_without_a_name_is_refused():
  with pytest.raises(ValueError, match="has the name ''"):
    splits.stratified_split(_LABELS, fractions={'': 0.5, 'a': 0.5}, seed=0)


def test_class_with_fewer_groups_than_splits_is_named():
  groups = np.append(np.arange(80), np.repeat([100, 101], 5))
  with pytest.raises(ValueError, match=r'Class 2 has 2 sources, fewer .*test'):
    splits.stratified_split(
      _LABELS, fractions=_FRACTIONS, seed=0, groups=groups
    )


def test_class_that_its_groups_keep_out_of_a_split_is_named():
  fixed = np.where(_LABELS == 2, 'test', '')
  with pytest.raises(ValueError, match="Class 2 is missing in split 'train'"):
    splits.stratified_split(_LABELS, fractions=_FRACTIONS, seed=0, fixed=fixed)


def test_two_fixed_splits_in_a_group_are_refused():
  fixed = np.full(90, '', '<U5')
  fixed[[0, 1]] = 'train', 'test'
  with pytest.raises(ValueError, match=r"fixed\[1\] is 'test', but another"):
    splits.stratified_split(
      _LABELS,
      fractions=_FRACTIONS,
      seed=0,
      groups=np.arange(90) // 2,
      fixed=fixed,
    )


def test_fixed_split_that_is_none_is_refused():
  fixed = np.full(90, 'trian')
  with pytest.raises(ValueError, match=r"fixed\[0\] is 'trian'; wanted one"):
    splits.stratified_split(_LABELS, fractions=_FRACTIONS, seed=0, fixed=fixed)


def test_lengths_that_differ_are_refused():
  with pytest.raises(ValueError, match='differ in shape'):
    splits.stratified_split(
      _LABELS, fractions=_FRACTIONS, seed=0, groups=np.arange(89)
    )


def test_no_examples_are_split_into_nothing():
  chosen = splits.stratified_split(
    np.zeros(0, int), fractions=_FRACTIONS, seed=0
  )
  assert chosen.shape == (0,)
