"""Sinkhorn against plain loops and closed forms; entropies on two devices.

The cross entropy is tested where its equation is: test_dino and test_swav.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.objectives import _assign


def _sinkhorn(scores, epsilon, iterations):
  """Eq. (5) of arXiv:2006.09882: Diag(u) exp(scores / epsilon) Diag(v)."""
  q = np.exp(np.asarray(scores).T / epsilon)
  num_prototypes, num_rows = q.shape
  for _ in range(iterations):
    for k in range(num_prototypes):
      q[k] /= num_prototypes * sum(q[k])
    for n in range(num_rows):
      q[:, n] /= num_rows * sum(q[:, n])
  return num_rows * q.T


@pytest.mark.parametrize('iterations', [1, 3])
@pytest.mark.parametrize('shape', [(6, 4), (3, 7)])
def test_sinkhorn_equals_equation_5(shape, iterations):
  scores = np.random.default_rng(0).uniform(-1, 1, shape)
  with jax.enable_x64(True):
    found = _assign.sinkhorn(
      jnp.asarray(scores), epsilon=0.05, iterations=iterations
    )
  wanted = _sinkhorn(scores, 0.05, iterations)
  np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_rows_sum_to_1_and_columns_to_their_share():
  scores = np.random.default_rng(1).uniform(-1, 1, (8, 5))
  with jax.enable_x64(True):
    few, many = (
      np.asarray(
        _assign.sinkhorn(jnp.asarray(scores), epsilon=0.1, iterations=n)
      )
      for n in (3, 500)
    )
  for found in (few, many):
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
  np.testing.assert_allclose(many.sum(axis=0), 8 / 5, rtol=1e-6)


def test_a_score_of_all_rows_for_one_prototype_changes_nothing():
  # The equal shares take it out again: what is common to all rows is no choice.
  scores = np.random.default_rng(2).uniform(-1, 1, (8, 5))
  with jax.enable_x64(True):
    found, shifted = (
      _assign.sinkhorn(jnp.asarray(s), epsilon=0.05, iterations=3)
      for s in (scores, scores + np.array([[0.0, 0.0, 2.0, 0.0, 0.0]]))
    )
  np.testing.assert_allclose(shifted, found, rtol=1e-9)


@pytest.mark.parametrize('iterations', [1, 3])
def test_symmetric_scores_have_the_closed_form(iterations):
  # Rows and columns have equal sums from the first step on.
  scores = 0.3 * jnp.eye(4)
  found = _assign.sinkhorn(scores, epsilon=0.1, iterations=iterations)
  wanted = np.where(np.eye(4), np.exp(3.0), 1) / (np.exp(3.0) + 3)
  np.testing.assert_allclose(found, wanted, rtol=1e-5)
  uniform = _assign.sinkhorn(jnp.ones((3, 5)), epsilon=0.1, iterations=3)
  np.testing.assert_allclose(uniform, 1 / 5, rtol=1e-6)


def test_small_epsilon_stays_finite_and_chooses():
  scores = jnp.eye(3) - (1 - jnp.eye(3))
  found = _assign.sinkhorn(scores, epsilon=1e-3, iterations=3)
  np.testing.assert_allclose(found, np.eye(3), atol=1e-6)


def test_no_gradient_flows_through_assignments():
  def total(scores):
    q = _assign.sinkhorn(scores, epsilon=0.05, iterations=3)
    return jnp.sum(q * jnp.arange(4.0)[None])

  scores = jax.random.normal(jax.random.key(0), (5, 4))
  assert not jax.grad(total)(scores).any()


def test_entropies_tell_sharp_and_spread_from_collapse():
  sharp = jnp.stack([jnp.eye(4), jnp.eye(4)])
  found = _assign.entropies(sharp, None)
  np.testing.assert_allclose(found['assignment_entropy'], 0, atol=1e-7)
  np.testing.assert_allclose(
    found['entropy_of_mean_assignment'], np.log(4), rtol=1e-6
  )
  one = jnp.zeros((2, 3, 4)).at[..., 1].set(1)
  assert not any(np.any(v) for v in _assign.entropies(one, None).values())


def test_entropy_of_the_mean_is_that_of_the_global_batch():
  # Each device alone uses half the prototypes.
  rows = jnp.eye(4)[None].repeat(2, axis=0)
  mapped = jax.pmap(
    lambda rows: _assign.entropies(rows, 'data'),
    axis_name='data',
    in_axes=1,
    devices=jax.local_devices()[:2],
  )
  found = mapped(rows.reshape(2, 2, 2, 4))
  np.testing.assert_allclose(
    found['entropy_of_mean_assignment'], np.log(4), rtol=1e-6
  )
