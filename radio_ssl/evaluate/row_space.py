"""The directions in which the rows of wide features lie."""

import numpy as np


def of(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Mean [D], and the map [D, min(N, D)] to directions that hold all N rows.

  Of features [N, D] standardised on these rows; a column that is constant there
  is left out. The directions are orthonormal. Where the rows span fewer, the
  last are any: all rows are 0 there. A penalty leaves the weights of a linear
  probe nothing outside.
  """
  mean, scale = features.mean(axis=0), features.std(axis=0)
  # Rounding leaves a trace of a spread in a constant column.
  constant = scale <= 1e-12 * np.abs(features).max(axis=0)
  inverse = np.where(constant, 0, 1 / np.where(constant, 1, scale))
  axes, _ = np.linalg.qr(((features - mean) * inverse).T)
  return mean, inverse[:, None] * axes
