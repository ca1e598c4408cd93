"""SwAV against the paper's equations, written out in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from configs import dino_first, nnclr_first, swav_first
from radio_ssl.augment import inputs, views
from radio_ssl.data import examples
from radio_ssl.models import base as base_model
from radio_ssl.objectives import _assign, base, swav
from radio_ssl.train import optimizers

_STEPS_PER_EPOCH = 10


def _codes(scores, queued, epsilon=0.05, iterations=3):
  """Eq. (5) of arXiv:2006.09882 for one view; the queue's rows come last."""
  q = np.exp(np.concatenate([scores, queued]) / epsilon)
  num_rows, num_prototypes = q.shape
  for _ in range(iterations):
    for k in range(num_prototypes):
      q[:, k] /= num_prototypes * sum(q[:, k])
    for n in range(num_rows):
      q[n] /= num_rows * sum(q[n])
  return num_rows * q[: len(scores)]


def _loss(scores, queued, temperature=0.1):
  """Eq. (6) over its number of terms, with eq. (2) row by row.

  Scores are [V, B, K], those of the queue [2, Q, K].
  """
  terms = []
  for view in (0, 1):
    q = _codes(scores[view], queued[view])
    for other in range(len(scores)):
      if other == view:
        continue
      for row in range(len(q)):
        e = np.exp(scores[other, row] / temperature)
        terms.append(-np.sum(q[row] * np.log(e / e.sum())))
  return np.mean(terms)


@pytest.mark.parametrize('num_queued', [0, 6])
@pytest.mark.parametrize('num_local', [0, 3])
def test_loss_equals_equation_6(num_local, num_queued):
  rng = np.random.default_rng(0)
  scores = rng.uniform(-1, 1, (2 + num_local, 5, 7))
  queued = rng.uniform(-1, 1, (2, num_queued, 7))
  with jax.enable_x64(True):
    target = swav.codes(
      jnp.asarray(scores[:2]),
      jnp.asarray(queued) if num_queued else None,
      epsilon=0.05,
      iterations=3,
    )
    found = _assign.cross_entropy(target, jnp.asarray(scores), 0.1)
  np.testing.assert_allclose(found, _loss(scores, queued), rtol=1e-6)


def test_equal_scores_have_the_entropy_of_a_uniform_choice():
  scores = jnp.full((4, 3, 11), 0.5)
  target = swav.codes(scores[:2], epsilon=0.05, iterations=3)
  found = _assign.cross_entropy(target, scores, 0.1)
  np.testing.assert_allclose(found, np.log(11), rtol=1e-6)


def test_the_queue_takes_its_share_of_the_prototypes():
  # The batch wants prototype 0 and must share it out evenly with 1, unless the
  # images of the queue, which want 1, fill that.
  batch = jnp.broadcast_to(jnp.asarray([1.0, 0.0]), (2, 2, 2))
  sharp = functools.partial(swav.codes, epsilon=0.05, iterations=50)
  np.testing.assert_allclose(sharp(batch), 0.5, atol=1e-3)
  queued = jnp.broadcast_to(jnp.asarray([0.0, 1.0]), (2, 2, 2))
  np.testing.assert_allclose(sharp(batch, queued)[..., 0], 1, atol=1e-3)


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_gradients_are_finite(value):
  scores = jnp.full((2, 2, 5), value)

  def loss(scores):
    target = swav.codes(scores, epsilon=0.05, iterations=3)
    return _assign.cross_entropy(target, scores, 0.1)

  assert np.isfinite(jax.grad(loss)(scores)).all()


class Stub(nn.Module):
  """The mean of an image and its square: two features, one weight."""

  @nn.compact
  def __call__(self, images, *, train):
    scale = self.param('scale', nn.initializers.constant(1.5), ())
    mean = images.mean(axis=(1, 2))
    return base_model.Features(
      scale * jnp.concatenate([mean, mean**2], 1), None
    )


def _make(axis_name=None, **fields):
  settings = {
    'projector_hidden': 6,
    'projector_out': 4,
    'num_prototypes': 5,
    'queue_size': 16,
    'queue_start_epoch': 1,
  }
  return swav.make(
    swav.Config(**(settings | fields)),
    encoder=Stub(),
    axis_name=axis_name,
    num_steps=100,
    steps_per_epoch=_STEPS_PER_EPOCH,
    num_examples=80,
    batch_size=8,
  )


