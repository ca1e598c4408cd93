"""NNCLR against loops over the paper's eqs. (3) and (4)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from radio_ssl.models import base as base_model
from radio_ssl.objectives import _contrast, nnclr


def _cosine(a, b):
  return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def _by_the_paper(anchors, p, temperature: float) -> float:
  """Eq. (3) for each global view and each other one, as algorithm 1 sums it."""
  count = len(anchors[0])
  losses = []
  for this in (0, 1):
    for other in range(len(p)):
      if other == this:
        continue
      for i in range(count):
        terms = [
          np.exp(_cosine(anchors[this][i], p[other][k]) / temperature)
          for k in range(count)
        ]
        losses.append(-np.log(terms[i] / sum(terms)))
  return np.mean(losses)


@pytest.mark.parametrize('num_views', [2, 5])
@pytest.mark.parametrize('temperature', [0.1, 0.5])
def test_loss_equals_the_papers_formula(temperature, num_views):
  generator = np.random.default_rng(0)
  anchors = generator.normal(size=(2, 6, 5))
  p = generator.normal(size=(num_views, 6, 5))
  with jax.enable_x64(True):
    loss, found = _contrast.across_views(
      jnp.asarray(anchors), jnp.asarray(p), temperature=temperature
    )
  expected = _by_the_paper(anchors, p, temperature)
  np.testing.assert_allclose(loss, expected, rtol=1e-10)
  assert 0 <= found <= 1


def test_orthogonal_pairs_have_the_closed_form():
  n, temperature = 4, 0.5
  anchors = np.stack([np.eye(n), 2 * np.roll(np.eye(n), 1, axis=0)])
  with jax.enable_x64(True):
    loss, found = _contrast.across_views(
      jnp.asarray(anchors), jnp.asarray(3 * anchors[::-1]), temperature=0.5
    )
  own = np.exp(1 / temperature)
  np.testing.assert_allclose(loss, -np.log(own / (own + n - 1)), rtol=1e-12)
  assert found == 1


def test_neighbours_are_the_nearest_by_distance():
  generator = np.random.default_rng(1)
  z = generator.normal(size=(2, 5, 3))
  rows = generator.normal(size=(9, 3))
  rows /= np.linalg.norm(rows, axis=1, keepdims=True)
  with jax.enable_x64(True):
    neighbours, cosines = nnclr.nearest(jnp.asarray(z), jnp.asarray(rows), 3)
  for view in range(2):
    for i in range(5):
      unit = z[view, i] / np.linalg.norm(z[view, i])
      order = sorted(range(9), key=lambda k: np.sum((unit - rows[k]) ** 2))
      np.testing.assert_array_equal(neighbours[view, i], rows[order[:3]])
      np.testing.assert_allclose(
        cosines[view, i], [unit @ rows[k] for k in order[:3]], rtol=1e-10
      )


def test_no_gradient_flows_through_the_search():
  z = jnp.asarray(np.random.default_rng(2).normal(size=(4, 3)), jnp.float32)
  grad = jax.grad(lambda x: sum(jnp.sum(y) for y in nnclr.nearest(x, z, 2)))(z)
  assert not grad.any()


@pytest.mark.parametrize('num_views', [2, 3])
def test_two_devices_equal_one_in_loss_and_gradient(num_views):
  rows = np.random.default_rng(3).normal(size=(2 + num_views, 8, 5))
  both = np.split(rows.astype(np.float32), [2])

  def mapped(anchors, p):
    loss, grads = jax.value_and_grad(
      lambda *x: _contrast.across_views(*x, temperature=0.2, axis_name='d')[0],
      (0, 1),
    )(anchors, p)
    return jax.lax.pmean(loss, 'd'), grads

  def split(x):
    return jnp.asarray(x).reshape(-1, 2, 4, 5).transpose(1, 0, 2, 3)

  loss, grads = jax.pmap(mapped, axis_name='d')(*map(split, both))
  expected, expected_grads = jax.value_and_grad(
    lambda *x: _contrast.across_views(*x, temperature=0.2)[0], (0, 1)
  )(*map(jnp.asarray, both))
  np.testing.assert_allclose(loss, [expected] * 2, rtol=1e-6)
  for grad, expected_grad in zip(grads, expected_grads, strict=True):
    # Each device differentiates its own mean: the mean over devices has half.
    grad = grad.transpose(1, 0, 2, 3).reshape(-1, 8, 5) / 2
    np.testing.assert_allclose(grad, expected_grad, atol=1e-6)


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_identical_and_zero_rows_have_finite_gradients(value):
  rows = jnp.full((2, 2, 3), value)
  loss, grads = jax.value_and_grad(
    lambda *x: _contrast.across_views(*x, temperature=0.1)[0], (0, 1)
  )(rows, rows)
  np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)
  assert all(np.isfinite(grad).all() for grad in grads)


class _Mean(nn.Module):
  """Features are the mean colour: nothing to train, nothing to get wrong."""

  @nn.compact
  def __call__(self, images, *, train):
    return base_model.Features(images.mean(axis=(1, 2)), None)


def _mlp(params, x, *, hidden, norm_last=False):
  """Dense, BatchNorm, ReLU, ..., dense, and BatchNorm without shift."""

  def dense(name, x):
    return x @ params[name]['kernel'] + params[name]['bias']

  def norm(name, x):
    x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
    return x * params[name]['scale'] + params[name].get('bias', 0)

  for i in range(1, hidden + 1):
    x = np.maximum(norm(f'norm{i}', dense(f'dense{i}', x)), 0)
  x = dense('dense_last', x)
  return norm('norm_last', x) if norm_last else x


def _start(groups):
  """An objective, random parameters and a state whose queue is at row 6."""
  config = nnclr.Config(
    temperature=0.3,
    projector_hidden=8,
    projector_out=5,
    predictor_hidden=7,
    queue_size=12,
    local_views=len(groups.get('local', ())),
  )
  objective = nnclr.make(config, encoder=_Mean(), axis_name=None, batch_size=6)
  views = {k: jnp.asarray(v, jnp.float32) for k, v in groups.items()}
  batch = {'views': views}
  params, state = objective.init(jax.random.key(0), batch)
  generator = np.random.default_rng(5)
  params = jax.tree.map(
    lambda x: jnp.asarray(generator.normal(size=x.shape), jnp.float32), params
  )
  state['queue'] = state['queue'] | {'at': jnp.int32(6)}
  return objective, params, state, batch


@pytest.mark.parametrize('num_local', [0, 3])
def test_neighbours_of_a_global_view_are_predicted_from_the_others(num_local):
  generator = np.random.default_rng(4)
  groups = {'global': generator.normal(size=(2, 6, 4, 4, 3))}
  if num_local:
    groups['local'] = generator.normal(size=(num_local, 6, 2, 2, 3))
  objective, params, state, batch = _start(groups)
  assert objective.views == {k: len(v) for k, v in groups.items()}
  output = objective.loss(
    params, state, batch, step=jnp.int32(0), rng=jax.random.key(0)
  )
  layers = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  rows = np.asarray(state['queue']['rows'], np.float64)
  z = [
    _mlp(layers['projector'], x, hidden=2, norm_last=True)
    for views in groups.values()
    for x in views.mean(axis=(2, 3))
  ]
  p = [_mlp(layers['predictor'], x, hidden=1) for x in z]
  anchors = [
    [max(rows, key=lambda row, x=x: _cosine(x, row)) for x in view]
    for view in z[:2]
  ]
  np.testing.assert_allclose(
    output.loss, _by_the_paper(anchors, p, 0.3), rtol=1e-4
  )
  # The first view replaces the oldest half; the other half stays.
  unit = z[0] / np.linalg.norm(z[0], axis=1, keepdims=True)
  queue = output.model_state['queue']
  np.testing.assert_allclose(queue['rows'][6:], unit, atol=1e-4)
  np.testing.assert_array_equal(queue['rows'][:6], state['queue']['rows'][:6])
  assert queue['at'] == 0
  assert output.features.shape == (12, 3)


def test_queue_that_batches_do_not_fill_is_refused():
  with pytest.raises(ValueError, match=r'queue_size is 512, batch_size 100'):
    nnclr.make(nnclr.Config(), encoder=_Mean(), axis_name=None, batch_size=100)


@pytest.mark.parametrize(
  ('field', 'value'),
  [('temperature', 0), ('local_views', -1), ('predictor_hidden', 0)],
)
def test_fields_out_of_range_are_refused(field, value):
  with pytest.raises(ValueError, match=rf'objective\.{field} is {value}'):
    nnclr.Config(**{field: value})
