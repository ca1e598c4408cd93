"""L-BFGS on S problems side by side, each at its own pace.

Nocedal & Wright 2006, algorithms 7.4 and 7.5, with a line search that halves
the step. One evaluation serves all; a problem that is solved makes room for the
next.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array

_HISTORY = 10


class State(NamedTuple):
  """S problems of P unknowns each; H steps are remembered."""

  number: Array  # [S], of the problem; M and more: none
  point: Array  # [S, P]
  value: Array  # [S], infinite before the first evaluation
  gradient: Array  # [S, P]
  direction: Array  # [S, P]
  step: Array  # [S]
  moves: Array  # [H, S, P], newest last
  changes: Array  # [H, S, P], of the gradient
  iteration: Array  # [S]


def first(slots: int, size: int, dtype) -> State:
  """The first problems, before their first evaluation, which moves nothing."""
  flat = jnp.zeros((slots, size), dtype)
  history = jnp.zeros((_HISTORY, slots, size), dtype)
  return State(
    number=jnp.arange(slots),
    point=flat,
    value=jnp.full(slots, jnp.inf, dtype),
    gradient=flat,
    direction=flat,
    step=jnp.ones(slots, dtype),
    moves=history,
    changes=history,
    iteration=jnp.zeros(slots, int),
  )


def replaced(state: State, done: Array) -> State:
  """Puts the next problems, or none, in the slots of those that are done."""
  fresh = first(*state.point.shape, state.point.dtype)
  number = jnp.max(state.number) + jnp.cumsum(done)

  def choose(new, old):
    # The history has the slots on its second axis.
    axis = new.ndim - 2 if new.ndim > 1 else 0
    shape = [-1 if i == axis else 1 for i in range(new.ndim)]
    return jnp.where(done.reshape(shape), new, old)

  return jax.tree.map(choose, fresh._replace(number=number), state)


def advance(
  state: State, evaluate: Callable[[Array], tuple[Array, Array]]
) -> State:
  """One evaluation: problems whose step is good move, the others halve it.

  Args:
    state: before it.
    evaluate: points [S, P] -> values [S] and gradients [S, P].
  """
  move = state.step[:, None] * state.direction
  value, gradient = evaluate(state.point + move)
  expected = jnp.sum(state.gradient * move, axis=1)
  # Near the optimum the decrease drowns in rounding; there the slope decides.
  rounding = 1e-14 * (1 + jnp.abs(state.value))
  good = value <= state.value + 1e-4 * expected + rounding
  keep = good[:, None]
  change = gradient - state.gradient
  useful = keep & (jnp.sum(move * change, axis=1) > 0)[:, None]
  moves = jnp.where(useful, _push(state.moves, move), state.moves)
  changes = jnp.where(useful, _push(state.changes, change), state.changes)
  gradient = jnp.where(keep, gradient, state.gradient)
  return state._replace(
    point=jnp.where(keep, state.point + move, state.point),
    value=jnp.where(good, value, state.value),
    gradient=gradient,
    direction=jnp.where(
      keep, _direction(gradient, moves, changes), state.direction
    ),
    step=jnp.where(good, 1.0, state.step / 2),
    moves=moves,
    changes=changes,
    iteration=state.iteration + 1,
  )


def _push(history: Array, entry: Array) -> Array:
  return jnp.concatenate([history[1:], entry[None]])


def _direction(gradient: Array, moves: Array, changes: Array) -> Array:
  """The two-loop recursion, algorithm 7.4."""
  products = jnp.sum(moves * changes, axis=2)
  # Entries not yet filled are zero and drop out.
  rho = jnp.where(products > 0, 1 / jnp.where(products > 0, products, 1), 0)
  q, alphas = gradient, []
  for i in reversed(range(_HISTORY)):
    alpha = rho[i] * jnp.sum(moves[i] * q, axis=1)
    q = q - alpha[:, None] * changes[i]
    alphas.append(alpha)
  curvature = jnp.sum(changes[-1] ** 2, axis=1)
  gamma = jnp.where(
    curvature > 0, products[-1] / jnp.where(curvature > 0, curvature, 1), 1
  )
  q = gamma[:, None] * q
  for i, alpha in zip(range(_HISTORY), reversed(alphas), strict=True):
    beta = rho[i] * jnp.sum(changes[i] * q, axis=1)
    q = q + (alpha - beta)[:, None] * moves[i]
  return -q
