"""Optimisers: what they update, and what the papers exclude."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from radio_ssl.train import optimizers, schedules

_PARAMS = {'kernel': jnp.full((2, 3), 2.0), 'scale': jnp.full(3, 2.0)}
_GRADS = {'kernel': jnp.full((2, 3), 0.5), 'scale': jnp.full(3, 0.5)}


def _first_update(config, grads=_GRADS):
  tx = optimizers.parse(config).make(optax.constant_schedule(config['lr']))
  updates, _ = tx.update(grads, tx.init(_PARAMS), _PARAMS)
  return jax.tree.map(np.asarray, updates)


def test_lars_adapts_kernels_and_leaves_norms_to_sgd():
  update = _first_update(
    {
      'name': 'lars',
      'lr': 0.1,
      'weight_decay': 0.25,
      'momentum': 0.9,
      'trust_coefficient': 0.01,
    }
  )
  # Eq. (6) of the paper: eta |w| / |g + wd w| times the decayed gradient.
  w, g = np.full(6, 2.0), np.full(6, 0.5 + 0.25 * 2.0)
  trust = 0.01 * np.linalg.norm(w) / np.linalg.norm(g)
  np.testing.assert_allclose(update['kernel'], -0.1 * trust * 1.0, rtol=1e-6)
  np.testing.assert_allclose(update['scale'], -0.1 * 0.5, rtol=1e-6)


@pytest.mark.parametrize('name', ['sgd', 'adamw'])
def test_weight_decay_skips_biases_and_norms(name):
  config = {'name': name, **_fields(name), 'lr': 0.1, 'weight_decay': 0.3}
  update = _first_update(config, jax.tree.map(jnp.zeros_like, _GRADS))
  np.testing.assert_allclose(update['kernel'], -0.1 * 0.3 * 2.0, rtol=1e-6)
  np.testing.assert_allclose(update['scale'], 0.0)


def test_adam_first_step_is_the_learning_rate():
  update = _first_update({'name': 'adam', **_fields('adam'), 'lr': 0.1})
  np.testing.assert_allclose(update['kernel'], -0.1, rtol=1e-5)


def _fields(name):
  return vars(optimizers.kind(name)())


def test_unknown_optimizer_lists_what_there_is():
  with pytest.raises(ValueError, match=r'there are: adam, adamw, lars, sgd'):
    optimizers.parse({'name': 'lion'})


def test_none_is_not_a_number():
  with pytest.raises(ValueError, match=r'optimizer\.lr is None; wanted a num'):
    optimizers.parse({'name': 'adamw', **_fields('adamw'), 'lr': None})


def test_fields_of_another_optimizer_are_refused():
  with pytest.raises(ValueError, match=r"base\.optimizer\('adamw'\)"):
    optimizers.parse({'name': 'adamw', **_fields('lars')})


@pytest.mark.parametrize(
  ('step', 'lr'), [(0, 0.0), (5, 0.5), (10, 1.0), (60, 0.55), (110, 0.1)]
)
def test_warmup_cosine_at(step, lr):
  schedule = schedules.warmup_cosine(
    1.0, warmup_steps=10, num_steps=110, final_fraction=0.1
  )
  np.testing.assert_allclose(schedule(step), lr, atol=1e-6)


def test_without_warmup_the_first_step_has_the_peak():
  schedule = schedules.warmup_cosine(
    1.0, warmup_steps=0, num_steps=10, final_fraction=0.0
  )
  np.testing.assert_allclose(schedule(0), 1.0)


def test_warmup_as_long_as_the_run_is_refused():
  with pytest.raises(ValueError, match='10 steps must be shorter'):
    schedules.warmup_cosine(
      1.0, warmup_steps=10, num_steps=10, final_fraction=0.0
    )


def test_learning_rate_scales_with_the_batch():
  assert schedules.scaled_lr(0.3, 512) == 0.6
