"""SimSiam against loops over the paper's eqs. (1) to (4)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from configs import simsiam_first
from radio_ssl.models import base as base_model
from radio_ssl.objectives import simsiam
from radio_ssl.train import optimizers


def _cosine(a, b):
  dot = sum(x * y for x, y in zip(a, b, strict=True))
  return dot / np.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def _by_the_paper(p, z) -> float:
  """Eq. (4): half of D(p1, z2), half of D(p2, z1), D being eq. (1)."""
  total = 0.0
  for this, other in ((0, 1), (1, 0)):
    for a, b in zip(p[this], z[other], strict=True):
      total -= _cosine(a, b) / len(p[this]) / 2
  return total


def test_loss_equals_the_papers_formula():
  p, z = np.random.default_rng(0).normal(size=(2, 2, 6, 5))
  with jax.enable_x64(True):
    loss = simsiam.negative_cosine(jnp.asarray(p), jnp.asarray(z[::-1]))
  np.testing.assert_allclose(loss, _by_the_paper(p, z), rtol=1e-12)


@pytest.mark.parametrize(('scale', 'expected'), [(3.0, -1.0), (-0.5, 1.0)])
def test_parallel_and_opposite_rows_have_the_closed_form(scale, expected):
  z = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)), jnp.float32)
  loss = simsiam.negative_cosine(scale * z, z)
  np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_no_gradient_reaches_the_targets():
  p, z = jnp.asarray(np.random.default_rng(2).normal(size=(2, 4, 3)))
  grad_p, grad_z = jax.grad(simsiam.negative_cosine, (0, 1))(p, z)
  assert grad_p.any() and not grad_z.any()


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_zero_and_identical_rows_have_finite_gradients(value):
  rows = jnp.full((2, 2, 3), value)
  loss, grad = jax.value_and_grad(simsiam.negative_cosine)(rows, rows)
  np.testing.assert_allclose(loss, -value, rtol=1e-6)
  assert np.isfinite(grad).all()


def test_spread_is_the_deviation_of_unit_rows_times_root_d():
  z = np.random.default_rng(3).normal(size=(2, 8, 5)) + 0.7
  of_features = [
    np.std([view[k, i] / np.linalg.norm(view[k]) for k in range(8)])
    for view in z
    for i in range(5)
  ]
  with jax.enable_x64(True):
    spread = simsiam.spread(jnp.asarray(z))
  np.testing.assert_allclose(
    spread, np.mean(of_features) * np.sqrt(5), rtol=1e-12
  )
  halves = jnp.asarray(z, jnp.float32).reshape(2, 2, 4, 5).swapaxes(0, 1)
  on_two = jax.pmap(lambda z: simsiam.spread(z, 'd'), axis_name='d')(halves)
  np.testing.assert_allclose(on_two, [spread] * 2, rtol=1e-5)


def test_spread_is_one_on_the_sphere_and_zero_at_a_point():
  basis = jnp.concatenate([jnp.eye(4), -jnp.eye(4)])
  np.testing.assert_allclose(simsiam.spread(3 * basis), 1, rtol=1e-6)
  np.testing.assert_allclose(
    simsiam.spread(jnp.full((8, 4), 2.0)), 0, atol=1e-6
  )


class _Mean(nn.Module):
  """Features are the mean colour: nothing to train, nothing to get wrong."""

  @nn.compact
  def __call__(self, images, *, train):
    return base_model.Features(images.mean(axis=(1, 2)), None)


def _norm(x):
  return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)


def _hidden(layers, x, count):
  """Layers without bias, each with BatchNorm and ReLU."""
  for i in range(1, count + 1):
    norm = layers[f'norm{i}']
    x = _norm(x @ layers[f'dense{i}']['kernel'])
    x = np.maximum(x * norm['scale'] + norm['bias'], 0)
  return x


def _start(views):
  """An objective with random parameters, in float64 for NumPy as well."""
  config = simsiam.Config(
    projector_hidden=8, projector_out=5, predictor_hidden=3
  )
  objective = simsiam.make(config, encoder=_Mean(), axis_name=None)
  batch = {'views': {'global': jnp.asarray(views, jnp.float32)}}
  params, state = objective.init(jax.random.key(0), batch)
  generator = np.random.default_rng(5)
  layers = jax.tree.map(lambda x: generator.normal(size=x.shape), params)
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), layers)

  def loss(params):
    output = objective.loss(
      params, state, batch, step=jnp.int32(0), rng=jax.random.key(0)
    )
    return output.loss, output

  return layers, params, loss


def _heads(layers, views):
  """z and p of each view, by NumPy."""
  z, p = [], []
  for x in views.mean(axis=(2, 3)):
    x = _hidden(layers['projector'], x, 2)
    z.append(_norm(x @ layers['projector']['dense_last']['kernel']))
    last = layers['predictor']['dense_last']
    hidden = _hidden(layers['predictor'], z[-1], 1)
    p.append(hidden @ last['kernel'] + last['bias'])
  return z, p


def test_each_view_predicts_the_projections_of_the_other():
  views = np.random.default_rng(4).normal(size=(2, 6, 4, 4, 3))
  layers, params, loss = _start(views)
  _, output = loss(params)
  z, p = _heads(layers, views)
  np.testing.assert_allclose(output.loss, _by_the_paper(p, z), rtol=1e-4)
  features = np.concatenate(list(views.mean(axis=(2, 3))))
  np.testing.assert_allclose(output.features, features, rtol=1e-5, atol=1e-6)


def test_gradient_reaches_the_projector_through_predictions_alone():
  views = np.random.default_rng(4).normal(size=(2, 6, 4, 4, 3))
  layers, params, loss = _start(views)
  grads, _ = jax.grad(loss, has_aux=True)(params)
  # Its finite difference, the targets held where they are.
  fixed, _ = _heads(layers, views)
  direction = np.random.default_rng(6).normal(size=(3, 8))

  def moved(distance):
    kernel = layers['projector']['dense1']['kernel'] + distance * direction
    projector = layers['projector'] | {'dense1': {'kernel': kernel}}
    return _by_the_paper(
      _heads(layers | {'projector': projector}, views)[1], fixed
    )

  slope = (moved(1e-6) - moved(-1e-6)) / 2e-6
  grad = grads['projector']['dense1']['kernel']
  np.testing.assert_allclose(np.sum(grad * direction), slope, rtol=1e-3)


def test_config_keeps_the_learning_rate_of_the_predictor():
  config = simsiam_first.get_config('sgd')
  tx = optimizers.make(config, lambda step: 0.0 * step, peak=0.5)
  _, params, _ = _start(np.zeros((2, 2, 4, 4, 3)))
  grads = jax.tree.map(jnp.ones_like, params)
  updates, _ = tx.update(grads, tx.init(params), params)
  np.testing.assert_allclose(
    updates['predictor']['dense_last']['bias'], -0.5, rtol=1e-6
  )
  assert not any(x.any() for x in jax.tree.leaves(updates['projector']))


def test_width_must_be_positive():
  with pytest.raises(ValueError, match=r'objective\.predictor_hidden is 0'):
    simsiam.Config(predictor_hidden=0)
