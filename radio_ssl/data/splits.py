"""Splits that a score can be trusted on: stratified, seeded, grouped."""

import math
from collections.abc import Mapping

import astropy.coordinates
import astropy.units as u
import numpy as np
import scipy.sparse.csgraph
import sklearn.model_selection

_HALF_SKY_ARCSEC = 180 * 3600


def stratified_folds(
  labels: np.ndarray,
  *,
  num_folds: int,
  seed: int,
  groups: np.ndarray | None = None,
) -> np.ndarray:
  """The fold of each example, each class spread evenly over the folds.

  Args:
    labels: [N] integers.
    num_folds: at least 2.
    seed: of the shuffle.
    groups: [N]; examples of one group, such as views of one source, share a
      fold. None: every example is its own group.

  Returns:
    [N] integers in 0 .. num_folds - 1.

  Raises:
    ValueError: fewer than 2 folds, a class with fewer examples (groups) than
      folds, or one that groups leave out of a fold.
  """
  labels = np.asarray(labels)
  if num_folds < 2:
    raise ValueError(f'num_folds is {num_folds}; wanted 2 or more.')
  members = np.arange(len(labels)) if groups is None else np.asarray(groups)
  for label in np.unique(labels):
    count = len(np.unique(members[labels == label]))
    if count < num_folds:
      raise ValueError(
        f'Class {label} has {count} sources, fewer than num_folds = '
        f'{num_folds}: lower num_folds, or leave the class out.'
      )
  folds = np.zeros(len(labels), np.int32)
  for fold, (_, out) in enumerate(_split(labels, members, num_folds, seed)):
    folds[out] = fold
  for label in np.unique(labels):
    absent = set(range(num_folds)) - set(folds[labels == label].tolist())
    if absent:
      raise ValueError(
        f'Class {label} is missing in fold {min(absent)} of {num_folds}: its '
        'sources share groups with others. Lower num_folds, or take another '
        'seed.'
      )
  return folds


def _split(labels, members, num_folds, seed):
  if len(np.unique(members)) < len(members):
    return sklearn.model_selection.StratifiedGroupKFold(
      num_folds, shuffle=True, random_state=seed
    ).split(labels, labels, members)
  # Every source on its own: here the folds come out evener.
  return sklearn.model_selection.StratifiedKFold(
    num_folds, shuffle=True, random_state=seed
  ).split(labels, labels)


def stratified_split(
  labels: np.ndarray,
  *,
  fractions: Mapping[str, float],
  seed: int,
  groups: np.ndarray | None = None,
  fixed: np.ndarray | None = None,
) -> np.ndarray:
  """The split of each example, each class spread by the same fractions.

  Every split has a number of places for each class, the fractions of it
  rounded, at least one. The largest groups draw first, then smaller ones, each
  among the places that are left. Without groups the places are filled exactly;
  with them a class may miss by a few examples, where it has too few of them
  outside large groups.

  Args:
    labels: [N], integers or names.
    fractions: share of each split, by its name; they sum to 1.
    seed: of the draw.
    groups: [N]; examples of one group, such as images of one source, share a
      split. None: every example is its own group.
    fixed: [N] names of splits for examples whose split is known, '' for the
      others. They take their group along, and count towards the fractions.

  Returns:
    [N] names.

  Raises:
    ValueError: fractions that are none or do not sum to 1, lengths that
      differ, a class with fewer groups than splits or absent from one, two
      fixed splits in a group.
  """
  names = _split_names(fractions)
  labels = np.asarray(labels)
  members = np.arange(len(labels)) if groups is None else np.asarray(groups)
  known = np.full(len(labels), '') if fixed is None else np.asarray(fixed)
  if not labels.shape == members.shape == known.shape == (labels.size,):
    raise ValueError(
      f'labels {labels.shape}, groups {members.shape} and fixed {known.shape} '
      'differ in shape; wanted [N] of each.'
    )
  kinds, classes = np.unique(labels, return_inverse=True)
  _, members = np.unique(members, return_inverse=True)
  counts = np.zeros((members.max(initial=-1) + 1, len(kinds)), int)
  np.add.at(counts, (members, classes), 1)
  fixed = _fixed_groups(known, members, names)
  places = [
    _places(column, kind, fixed, fractions)
    for kind, column in zip(kinds, counts.T, strict=True)
  ]
  # Unlike those of a Generator its numbers never change: a split that is
  # published by its seed stays what it is.
  rng = np.random.RandomState(seed)
  places = np.reshape(places, (len(kinds), len(names)))
  chosen = _draw(counts, places, fixed, rng)[members]
  _check_present(chosen, classes, kinds, names)
  return np.array(names)[chosen]


