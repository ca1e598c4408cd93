"""NT-Xent against a double loop over the paper's eq. (1)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.objectives import simclr


def _by_the_paper(z: np.ndarray, temperature: float) -> float:
  """Eq. (1) of arXiv:2002.05709, summed as its algorithm 1 does."""
  z = np.concatenate(list(z)).astype(np.float64)
  n = len(z) // 2

  def s(i, j):
    return z[i] @ z[j] / (np.linalg.norm(z[i]) * np.linalg.norm(z[j]))

  def ell(i, j):
    bottom = sum(np.exp(s(i, k) / temperature) for k in range(2 * n) if k != i)
    return -np.log(np.exp(s(i, j) / temperature) / bottom)

  return sum(ell(k, k + n) + ell(k + n, k) for k in range(n)) / (2 * n)


@pytest.mark.parametrize('temperature', [0.1, 0.5, 1.0])
def test_loss_equals_the_papers_formula(temperature):
  z = np.random.default_rng(0).normal(size=(2, 6, 5))
  with jax.enable_x64(True):
    loss, _ = simclr.nt_xent(jnp.asarray(z), temperature=temperature)
  np.testing.assert_allclose(loss, _by_the_paper(z, temperature), rtol=1e-10)


def test_orthogonal_pairs_have_the_closed_form():
  # Partners are equal, all others orthogonal: 1 exponential of 1/t against it
  # and 2 N - 2 ones.
  n, temperature = 4, 0.5
  z = np.stack([np.eye(n), 3 * np.eye(n)])
  with jax.enable_x64(True):
    loss, found = simclr.nt_xent(jnp.asarray(z), temperature=temperature)
  positive = np.exp(1 / temperature)
  expected = -np.log(positive / (positive + 2 * n - 2))
  np.testing.assert_allclose(loss, expected, rtol=1e-12)
  assert found == 1


def test_two_devices_equal_one_in_loss_and_gradient():
  z = np.random.default_rng(1).normal(size=(2, 8, 5)).astype(np.float32)

  def loss_one(z):
    return simclr.nt_xent(z, temperature=0.2)[0]

  def mapped(z):
    loss, grad = jax.value_and_grad(
      lambda x: simclr.nt_xent(x, temperature=0.2, axis_name='d')[0]
    )(z)
    return jax.lax.pmean(loss, 'd'), grad

  halves = jnp.asarray(z).reshape(2, 2, 4, 5).transpose(1, 0, 2, 3)
  loss, grads = jax.pmap(mapped, axis_name='d')(halves)
  expected, expected_grad = jax.value_and_grad(loss_one)(jnp.asarray(z))
  np.testing.assert_allclose(loss, [expected] * 2, rtol=1e-6)
  # Each device differentiates its own mean: the mean over devices has half.
  grads = grads.transpose(1, 0, 2, 3).reshape(2, 8, 5) / 2
  np.testing.assert_allclose(grads, expected_grad, atol=1e-6)


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_identical_and_zero_rows_have_finite_gradients(value):
  z = jnp.full((2, 2, 3), value)
  loss, grad = jax.value_and_grad(
    lambda x: simclr.nt_xent(x, temperature=0.1)[0]
  )(z)
  np.testing.assert_allclose(loss, np.log(3), rtol=1e-6)
  assert np.isfinite(grad).all()


@pytest.mark.parametrize('field', ['temperature', 'projector_out'])
def test_fields_must_be_positive(field):
  with pytest.raises(ValueError, match=rf'objective\.{field} is 0; wanted'):
    simclr.Config(**{field: 0})
