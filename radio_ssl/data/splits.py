"""Folds that a score can be trusted on: stratified, seeded, grouped."""

import astropy.coordinates
import astropy.units as u
import numpy as np
import scipy.sparse.csgraph
import sklearn.model_selection


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
  ra_deg, dec_deg = (np.asarray(x, np.float64) for x in (ra_deg, dec_deg))
  if not 0 <= radius_arcsec <= 180 * 3600:
    raise ValueError(
      f'radius_arcsec is {radius_arcsec}; wanted 0 to 648000 (180 degrees).'
    )
  known = np.flatnonzero(np.isfinite(ra_deg) & np.isfinite(dec_deg))
  first = second = np.zeros(0, int)
  if known.size:
    sky = astropy.coordinates.SkyCoord(
      ra_deg[known], dec_deg[known], unit='deg'
    )
    # Rounding moves equal positions apart by less than a microarcsecond.
    radius = (radius_arcsec + 1e-6) * u.arcsec
    first, second, _, _ = astropy.coordinates.search_around_sky(
      sky, sky, radius
    )
  links = scipy.sparse.coo_array(
    (np.ones(len(first)), (known[first], known[second])),
    shape=(len(ra_deg), len(ra_deg)),
  )
  _, groups = scipy.sparse.csgraph.connected_components(links, directed=False)
  return groups