def _batch(num_local, seed=0):
  rng = np.random.default_rng(seed)
  views = {'global': rng.normal(1, 1, (2, 8, 6, 6, 1)).astype(np.float32)}
  if num_local:
    local = rng.normal(1, 1, (num_local, 8, 3, 3, 1))
    views['local'] = local.astype(np.float32)
  return {'views': jax.tree.map(jnp.asarray, views)}


def _run(objective, params, state, batch, step):
  return objective.loss(
    params, state, batch, step=jnp.int32(step), rng=jax.random.key(1)
  )


def _projections(params, views):
  """Encoder, projector over all views, unit length: [V, B, D], in float64."""
  params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  groups = [np.asarray(v, np.float64) for v in views.values()]
  x = np.concatenate(
    [g.reshape(-1, *g.shape[2:]).mean(axis=(1, 2)) for g in groups]
  )
  x = params['encoder']['scale'] * np.concatenate([x, x**2], axis=1)
  head = params['projector']
  x = x @ head['dense1']['kernel'] + head['dense1']['bias']
  x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
  x = np.maximum(x * head['norm1']['scale'] + head['norm1']['bias'], 0)
  x = x @ head['dense_last']['kernel'] + head['dense_last']['bias']
  x = x / np.linalg.norm(x, axis=1, keepdims=True)
  return x.reshape(sum(map(len, groups)), -1, x.shape[1])


def _random_head(params):
  """Biases and BatchNorm's scales and shifts that are not 0 and 1."""
  generator = np.random.default_rng(3)
  head = jax.tree.map(
    lambda x: x + 0.1 * jnp.asarray(generator.normal(size=x.shape), x.dtype),
    params['projector'],
  )
  return {**params, 'projector': head}


@pytest.mark.parametrize('queue_used', [False, True])
@pytest.mark.parametrize('num_local', [0, 2])
def test_whole_loss_is_that_of_numpy(num_local, queue_used):
  objective = _make(local_views=num_local)
  batch = _batch(num_local)
  params, state = objective.init(jax.random.key(0), batch)
  params = _random_head(params)
  step = _STEPS_PER_EPOCH if queue_used else _STEPS_PER_EPOCH - 1
  out = _run(objective, params, state, batch, step)

  z = _projections(params, batch['views'])
  kernel = np.asarray(params['prototypes']['kernel'], np.float64)
  rows = np.asarray(state['queue']['rows'], np.float64)
  queued = np.stack([rows[:, :4] @ kernel, rows[:, 4:] @ kernel])
  wanted = _loss(z @ kernel, queued if queue_used else queued[:, :0])
  np.testing.assert_allclose(out.loss, wanted, rtol=1e-4)
  assert out.features.shape == (16, 2)

  # Both projections of an image make one row, the batch in place of the oldest.
  after = out.model_state['queue']
  np.testing.assert_allclose(
    after['rows'][:8], np.concatenate([z[0], z[1]], axis=1), atol=1e-5
  )
  np.testing.assert_array_equal(after['rows'][8:], state['queue']['rows'][8:])
  assert int(after['at']) == 8


def test_two_devices_that_use_the_queue_match_one():
  batch, step = _batch(2), _STEPS_PER_EPOCH
  one = _make(local_views=2)
  params, state = one.init(jax.random.key(0), batch)

  def value(objective, params, state, batch):
    def loss(params):
      out = _run(objective, params, state, batch, step)
      return out.loss, (out.metrics, out.model_state)

    (value, (metrics, after)), grads = jax.value_and_grad(loss, has_aux=True)(
      params
    )
    return {'loss': value, 'grads': grads, **metrics}, after

  def split(views):
    return views.reshape(len(views), 2, 4, *views.shape[2:]).swapaxes(0, 1)

  two = _make('data', local_views=2)

  def on_device(batch):
    means, after = value(two, params, state, batch)
    return jax.lax.pmean(means, 'data'), after

  expected = jax.jit(functools.partial(value, one))(params, state, batch)
  found = jax.pmap(
    on_device, axis_name='data', devices=jax.local_devices()[:2]
  )({'views': jax.tree.map(split, batch['views'])})
  for device in (0, 1):
    jax.tree.map(
      lambda a, b, d=device: np.testing.assert_allclose(
        a[d], b, rtol=1e-4, atol=1e-5
      ),
      found,
      expected,
    )


