"""Whole losses, from views to a number, against NumPy in float64.

Which view is compared with which, over which batch BatchNorm normalises and
whose parameters make the targets: what a test of the pure loss cannot see.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from radio_ssl.models import base
from radio_ssl.objectives import byol, simclr


class _Mean(nn.Module):
  """Features are the mean colour: nothing to train, nothing to get wrong."""

  @nn.compact
  def __call__(self, images, *, train):
    return base.Features(images.mean(axis=(1, 2)), None)


def _views():
  return np.random.default_rng(0).normal(size=(2, 6, 4, 4, 3))


def _random(tree, seed):
  """Parameters of that shape, BatchNorm's scales and shifts among them."""
  generator = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: jnp.asarray(generator.normal(size=x.shape), jnp.float32), tree
  )


def _mlp(params, x, *, norm_last):
  """Dense, BatchNorm, ReLU, dense, and BatchNorm without shift."""

  def dense(layer, x):
    layer = {k: np.asarray(v, np.float64) for k, v in layer.items()}
    return x @ layer['kernel'] + layer.get('bias', 0)

  def norm(layer, x):
    layer = {k: np.asarray(v, np.float64) for k, v in layer.items()}
    x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
    return x * layer['scale'] + layer.get('bias', 0)

  x = np.maximum(norm(params['norm1'], dense(params['dense1'], x)), 0)
  x = dense(params['dense_last'], x)
  return norm(params['norm_last'], x) if norm_last else x


def _cosine(a, b):
  return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def _run(objective, params, model_state, views):
  batch = {
    'views': {'global': jnp.asarray(views, jnp.float32)},
    'index': jnp.arange(views.shape[1]),
  }
  return objective.loss(
    params, model_state, batch, step=jnp.int32(0), rng=jax.random.key(0)
  )


def _init(objective, views):
  batch = {'views': {'global': jnp.asarray(views, jnp.float32)}}
  return objective.init(jax.random.key(0), batch)


@pytest.mark.parametrize('norm_z', [False, True])
def test_byol_predicts_the_averaged_network_of_the_other_view(norm_z):
  views = _views()
  objective = byol.make(
    byol.Config(hidden=8, out=5, norm_z=norm_z),
    encoder=_Mean(),
    axis_name=None,
    num_steps=10,
  )
  params, state = _init(objective, views)
  params = _random(params, 1)
  state['ema_params'] = _random(state['ema_params'], 2)
  features = views.mean(axis=(2, 3))

  def project(params, x):
    return _mlp(params['projector'], x, norm_last=norm_z)

  expected = 0.0
  for this, other in ((0, 1), (1, 0)):
    z = project(params, features[this])
    p = _mlp(params['predictor'], z, norm_last=False)
    target = project(state['ema_params'], features[other])
    rows = zip(p, target, strict=True)
    expected += np.mean([2 - 2 * _cosine(a, b) for a, b in rows])

  loss = _run(objective, params, state, views).loss
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_simclr_contrasts_both_views_in_one_batch():
  views, temperature = _views(), 0.3
  config = simclr.Config(
    temperature=temperature, projector_hidden=8, projector_out=5
  )
  objective = simclr.make(config, encoder=_Mean(), axis_name=None)
  params, state = _init(objective, views)
  params = _random(params, 1)
  features = np.concatenate(list(views.mean(axis=(2, 3))))
  # The paper normalises over the 2 N views together.
  z = _mlp(params['projector'], features, norm_last=True)
  n = len(z) // 2
  terms = []
  for i in range(2 * n):
    all_others = [
      np.exp(_cosine(z[i], z[k]) / temperature) for k in range(2 * n) if k != i
    ]
    partner = np.exp(_cosine(z[i], z[(i + n) % (2 * n)]) / temperature)
    terms.append(-np.log(partner / sum(all_others)))
  loss = _run(objective, params, state, views).loss
  np.testing.assert_allclose(loss, np.mean(terms), rtol=1e-5)