def _check_present(chosen, classes, kinds, names):
  for label, kind in enumerate(kinds):
    absent = set(range(len(names))) - set(chosen[classes == label].tolist())
    if absent:
      raise ValueError(
        f'Class {kind} is missing in split {names[min(absent)]!r}: its sources '
        'share groups with others, or are fixed. Take another seed, or other '
        'fractions.'
      )


def _split_names(fractions: Mapping[str, float]) -> list[str]:
  shares = list(fractions.values())
  # A NaN fails every comparison.
  if not all(share > 0 for share in shares) or not math.isclose(
    sum(shares), 1, abs_tol=1e-6
  ):
    raise ValueError(
      f'fractions are {dict(fractions)}; wanted positive ones that sum to 1.'
    )
  if '' in fractions:
    raise ValueError("fractions: a split has the name ''; give it another.")
  return list(fractions)


def _places(
  column: np.ndarray,
  kind: object,
  fixed: np.ndarray,
  fractions: Mapping[str, float],
) -> np.ndarray:
  """Places of one class in each split, for the groups that draw.

  Largest remainders; at least one place where nothing is fixed.

  Args:
    column: [G] examples of the class in each group.
    kind: the class, for the message.
    fixed: [G] split of a group, -1 for those that draw.
    fractions: by name of the split.

  Returns:
    [S] integers; their sum is the number of examples that draw.
  """
  sources = np.count_nonzero(column)
  if sources < len(fractions):
    raise ValueError(
      f'Class {kind} has {sources} sources, fewer than the {len(fractions)} '
      f'splits ({", ".join(fractions)}): ask for fewer, or leave it out.'
    )
  held = np.zeros(len(fractions), int)
  np.add.at(held, fixed[fixed >= 0], column[fixed >= 0])
  drawing = column[fixed < 0].sum()
  exact = np.array(list(fractions.values())) * column.sum() - held
  # A split may hold more than its share: the others have the less, alike.
  exact = np.maximum(exact, 0)
  # Rounded, so that ties do not hang on the last bit.
  exact = np.round(exact * drawing / max(exact.sum(), 1), 6)
  places = np.floor(exact).astype(int)
  order = np.argsort(places - exact, kind='stable')
  places[order[: drawing - places.sum()]] += 1
  for split in np.flatnonzero(places + held == 0):
    if places.max() > 1:
      places[places.argmax()] -= 1
      places[split] += 1
  return places


def _fixed_groups(
  known: np.ndarray, members: np.ndarray, names: list[str]
) -> np.ndarray:
  """[G] index of the split that holds a group, -1 where none does."""
  fixed = np.full(members.max(initial=-1) + 1, -1)
  for row in np.flatnonzero(known != ''):
    name, group = str(known[row]), members[row]
    if name not in names:
      raise ValueError(
        f'fixed[{row}] is {name!r}; wanted one of {", ".join(names)}.'
      )
    split = names.index(name)
    if fixed[group] not in (-1, split):
      raise ValueError(
        f'fixed[{row}] is {name!r}, but another of its group is fixed in '
        f'{names[fixed[group]]!r}: give the group one split.'
      )
    fixed[group] = split
  return fixed


