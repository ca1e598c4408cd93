"""The linear probe beside scikit-learn's logistic regression.

  taskset --cpu-list 0 python -m radio_ssl.bench.probe --checkpoint RUN \
    --data DIR

Features are those of an encoder on a labelled set, each image in many
orientations and places until there are enough rows. Both fit one model for each
value of L2, ours all together, scikit-learn one after another from the
strongest, each from the solution before. What is right is judged by the
objective (see `evaluate.linear`), worked out here in NumPy: a solver counts
when it is within 1e-6 of the least that anyone found at every L2, and
scikit-learn runs at the loosest of its tolerances that is. Rounds alternate in
one process; what counts is its CPU time, ours with what it compiles, which the
first round does.
"""

import argparse
import functools
import statistics
import time
import warnings
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import sklearn.exceptions
import sklearn.linear_model

from radio_ssl.augment import inputs
from radio_ssl.data import pipeline
from radio_ssl.evaluate import features, linear

_CLOSE = 1e-6
# Largest entry of our gradient: of probes that are reported, and looser.
_OURS = (2e-7, 1e-5)
_THEIRS = (1e-4, 1e-5, 1e-6, 1e-7)
_MAX_SHIFT_PIX = 6

# Weights [M, D, K] and biases [M, K] of all values of L2.
Solution = tuple[np.ndarray, np.ndarray]


def views(
  frozen: features.FrozenEncoder,
  dataset: pipeline.DataSet,
  split: str,
  num_rows: int,
) -> tuple[np.ndarray, np.ndarray]:
  """Features [N, D], standardised, and labels [N], of images turned and moved.

  Args:
    frozen: the encoder.
    dataset: with labels.
    split: of it.
    num_rows: N.
  """

  def encode(batch, *, turns, mirrored, shift):
    images = inputs.prepare(batch, frozen.input, dataset.geometry)
    images = jnp.rot90(images, turns, axes=(1, 2))
    if mirrored:
      images = images[:, ::-1]
    return frozen(jnp.roll(images, shift, axis=(1, 2)))

  rng = np.random.default_rng(0)
  found, labels = [], []
  while sum(map(len, found)) < num_rows:
    how = {
      'turns': int(rng.integers(4)),
      'mirrored': bool(rng.integers(2)),
      'shift': tuple(
        map(int, rng.integers(-_MAX_SHIFT_PIX, _MAX_SHIFT_PIX + 1, 2))
      ),
    }
    table = features.tabulate(
      dataset, split, jax.jit(functools.partial(encode, **how))
    )
    found.append(table.features)
    labels.append(table.labels)
  x = np.concatenate(found)[:num_rows]
  spread = x.std(axis=0)
  x = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1)
  return x, np.concatenate(labels)[:num_rows]


def objectives(
  x: np.ndarray, labels: np.ndarray, l2: np.ndarray, solution: Solution
) -> np.ndarray:
  """What is minimised, [M]."""
  values = []
  for strength, weights, bias in zip(l2, *solution, strict=True):
    logits = x @ weights + bias
    logits -= logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    loss = -log_p[np.arange(len(labels)), labels].mean()
    values.append(loss + strength / 2 * (weights**2).sum())
  return np.array(values)


def ours(
  x: np.ndarray, labels: np.ndarray, l2: np.ndarray, tolerance: float
) -> Solution:
  """By `linear.fit`."""
  probe = linear.fit(
    x,
    labels,
    num_classes=int(labels.max()) + 1,
    l2=l2,
    tolerance=tolerance,
    standardise=False,
  )
  return probe.weights, probe.bias


