import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.models import heads


def test_projector_of_simclr_normalises_its_output():
  mlp = heads.MLP(
    hidden=(8,), out=4, norm_last=True, use_bias=False, use_bias_last=False
  )
  x = 3 + jax.random.normal(jax.random.key(1), (64, 6))
  variables = mlp.init(jax.random.key(0), x, train=False)
  z, _ = mlp.apply(variables, x, train=True, mutable=['batch_stats'])
  np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
  np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-3)
  assert 'bias' not in variables['params']['norm_last']
  assert 'bias' not in variables['params']['dense_last']
  assert 'bias' not in variables['params']['dense1']


def test_head_without_hidden_layers_is_one_linear_map():
  mlp = heads.MLP(hidden=(), out=3)
  x = jax.random.normal(jax.random.key(1), (5, 4))
  variables = mlp.init(jax.random.key(0), x, train=False)
  assert set(variables) == {'params'}
  dense = variables['params']['dense_last']
  np.testing.assert_allclose(
    mlp.apply(variables, x, train=True),
    x @ dense['kernel'] + dense['bias'][None],
    rtol=1e-6,
    atol=1e-6,
  )


def test_head_equals_its_layers_written_out():
  mlp = heads.MLP(hidden=(8,), out=3, use_bias_last=False)
  x = jax.random.normal(jax.random.key(1), (16, 4))
  variables = mlp.init(jax.random.key(0), x, train=False)
  p = jax.tree.map(np.asarray, variables['params'])
  h = np.asarray(x) @ p['dense1']['kernel'] + p['dense1']['bias']
  h = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5)
  expected = np.maximum(h, 0) @ p['dense_last']['kernel']
  z, _ = mlp.apply(variables, x, train=True, mutable=['batch_stats'])
  np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(jax.device_count() < 2, reason='needs two devices')
def test_batch_norm_over_two_devices_equals_one():
  x = jax.random.normal(jax.random.key(1), (16, 4))
  one = heads.MLP(hidden=(8,), out=3, norm_last=True)
  two = one.clone(axis_name='device')
  variables = one.init(jax.random.key(0), x, train=False)
  expected, state = one.apply(variables, x, train=True, mutable=['batch_stats'])

  @functools.partial(jax.pmap, axis_name='device', in_axes=0)
  def run(shard):
    return two.apply(variables, shard, train=True, mutable=['batch_stats'])

  z, states = run(x.reshape(2, 8, 4))
  np.testing.assert_allclose(z.reshape(16, 3), expected, rtol=1e-4, atol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-5, atol=1e-6),
    states,
    state,
  )


def test_bfloat16_head_keeps_float32_parameters():
  mlp = heads.MLP(hidden=(8,), out=3, dtype=jnp.bfloat16)
  x = jnp.ones((4, 4))
  variables = mlp.init(jax.random.key(0), x, train=False)
  assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
  assert mlp.apply(variables, x, train=False).dtype == jnp.bfloat16
