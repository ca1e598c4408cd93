"""The linear probe: exact multinomial logistic regression on frozen features.

For features x standardised on the training rows, minimises

  mean_i -log softmax(x_i W + b)[y_i] + l2 / 2 |W|^2        (b has no penalty)

which is scikit-learn's LogisticRegression with C = 1 / (l2 N) for three classes
and more, and C = 2 / (l2 N) for two, where it has one vector for both. L2 is
chosen by cross-validation inside the training rows, from the strongest on until
the log-loss has risen. Several values of L2 and all folds are solved together,
so that one pair of matrix products serves many; one that is solved makes room
for the next, since the weakest L2 takes 20 times as many steps as the
strongest. Of many more features than rows each fold is solved in the span of
its rows, where the weights lie. In float64: float32 stops short of the optimum
where features are collinear, as those of encoders are.
"""

import dataclasses
import functools
import logging
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from radio_ssl.data import splits
from radio_ssl.evaluate import lbfgs, row_space

Array = jax.Array
_LOG = logging.getLogger(__name__)

# From hardly any to predicting the class frequencies.
L2_GRID = tuple(float(x) for x in np.logspace(-4, 2, 13))
_MAX_ITERATIONS = 10000
# Problems that are worked on side by side.
_NUM_SLOTS = 16
# Largest entry of the gradient at the end, in the preconditioned coordinates:
# of a fit that is reported, ...
_TOLERANCE = 2e-7
# ... and where values of L2 are compared, in a tenth of the time. The log-loss
# is right to 4e-4 then near the best L2; at the weakest, where it is far too
# high anyway, it was off by 0.03 (510 sources, 512 features, 4 classes).
_COARSE_TOLERANCE = 1e-4
# The same in the span of the rows, in two thirds of the time; at 1e-4 the
# log-loss of an L2 of 0.03 looked better by 0.36 than it is (582 sources, 1280
# features, 2 classes).
_WIDE_TOLERANCE = 1e-6
# Differences of log-loss (nats) that mean nothing.
_LEVEL = 1e-3
# Values of L2 that are tried together, and the log-loss (nats) above the best
# from which on weaker ones are not tried: where there are as many features as
# sources, those would take nearly all of the time.
_TOGETHER = 2
_RISEN = 0.01


@dataclasses.dataclass(frozen=True)
class Probe:
  """Fitted classifiers, one for each of M problems.

  Attributes:
    weights: [M, D, K], of the features as they came.
    bias: [M, K].
  """

  weights: np.ndarray
  bias: np.ndarray

  def log_probabilities(self, features: np.ndarray) -> np.ndarray:
    """[M, N, K] of features [N, D]."""
    logits = np.einsum('nd,mdk->mnk', features, self.weights)
    logits = logits + self.bias[:, None]
    top = logits.max(axis=-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))


def fit(
  features: np.ndarray,
  labels: np.ndarray,
  *,
  num_classes: int,
  l2: np.ndarray,
  rows: np.ndarray | None = None,
  tolerance: float = _TOLERANCE,
  standardise: bool = True,
) -> Probe:
  """Solves M problems on one set of features.

  Args:
    features: [N, D], finite.
    labels: [N], in 0 .. num_classes - 1.
    num_classes: K.
    l2: [M], > 0.
    rows: [M, N] bool, the training rows of each problem; None takes all.
    tolerance: largest entry of the gradient at the end.
    standardise: on the training rows of each problem, or take x as it is.

  Raises:
    ValueError: features that are not finite.
    FloatingPointError: a problem did not converge.
  """
  l2 = np.asarray(l2, np.float64)
  features = np.asarray(features, np.float64)
  _check_finite(features)
  if rows is None:
    rows = np.ones((len(l2), len(features)), bool)
  if standardise and _wide(features, rows):
    return _fit_wide(features, labels, num_classes, l2, rows, tolerance)
  # Of all rows, for one matrix; each problem undoes it by its own.
  centre, spread = features.mean(axis=0), features.std(axis=0)
  spread = np.where(standardise & (spread > 0), spread, 1)
  mean, scale = np.zeros((len(l2), 1)), np.ones((len(l2), 1))
  if standardise:
    mean, scale = _standardisation(features, rows)
  # The weakest first: it takes longest.
  order = np.argsort(l2, kind='stable')
  row_weights = rows / rows.sum(axis=1, keepdims=True)
  problems = _Problems(
    l2, row_weights, (mean - centre) / spread, scale / spread
  )
  with jax.enable_x64(True):
    found = _solve(
      jnp.asarray((features - centre) / spread),
      jnp.asarray(labels),
      jax.tree.map(lambda x: jnp.asarray(x[order]), problems),
      tolerance,
      num_classes,
    )
    back = np.argsort(order)
    weights, bias, gradient = (np.asarray(x)[back] for x in found)
  _check_converged(gradient, l2, tolerance)
  weights = weights / spread[:, None]
  return Probe(weights, bias - np.einsum('d,mdk->mk', centre, weights))


