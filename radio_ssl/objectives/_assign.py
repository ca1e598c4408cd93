"""Soft assignments to prototypes, for the methods that predict them."""

import chex
import jax
import jax.numpy as jnp
from jax import Array

from radio_ssl.objectives import base


def sinkhorn(scores: Array, *, epsilon: float, iterations: int) -> Array:
  """Assignments that use all prototypes alike, eq. (5) of arXiv:2006.09882.

  Columns, then rows are scaled to equal sums, `iterations` times over: the rows
  of the result sum to 1 exactly, its columns to N / K the better the more
  iterations there are. The paper's Q* is the transpose, divided by N.

  Args:
    scores: of N rows for K prototypes, [N, K].
    epsilon: of the entropy in eq. (3), > 0; the smaller, the harder.
    iterations: 1 or more.

  Returns:
    [N, K], each row a distribution; no gradient flows through it.
  """
  chex.assert_rank(scores, 2)
  # In logarithms: exp(score / epsilon) leaves float32's range at small epsilon.
  log_q = jax.lax.stop_gradient(scores) / epsilon
  for _ in range(iterations):
    for axis in (0, 1):
      log_q -= jax.nn.logsumexp(log_q, axis=axis, keepdims=True)
  return jnp.exp(log_q)


def cross_entropy(target: Array, outputs: Array, temperature: float) -> Array:
  """Each view predicts the assignments of the other global views.

  Eq. (3) of arXiv:2104.14294 (DINO); eqs. (2) and (6) of arXiv:2006.09882
  (SwAV), over the number of their terms.

  Args:
    target: of the global views, [2, B, K].
    outputs: of the network that is trained, [V, B, K]; the global views come
      first, in the same order.
    temperature: of the outputs, > 0.

  Returns:
    A scalar >= 0, the mean over the 2 (V - 1) pairs and this device's B rows.
  """
  chex.assert_rank([target, outputs], 3)
  num_targets, num_views = len(target), len(outputs)
  log_p = jax.nn.log_softmax(outputs / temperature, axis=-1)
  of_pairs = -jnp.einsum('ubk,vbk->uv', target, log_p) / target.shape[1]
  # No view is its own target.
  other = jnp.arange(num_targets)[:, None] != jnp.arange(num_views)[None]
  return jnp.sum(of_pairs, where=other) / jnp.sum(other)


def entropy(p: Array) -> Array:
  """Of distributions [..., K], in nats; 0 log 0 is 0."""
  safe = jnp.where(p > 0, p, 1)
  return -jnp.sum(p * jnp.log(safe), axis=-1)


def entropies(target: Array, axis_name: str | None) -> dict[str, Array]:
  """How sharp assignments are, and how many prototypes they use.

  Args:
    target: [V, B, K], this device's.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    assignment_entropy: mean over this device's rows, in [0, log K]; log K is
      collapse onto no choice at all.
    entropy_of_mean_assignment: of the global batch, in [0, log K]; 0 is
      collapse onto one prototype.
  """
  rows = base.gather_rows(target, axis_name, axis=1)
  return {
    'assignment_entropy': jnp.mean(entropy(target)),
    'entropy_of_mean_assignment': entropy(jnp.mean(rows, axis=(0, 1))),
  }
