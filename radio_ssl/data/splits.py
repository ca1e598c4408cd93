"""Folds that a score can be trusted on: stratified, seeded, grouped."""

import numpy as np
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
    ValueError: fewer than 2 folds, or a class with fewer examples (groups)
      than folds.
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
  kind = (
    sklearn.model_selection.StratifiedKFold
    if groups is None
    else sklearn.model_selection.StratifiedGroupKFold
  )
  splitter = kind(num_folds, shuffle=True, random_state=seed)
  folds = np.zeros(len(labels), np.int32)
  for fold, (_, out) in enumerate(splitter.split(labels, labels, groups)):
    folds[out] = fold
  return folds