def _draw(
  counts: np.ndarray,
  places: np.ndarray,
  fixed: np.ndarray,
  rng: np.random.RandomState,
) -> np.ndarray:
  """The split of each group.

  Args:
    counts: [G, K] examples of each class in each group.
    places: [K, S] how many examples of a class may draw a split.
    fixed: [G] split of a group, -1 for those that draw.
    rng: decides.

  Returns:
    [G] integers.
  """
  chosen, left = fixed.copy(), places.copy()
  drawing = rng.permutation(np.flatnonzero(fixed < 0))
  sizes = counts[drawing].sum(axis=1)
  for group in drawing[np.argsort(-sizes, kind='stable')]:
    own = counts[group] > 0
    # How often each split could still take such a group.
    room = (left[own] // counts[group][own, None]).min(axis=0)
    weights = np.maximum(room, 0)
    if weights.any():
      ticket = rng.randint(weights.sum())
      split = np.searchsorted(np.cumsum(weights), ticket, side='right')
    else:
      # It fits nowhere: where it does least harm.
      split = (left[own] - counts[group][own, None]).min(axis=0).argmax()
    chosen[group] = split
    left[:, split] -= counts[group]
  return chosen


def groups_by_position(
  ra_deg: np.ndarray, dec_deg: np.ndarray, radius_arcsec: float
) -> np.ndarray:
  """Numbers sources so that those close together on the sky share a number.

  Friends of friends: a and c share a number if b is close to both.

  Args:
    ra_deg: [N], ICRS.
    dec_deg: [N], ICRS. A source without a finite position is a group of its
      own.
    radius_arcsec: largest distance of two friends; 0 joins nothing but
      identical positions.

  Returns:
    [N] integers from 0 on.

  Raises:
    ValueError: a negative radius, or one beyond 180 degrees.
  """
  if not 0 <= radius_arcsec <= _HALF_SKY_ARCSEC:
    raise ValueError(
      f'radius_arcsec is {radius_arcsec}; wanted 0 to 648000 (180 degrees).'
    )
  return groups_by_reach(
    ra_deg, dec_deg, np.full(np.shape(ra_deg), radius_arcsec / 2)
  )


def groups_by_reach(
  ra_deg: np.ndarray, dec_deg: np.ndarray, reach_arcsec: np.ndarray
) -> np.ndarray:
  """Numbers circles on the sky so that those that touch share a number.

  Be it over others: a and c share a number if b touches both. Arguments and
  errors are those of `touching`.

  Returns:
    [N] integers from 0 on.
  """
  first, second = touching(ra_deg, dec_deg, reach_arcsec)
  num = len(np.asarray(ra_deg))
  links = scipy.sparse.coo_array(
    (np.ones(len(first)), (first, second)), shape=(num, num)
  )
  _, groups = scipy.sparse.csgraph.connected_components(links, directed=False)
  return groups


def touching(
  ra_deg: np.ndarray, dec_deg: np.ndarray, reach_arcsec: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Pairs of circles on the sky that touch.

  Args:
    ra_deg: [N] centres, ICRS.
    dec_deg: [N] centres, ICRS. A circle without a finite centre touches none.
    reach_arcsec: [N] radii, 0 to 90 degrees.

  Returns:
    Numbers of the first and of the second of each pair, [P]; every pair both
    ways, and each placed circle with itself.

  Raises:
    ValueError: a radius that is negative, too large or not finite.
  """
  ra_deg, dec_deg, reach = (
    np.asarray(x, np.float64) for x in (ra_deg, dec_deg, reach_arcsec)
  )
  bad = ~((reach >= 0) & (reach <= _HALF_SKY_ARCSEC / 2))
  if bad.any():
    raise ValueError(
      f'reach_arcsec[{np.argmax(bad)}] is {reach[bad][0]}; wanted 0 to 324000 '
      '(90 degrees).'
    )
  known = np.flatnonzero(np.isfinite(ra_deg) & np.isfinite(dec_deg))
  if not known.size:
    return known, known
  sky = astropy.coordinates.SkyCoord(ra_deg[known], dec_deg[known], unit='deg')
  # Rounding moves equal positions apart by less than a microarcsecond.
  farthest = (2 * reach[known].max() + 1e-6) * u.arcsec
  first, second, apart, _ = astropy.coordinates.search_around_sky(
    sky, sky, farthest
  )
  first, second = known[first], known[second]
  touch = apart.arcsec <= reach[first] + reach[second] + 1e-6
  return first[touch], second[touch]