def _check_converged(gradient, l2: np.ndarray, tolerance: float) -> None:
  if not gradient.max() < 10 * tolerance:
    raise FloatingPointError(
      f'The probe did not converge: largest gradient {gradient.max():.1e} at '
      f'L2 = {l2[int(gradient.argmax())]:.1e}.'
    )


def _check_finite(features: np.ndarray) -> None:
  bad = ~np.isfinite(features).all(axis=1)
  if bad.any():
    raise ValueError(
      f'{bad.sum()} of {len(bad)} rows of features are not finite, the first '
      f'of them row {int(bad.argmax())}.'
    )


def _wide(features: np.ndarray, rows: np.ndarray) -> bool:
  """Whether there are so many more features than training rows that it pays."""
  return features.shape[1] > 2 * rows.sum(axis=1).min()


def _fit_wide(features, labels, num_classes, l2, rows, tolerance) -> Probe:
  """As `fit`, where there are many more features than training rows.

  For each set of training rows in the directions in which they differ: a
  penalty leaves the weights nothing in any other.
  """
  count, width = features.shape
  weights = np.zeros((len(l2), width, num_classes))
  bias = np.zeros((len(l2), num_classes))
  for mask in np.unique(rows, axis=0):
    its = (rows == mask).all(axis=1)
    mean, axes = row_space.of(features[mask])
    # One shape, so that one program serves all.
    axes = np.pad(axes, ((0, 0), (0, min(count, width) - axes.shape[1])))
    probe = fit(
      (features - mean) @ axes,
      labels,
      num_classes=num_classes,
      l2=l2[its],
      rows=rows[its],
      tolerance=tolerance,
      standardise=False,
    )
    weights[its] = axes @ probe.weights
    bias[its] = probe.bias - np.einsum('d,mdk->mk', mean, weights[its])
  return Probe(weights, bias)


def _standardisation(features, rows) -> tuple[np.ndarray, np.ndarray]:
  """Mean and standard deviation [M, D]; 1 where a column is constant."""
  cache: dict[bytes, tuple] = {}
  for mask in rows:
    if mask.tobytes() not in cache:
      chosen = features[mask]
      scale = chosen.std(axis=0)
      # Rounding leaves a trace of a spread in a constant column.
      constant = scale <= 1e-12 * np.abs(chosen).max(axis=0)
      cache[mask.tobytes()] = chosen.mean(axis=0), np.where(constant, 1, scale)
  found = [cache[mask.tobytes()] for mask in rows]
  return np.stack([m for m, _ in found]), np.stack([s for _, s in found])


class _Problems(NamedTuple):
  """What tells M problems apart."""

  l2: Array  # [M]
  row_weights: Array  # [M, N], of sum 1
  mean: Array  # [M, D], to be taken from the features
  scale: Array  # [M, D], to divide them by


