"""BYOL's regression against the paper's eq. (2), and its moving average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from radio_ssl.models import base as base_model
from radio_ssl.objectives import byol


def test_loss_equals_both_forms_of_equation_2():
  generator = np.random.default_rng(0)
  p, z = generator.normal(size=(2, 7, 5))
  expected = np.mean(
    [
      2 - 2 * (a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))
      for a, b in zip(p, z, strict=True)
    ]
  )
  with jax.enable_x64(True):
    loss = byol.cosine_regression(jnp.asarray(p), jnp.asarray(z))
  np.testing.assert_allclose(loss, expected, rtol=1e-12)


@pytest.mark.parametrize(('sign', 'expected'), [(3.0, 0.0), (-2.0, 4.0)])
def test_parallel_and_opposite_rows_have_the_closed_form(sign, expected):
  z = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)), jnp.float32)
  loss = byol.cosine_regression(sign * z, z)
  np.testing.assert_allclose(loss, expected, atol=1e-6)


def test_no_gradient_reaches_the_targets():
  p, z = jnp.asarray(np.random.default_rng(2).normal(size=(2, 4, 3)))
  assert not jax.grad(byol.cosine_regression, argnums=1)(p, z).any()
  assert jax.grad(byol.cosine_regression)(p, z).any()


def test_zero_rows_have_finite_gradients():
  zero = jnp.zeros((2, 3))
  assert np.isfinite(jax.grad(byol.cosine_regression)(zero, zero)).all()


@pytest.mark.parametrize(
  ('step', 'decay'), [(0, 0.99), (50, 0.995), (100, 1.0), (200, 1.0)]
)
def test_moving_average_rises_on_a_half_cosine(step, decay):
  objective = byol.BYOL(byol.Config(ema_decay=0.99), None, num_steps=100)
  np.testing.assert_allclose(objective.ema_schedule(step), decay, rtol=1e-6)


def test_update_moves_the_average_by_one_minus_decay():
  objective = byol.BYOL(byol.Config(ema_decay=0.75), None, num_steps=10)
  old = {'encoder': jnp.zeros(2), 'projector': jnp.ones(2)}
  new = {k: jnp.full(2, 5.0) for k in ('encoder', 'projector', 'predictor')}
  params, state = objective.after_update(
    None, new, {'ema_params': old}, jnp.int32(0)
  )
  assert params is new
  assert set(state['ema_params']) == {'encoder', 'projector'}
  np.testing.assert_allclose(state['ema_params']['encoder'], 1.25)
  np.testing.assert_allclose(state['ema_params']['projector'], 2.0)


@pytest.mark.parametrize('norm_z', [False, True])
def test_z_of_a_batch_is_centred_where_the_config_says_so(norm_z):
  class Mean(nn.Module):
    @nn.compact
    def __call__(self, images, *, train):
      return base_model.Features(images.mean(axis=(1, 2)), None)

  config = byol.Config(hidden=8, out=4, norm_z=norm_z)
  objective = byol.make(config, encoder=Mean(), axis_name=None, num_steps=10)
  images = 2 + jax.random.normal(jax.random.key(1), (16, 5, 5, 3))
  network = objective.network
  variables = network.init(jax.random.key(0), images)
  (_, z), _ = network.apply(
    variables, images, method='project', mutable=['batch_stats']
  )
  centred = np.abs(z.mean(axis=0)).max() < 1e-5
  assert centred == norm_z
