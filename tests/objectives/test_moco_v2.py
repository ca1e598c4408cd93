"""MoCo v2 against loops over eq. (1) of arXiv:1911.05722."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from radio_ssl.models import base as base_model
from radio_ssl.models import heads
from radio_ssl.objectives import moco_v2


def _cosine(a, b):
  return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def _by_the_paper(queries, keys, queue, temperature: float) -> float:
  """Eq. (1) for each query, its key first in the sum over K + 1 keys."""
  terms = []
  for view in range(len(queries)):
    for q, positive in zip(queries[view], keys[view], strict=True):
      candidates = [positive, *queue]
      e = [np.exp(_cosine(q, k) / temperature) for k in candidates]
      terms.append(-np.log(e[0] / sum(e)))
  return np.mean(terms)


def _unit(rows):
  return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize('num_views', [1, 2])
@pytest.mark.parametrize('temperature', [0.07, 0.2, 1.0])
def test_loss_equals_the_papers_formula(num_views, temperature):
  generator = np.random.default_rng(0)
  queries, noise = generator.normal(size=(2, num_views, 6, 5))
  keys = queries + noise
  queue = _unit(generator.normal(size=(9, 5)))
  with jax.enable_x64(True):
    loss, found = moco_v2.info_nce(
      *map(jnp.asarray, (queries, keys, queue)), temperature=temperature
    )
  expected = _by_the_paper(queries, keys, queue, temperature)
  np.testing.assert_allclose(loss, expected, rtol=1e-10)
  nearest = [
    _cosine(q, k) > max(_cosine(q, row) for row in queue)
    for view in range(num_views)
    for q, k in zip(queries[view], keys[view], strict=True)
  ]
  assert 0 < np.mean(nearest) < 1
  np.testing.assert_allclose(found, np.mean(nearest))


def test_own_key_among_orthogonal_ones_has_the_closed_form():
  # One exponential of 1 / t against it and K ones.
  rows, temperature = np.eye(7), 0.5
  with jax.enable_x64(True):
    loss, found = moco_v2.info_nce(
      jnp.asarray(3 * rows[None, :2]),
      jnp.asarray(rows[None, :2]),
      jnp.asarray(rows[2:]),
      temperature=temperature,
    )
  positive = np.exp(1 / temperature)
  np.testing.assert_allclose(loss, -np.log(positive / (positive + 5)))
  assert found == 1


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_equal_rows_find_nothing_and_have_finite_gradients(value):
  rows = jnp.full((2, 2, 3), value)
  queue = jnp.full((4, 3), value / 3**0.5)

  def loss(queries):
    return moco_v2.info_nce(queries, rows, queue, temperature=0.2)

  (loss, found), grad = jax.value_and_grad(loss, has_aux=True)(rows)
  np.testing.assert_allclose(loss, np.log(5), rtol=1e-6)
  assert found < 1
  assert np.isfinite(grad).all()


def test_no_gradient_flows_into_the_keys():
  queries, keys = np.random.default_rng(1).normal(size=(2, 2, 4, 3))
  grads = jax.grad(
    lambda *x: moco_v2.info_nce(*x, jnp.eye(3), temperature=0.2)[0], (0, 1)
  )(jnp.asarray(queries), jnp.asarray(keys))
  assert grads[0].any()
  assert not grads[1].any()


class _Scaled(nn.Module):
  """Features are the mean colour, times a weight, after BatchNorm."""

  axis_name: str | None = None

  @nn.compact
  def __call__(self, images, *, train):
    scale = self.param('scale', nn.initializers.ones, (3,))
    x = images.mean(axis=(1, 2)) * scale[None]
    return base_model.Features(
      nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        axis_name=self.axis_name,
      )(x),
      None,
    )


def _network(params, images):
  """z of images [B, H, W, 3]; the hidden layer is as wide as the features."""
  params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  x = images.mean(axis=(1, 2)) * params['encoder']['scale']
  x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
  norm = params['encoder']['BatchNorm_0']
  x = x * norm['scale'] + norm['bias']
  head = params['projector']
  assert head['dense1']['kernel'].shape == (3, 3)
  x = x @ head['dense1']['kernel'] + head['dense1']['bias']
  last = head['dense_last']
  return np.maximum(x, 0) @ last['kernel'] + last['bias']


def _make(axis_name=None, batch_size=6, **fields):
  fields = {'projector_out': 5, 'queue_size': 24} | fields
  return moco_v2.make(
    moco_v2.Config(temperature=0.3, **fields),
    encoder=_Scaled(axis_name),
    axis_name=axis_name,
    batch_size=batch_size,
  )


def _random(tree, seed):
  generator = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: jnp.asarray(generator.normal(size=x.shape), jnp.float32), tree
  )


def _start(objective, views):
  """Random parameters, other ones of the average, and a half-filled queue."""
  batch = {'views': {'global': jnp.asarray(views, jnp.float32)}}
  params, state = objective.init(jax.random.key(0), batch)
  state['ema_params'] = _random(state['ema_params'], 2)
  state['queue'] = state['queue'] | {'at': jnp.int32(12)}
  return _random(params, 1), state, batch


def _run(objective, params, state, batch):
  return objective.loss(
    params, state, batch, step=jnp.int32(0), rng=jax.random.key(0)
  )


@pytest.mark.parametrize('symmetric', [False, True])
def test_queries_are_online_and_keys_of_the_average_and_the_other_view(
  symmetric,
):
  views = np.random.default_rng(4).normal(size=(2, 6, 4, 4, 3))
  objective = _make(symmetric=symmetric)
  params, state, batch = _start(objective, views)
  output = _run(objective, params, state, batch)

  q = [_network(params, view) for view in views]
  k = [_network(state['ema_params'], view) for view in views]
  old = np.asarray(state['queue']['rows'], np.float64)
  pairs = [(q[0], k[1]), (q[1], k[0])] if symmetric else [(q[0], k[1])]
  # The queue is that of before this step: no image meets its own keys.
  expected = _by_the_paper(*zip(*pairs, strict=True), old, 0.3)
  np.testing.assert_allclose(output.loss, expected, rtol=1e-5)
  assert output.features.shape == (6 * len(pairs), 3)

  # Keys of all views replace the oldest rows, image by image.
  keys = np.stack([_unit(key) for _, key in pairs], axis=1).reshape(-1, 5)
  rows = np.concatenate([old[:12], keys, old[12 + len(keys) :]])
  np.testing.assert_allclose(
    output.model_state['queue']['rows'], rows, atol=1e-5
  )
  assert output.model_state['queue']['at'] == (12 + len(keys)) % 24


def test_average_keeps_the_statistics_of_its_own_forward():
  views = np.random.default_rng(5).normal(size=(2, 6, 4, 4, 3))
  objective = _make(symmetric=False)
  params, state, batch = _start(objective, views)
  after = _run(objective, params, state, batch).model_state
  for tree, stats, view in (
    (params, 'batch_stats', views[0]),
    (state['ema_params'], 'ema_batch_stats', views[1]),
  ):
    mean = view.mean(axis=(0, 1, 2)) * np.asarray(tree['encoder']['scale'])
    np.testing.assert_allclose(
      after[stats]['encoder']['BatchNorm_0']['mean'], 0.1 * mean, rtol=1e-4
    )


@pytest.mark.parametrize('symmetric', [False, True])
def test_two_devices_match_one(symmetric):
  views = np.random.default_rng(6).normal(size=(2, 8, 4, 4, 3))
  fields = {'batch_size': 8, 'queue_size': 32, 'symmetric': symmetric}
  one = _make(**fields)
  params, state, batch = _start(one, views)

  def value(objective, params, state, batch):
    def loss(params):
      out = _run(objective, params, state, batch)
      return out.loss, (out.metrics, out.model_state)

    (loss, (metrics, after)), grads = jax.value_and_grad(loss, has_aux=True)(
      params
    )
    return {'loss': loss, 'grads': grads, **metrics}, after

  two = _make('data', **fields)

  def on_device(images):
    batch = {'views': {'global': images}}
    means, after = value(two, params, state, batch)
    return jax.lax.pmean(means, 'data'), after

  split = batch['views']['global'].reshape(2, 2, 4, 4, 4, 3).swapaxes(0, 1)
  found = jax.pmap(
    on_device, axis_name='data', devices=jax.local_devices()[:2]
  )(split)
  expected = value(one, params, state, batch)
  for device in (0, 1):
    jax.tree.map(
      lambda a, b, d=device: np.testing.assert_allclose(
        a[d], b, rtol=1e-4, atol=1e-5
      ),
      found,
      expected,
    )


def test_average_moves_by_one_minus_a_constant_decay():
  objective = _make(ema_decay=0.75)
  old = {'encoder': jnp.zeros(2), 'projector': jnp.ones(2)}
  new = {k: jnp.full(2, 5.0) for k in old}
  for step in (0, 1000):
    params, state = objective.after_update(
      None, new, {'ema_params': old}, jnp.int32(step)
    )
    assert params is new
    np.testing.assert_allclose(state['ema_params']['encoder'], 1.25)
    np.testing.assert_allclose(state['ema_params']['projector'], 2.0)


def test_head_is_the_papers_two_layers_without_batch_norm():
  views = np.zeros((2, 6, 4, 4, 3))
  objective = _make(projector_hidden=7)
  params, _ = objective.init(
    jax.random.key(0), {'views': {'global': jnp.asarray(views, jnp.float32)}}
  )
  shapes = jax.tree.map(jnp.shape, params['projector'])
  assert shapes == {
    'dense1': {'kernel': (3, 7), 'bias': (7,)},
    'dense_last': {'kernel': (7, 5), 'bias': (5,)},
  }
  assert isinstance(objective.network.projector, heads.MLP)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'temperature': 0}, r'objective\.temperature is 0; wanted > 0'),
    ({'ema_decay': 1.5}, r'objective\.ema_decay is 1\.5; wanted a value in'),
  ],
)
def test_fields_that_make_no_sense_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    moco_v2.Config(**fields)


@pytest.mark.parametrize('symmetric', [False, True])
def test_queue_that_the_keys_of_batches_do_not_fill_is_refused(symmetric):
  # Three batches of 6 keys: 18 do not divide by the 12 of both views.
  if not symmetric:
    _make(queue_size=18, symmetric=False)
    return
  message = r'queue_size is 18, batch_size 6; wanted a multiple of 2 times it'
  with pytest.raises(ValueError, match=message):
    _make(queue_size=18)