@functools.partial(jax.jit, static_argnums=4)
def _solve(x, labels, problems, tolerance, num_classes):
  """Weights in units of x, biases, largest gradient of each problem."""
  num, width = len(problems.l2), x.shape[1]
  size = (width + 1) * num_classes
  slots = min(num, _NUM_SLOTS)
  onehot = jax.nn.one_hot(labels, num_classes, dtype=x.dtype)
  basis, variance = _principal_axes(x)

  def parts(point, its):
    point = point.reshape(-1, width + 1, num_classes)
    stretch = _stretch(variance, its.l2, num_classes)
    inner = _rotate(basis, stretch * point[:, :-1])
    weights = inner / its.scale[:, :, None]
    bias = point[:, -1] - jnp.einsum('sd,sdk->sk', its.mean, weights)
    return stretch, inner, weights, bias

  def evaluate(point, its):
    stretch, inner, weights, bias = parts(point, its)
    # One product for all problems: [N, D] with [D, S K].
    flat = weights.transpose(1, 0, 2).reshape(width, -1)
    logits = (x @ flat).reshape(len(x), slots, num_classes) + bias[None]
    log_p = jax.nn.log_softmax(logits)
    fit_loss = -jnp.einsum('nsk,nk,sn->s', log_p, onehot, its.row_weights)
    value = fit_loss + its.l2 / 2 * jnp.sum(inner**2, axis=(1, 2))
    residual = (jnp.exp(log_p) - onehot[:, None]) * its.row_weights.T[..., None]
    bias_gradient = residual.sum(axis=0)
    raw = (x.T @ residual.reshape(len(x), -1)).reshape(
      width, slots, num_classes
    )
    raw = raw.transpose(1, 0, 2) - its.mean[:, :, None] * bias_gradient[:, None]
    inner_gradient = raw / its.scale[:, :, None] + its.l2[:, None, None] * inner
    inner_gradient = stretch * _rotate(basis.T, inner_gradient)
    gradient = jnp.concatenate([inner_gradient, bias_gradient[:, None]], axis=1)
    return value, gradient.reshape(slots, size)

  def iterate(carry):
    state, points, gradients = carry
    # An empty slot works on the last problem, for nothing.
    its = jax.tree.map(
      lambda a: a[jnp.minimum(state.number, num - 1)], problems
    )
    state = lbfgs.advance(state, functools.partial(evaluate, its=its))
    largest = jnp.max(jnp.abs(state.gradient), axis=1)
    # As it is now; what comes last is the solution.
    points = points.at[state.number].set(state.point, mode='drop')
    gradients = gradients.at[state.number].set(largest, mode='drop')
    done = (largest <= tolerance) | (state.iteration >= _MAX_ITERATIONS)
    return lbfgs.replaced(state, done), points, gradients

  _, points, gradients = jax.lax.while_loop(
    lambda carry: jnp.any(carry[0].number < num),
    iterate,
    (
      lbfgs.first(slots, size, x.dtype),
      jnp.zeros((num, size), x.dtype),
      jnp.zeros(num, x.dtype),
    ),
  )
  _, _, weights, bias = parts(points, problems)
  return weights, bias, gradients


def _principal_axes(x: Array) -> tuple[Array, Array]:
  """Of the features, [D, D], and the variance along each, [D]."""
  variance, basis = jnp.linalg.eigh(x.T @ x / len(x))
  return basis, jnp.maximum(variance, 0)


def _stretch(variance: Array, l2: Array, num_classes: int) -> Array:
  """Units of the principal axes, [M, D, 1], in which the curvature is about 1.

  At the start: 1 / sqrt(variance * p (1 - p) + l2) with p = 1 / K.
  """
  curvature = (1 - 1 / num_classes) / num_classes
  along = curvature * variance[None, :] + l2[:, None]
  return jax.lax.rsqrt(along)[..., None]


def _rotate(matrix: Array, blocks: Array) -> Array:
  """One product for all problems: [D, D] with [M, D, K]."""
  problems, width, num_classes = blocks.shape
  flat = matrix @ blocks.transpose(1, 0, 2).reshape(width, -1)
  return flat.reshape(width, problems, num_classes).transpose(1, 0, 2)