def theirs(
  x: np.ndarray,
  labels: np.ndarray,
  l2: np.ndarray,
  tolerance: float,
  *,
  solver: str = 'lbfgs',
) -> Solution:
  """By scikit-learn; every model starts from the one before."""
  model = sklearn.linear_model.LogisticRegression(
    solver=solver, tol=tolerance, max_iter=20000, warm_start=True
  )
  binary = labels.max() == 1
  weights, biases = [], []
  for strength in sorted(l2, reverse=True):
    # With two classes it has one vector, which is twice each of ours.
    model.C = (2 if binary else 1) / (strength * len(x))
    model.fit(x, labels)
    coef, intercept = model.coef_, model.intercept_
    if binary:
      coef = np.concatenate([-coef, coef]) / 2
      intercept = np.concatenate([-intercept, intercept]) / 2
    weights.append(coef.T)
    biases.append(intercept)
  back = np.argsort(np.argsort(-l2, kind='stable'))
  return np.array(weights)[back], np.array(biases)[back]


def close_enough(
  x: np.ndarray, labels: np.ndarray, l2: np.ndarray, solver: str
) -> float:
  """The loosest tolerance of scikit-learn that comes within 1e-6 of the best.

  Raises:
    ValueError: none does.
  """
  best = objectives(x, labels, l2, ours(x, labels, l2, _OURS[0]))
  for tolerance in _THEIRS:
    found = theirs(x, labels, l2, tolerance, solver=solver)
    if (objectives(x, labels, l2, found) - best).max() < _CLOSE:
      return tolerance
  raise ValueError(
    f'scikit-learn, {solver}: not within {_CLOSE} at a tolerance of '
    f'{_THEIRS[-1]} yet; there is nothing to compare with.'
  )


def table(
  x: np.ndarray,
  labels: np.ndarray,
  l2: np.ndarray,
  *,
  solvers: Sequence[str],
  rounds: int,
) -> str:
  """Rounds in turn, as a markdown table."""
  fits: dict[str, Callable[[], Solution]] = {
    f'ours, gradient below {tolerance:.0e}': functools.partial(
      ours, x, labels, l2, tolerance
    )
    for tolerance in _OURS
  }
  for solver in solvers:
    tolerance = close_enough(x, labels, l2, solver)
    fits[f'scikit-learn, {solver}, tol {tolerance:.0e}'] = functools.partial(
      theirs, x, labels, l2, tolerance, solver=solver
    )
  seconds, values = {name: [] for name in fits}, {}
  for _ in range(rounds):
    for name, fit in fits.items():
      begun = time.process_time()
      solution = fit()
      seconds[name].append(time.process_time() - begun)
      values[name] = objectives(x, labels, l2, solution)
  best = np.min(list(values.values()), axis=0)
  first = next(iter(fits))
  lines = [
    '| fit | CPU s | times the first row | above the best objective, at most |',
    '| --- | --- | --- | --- |',
  ]
  for name in fits:
    ratios = [a / b for a, b in zip(seconds[name], seconds[first], strict=True)]
    lines.append(
      f'| {name} | {statistics.median(seconds[name]):.3g} '
      f'| {statistics.median(ratios):.2f} ({min(ratios):.2f} to '
      f'{max(ratios):.2f}) | {(values[name] - best).max():.1e} |'
    )
  return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--checkpoint', required=True)
  parser.add_argument('--data', required=True, help='folder of a labelled set')
  parser.add_argument('--split', default='train')
  parser.add_argument('--rows', type=int, default=20000)
  parser.add_argument('--num_l2', type=int, default=45)
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument(
    '--solvers',
    nargs='+',
    default=['lbfgs'],
    choices=('lbfgs', 'newton-cg', 'newton-cholesky'),
  )
  args = parser.parse_args(argv)
  dataset = pipeline.open_dataset(args.data)
  x, labels = views(
    features.from_checkpoint(args.checkpoint), dataset, args.split, args.rows
  )
  l2 = np.logspace(
    np.log10(linear.L2_GRID[0]), np.log10(linear.L2_GRID[-1]), args.num_l2
  )
  print(
    f'{len(x)} rows, {x.shape[1]} features, {labels.max() + 1} classes, '
    f'{len(l2)} values of L2'
  )
  with warnings.catch_warnings():
    # A tolerance that is too loose is found by its objective.
    warnings.simplefilter('ignore', sklearn.exceptions.ConvergenceWarning)
    print(
      table(x, labels, l2, solvers=args.solvers, rounds=args.rounds), flush=True
    )


if __name__ == '__main__':
  main()