def test_the_queue_is_used_from_its_epoch_on_and_never_before_it_is_full():
  assert _make(queue_start_epoch=3).queue_start == 3 * _STEPS_PER_EPOCH
  # 10 batches fill it.
  assert _make(queue_start_epoch=0, queue_size=80).queue_start == 10
  batch = _batch(0)
  objective = _make(queue_start_epoch=0)
  params, state = objective.init(jax.random.key(0), batch)
  other = {'queue': {**state['queue'], 'rows': -state['queue']['rows']}}
  for step, matters in ((0, False), (1, False), (2, True)):
    losses = [
      float(_run(objective, params, s, batch, step).loss)
      for s in (state, state | other)
    ]
    assert (losses[0] != losses[1]) == matters


def test_without_a_queue_there_is_none():
  batch = _batch(0)
  objective = _make(queue_size=0)
  params, state = objective.init(jax.random.key(0), batch)
  out = _run(objective, params, state, batch, 50)
  assert set(state) == set(out.model_state) == {'batch_stats'}
  z = _projections(params, batch['views'])
  kernel = np.asarray(params['prototypes']['kernel'], np.float64)
  wanted = _loss(z @ kernel, np.zeros((2, 0, 5)))
  np.testing.assert_allclose(out.loss, wanted, rtol=1e-4)


@pytest.mark.parametrize('name', ['adamw', 'lars'])
def test_prototypes_stay_for_an_epoch_then_move_on_the_sphere(name):
  batch = _batch(0)
  objective = _make()
  params, state = objective.init(jax.random.key(0), batch)
  optimizer = optimizers.kind(name)(lr=0.1, weight_decay=0.1)
  tx = optimizer.make(optax.constant_schedule(0.1))

  @jax.jit
  def update(params, state, opt_state, step):
    grads = jax.grad(lambda p: _run(objective, p, state, batch, step).loss)(
      params
    )
    updates, opt_state = tx.update(grads, opt_state, params)
    new = optax.apply_updates(params, updates)
    params, state = objective.after_update(params, new, state, step)
    return params, state, opt_state

  first, opt_state = params, tx.init(params)
  for step in range(_STEPS_PER_EPOCH + 2):
    before = params
    params, state, opt_state = update(params, state, opt_state, step)
    kernel = params['prototypes']['kernel']
    moved = not np.array_equal(kernel, before['prototypes']['kernel'])
    assert moved == (step >= _STEPS_PER_EPOCH)
    np.testing.assert_allclose(jnp.linalg.norm(kernel, axis=0), 1, rtol=1e-5)
  # The rest learnt all the while.
  assert not np.array_equal(
    params['encoder']['scale'], first['encoder']['scale']
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'temperature': 0.0}, r'objective\.temperature is 0\.0; wanted > 0'),
    ({'sinkhorn_epsilon': -1}, r'objective\.sinkhorn_epsilon is -1; wanted >'),
    ({'num_prototypes': 1}, 'num_prototypes is 1; wanted 2 or more'),
    ({'sinkhorn_iterations': 0}, 'sinkhorn_iterations is 0; wanted 1 or more'),
    ({'local_views': -1}, 'local_views is -1; wanted 0'),
    ({'queue_size': -8}, 'queue_size is -8; wanted 0'),
    ({'queue_size': 12}, 'queue_size is 12, batch_size 8; wanted a multiple'),
  ],
)
def test_fields_that_make_no_sense_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    _make(**fields)


@pytest.mark.parametrize('module', [dino_first, nnclr_first, swav_first])
def test_multicrop_configs_make_their_views_of_first(module):
  config = module.get_config('multicrop')
  assert set(config) == set(swav_first.get_config())
  method, fields = base.parse(config.objective)
  objective = method.make(
    fields,
    encoder=Stub(),
    axis_name=None,
    num_steps=100,
    steps_per_epoch=_STEPS_PER_EPOCH,
    num_examples=1098,
    batch_size=config.batch_size,
  )
  groups = {k: views.parse(v, k) for k, v in config.views.items()}
  first = examples.Geometry(150, 150, 'float32', 1.8, 5.4, 5.4)
  make = views.make_views(
    inputs.parse(config.input), groups, objective.views, first
  )
  blank = {
    'image': jnp.zeros((1, 150, 150, 1)),
    'background': jnp.zeros(1),
    'rms': jnp.ones(1),
    'row': jnp.arange(1),
  }
  made = jax.eval_shape(make, blank, jax.random.key(0))
  assert made['global'].shape == (2, 1, 64, 64, 1)
  assert made['local'].shape == (6, 1, 48, 48, 1)