def choose_l2(
  features: np.ndarray,
  labels: np.ndarray,
  *,
  num_classes: int,
  num_folds: int,
  seed: int,
  groups: np.ndarray | None = None,
) -> dict[str, Any]:
  """L2 of the least out-of-fold log-loss inside the given rows.

  The log-loss, not the accuracy: a few hundred sources make the accuracy a
  staircase on which the best L2 is luck.

  Args:
    features: [N, D].
    labels: [N], in 0 .. num_classes - 1.
    num_classes: K.
    num_folds: of the cross-validation.
    seed: of the folds.
    groups: [N], as `splits.stratified_folds` takes them.

  Returns:
    'l2', the choice, the stronger on a tie; 'at_edge', whether it ends the
    grid; 'log_loss' of each value that `log_losses` tried.
  """
  losses = log_losses(
    features,
    labels,
    num_classes=num_classes,
    num_folds=num_folds,
    seed=seed,
    groups=groups,
  )
  tried, loss = list(losses), list(losses.values())
  l2 = best(losses)
  at_edge = l2 in (L2_GRID[0], L2_GRID[-1])
  # A curve that is level there has nothing better beyond the grid.
  inward = loss[1] if l2 == tried[0] else loss[-2]
  if at_edge and inward - losses[l2] > _LEVEL:
    _LOG.warning('The best L2, %.1e, is at the edge of the grid.', l2)
  return {
    'l2': l2,
    'at_edge': at_edge,
    'log_loss': {f'{l2:.1e}': losses[l2] for l2 in reversed(tried)},
  }


def best(losses: dict[float, float]) -> float:
  """The L2 of the least loss; the stronger on a tie, but for rounding."""
  return min(sorted(losses, reverse=True), key=lambda l2: round(losses[l2], 9))


def log_losses(
  features: np.ndarray,
  labels: np.ndarray,
  *,
  num_classes: int,
  num_folds: int,
  seed: int,
  groups: np.ndarray | None = None,
  standardise: bool = True,
  tolerance: float | None = None,
) -> dict[float, float]:
  """Mean out-of-fold log-loss of each L2 that is tried, the strongest first.

  All are, down to the first `_TOGETHER` that are all worse than the best by
  `_RISEN`. Arguments as of `choose_l2`, and of `fit`; a tolerance of
  None is loose where that is known to do no harm.
  """
  folds = splits.stratified_folds(
    labels, num_folds=num_folds, seed=seed, groups=groups
  )
  training = np.stack([folds != fold for fold in range(num_folds)])
  if tolerance is None:
    wide = _wide(features, training)
    tolerance = _WIDE_TOLERANCE if wide else _COARSE_TOLERANCE
  features = np.asarray(features, np.float64)
  left, losses = list(L2_GRID), {}
  # From the strongest on.
  while left:
    some = [left.pop() for _ in range(min(_TOGETHER, len(left)))]
    probe = fit(
      features,
      labels,
      num_classes=num_classes,
      l2=np.tile(some, num_folds),
      rows=np.repeat(training, len(some), axis=0),
      tolerance=tolerance,
      standardise=standardise,
    )
    log_p = probe.log_probabilities(features)
    own = np.take_along_axis(log_p, labels[None, :, None], axis=2)[..., 0]
    own = own.reshape(num_folds, len(some), len(labels))
    loss = -own[folds, :, np.arange(len(labels))].mean(axis=0)
    losses |= zip(some, loss.tolist(), strict=True)
    if min(loss) > min(losses.values()) + _RISEN:
      break
  return losses


def train(
  features: np.ndarray,
  labels: np.ndarray,
  *,
  num_classes: int,
  num_folds: int,
  seed: int,
  groups: np.ndarray | None = None,
) -> tuple[Probe, dict[str, Any]]:
  """One classifier, and how its L2 was chosen; arguments as of `choose_l2`."""
  chosen = choose_l2(
    features,
    labels,
    num_classes=num_classes,
    num_folds=num_folds,
    seed=seed,
    groups=groups,
  )
  l2 = np.array([chosen['l2']])
  return fit(features, labels, num_classes=num_classes, l2=l2), chosen


def predict(
  train_features: np.ndarray,
  train_labels: np.ndarray,
  features: np.ndarray,
  **settings: Any,
) -> tuple[np.ndarray, dict[str, Any]]:
  """Class probabilities [N, K] of `features`, and how L2 was chosen.

  `settings` are those of `train`.
  """
  probe, chosen = train(train_features, train_labels, **settings)
  return np.exp(probe.log_probabilities(features)[0]), chosen
