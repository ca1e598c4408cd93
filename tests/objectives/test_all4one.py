"""All4One's terms and their wiring against NumPy in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from radio_ssl.models import base as base_model
from radio_ssl.models import heads
from radio_ssl.objectives import all4one


def _cosine(a, b):
  return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def _contrast(anchors, p, temperature: float) -> float:
  """NNCLR's eq. (3) for both orders of the views, one after the other."""
  count, total = len(p[0]), 0.0
  for this, other in ((0, 1), (1, 0)):
    for i in range(count):
      terms = [
        np.exp(_cosine(anchors[this][i], p[other][k]) / temperature)
        for k in range(count)
      ]
      total -= np.log(terms[i] / sum(terms)) / count / 2
  return total


def _feature_contrast(z, targets) -> float:
  """The roots of the mean squares, on the diagonal and off it."""
  length = z[0].shape[1]
  same, others = [], []
  for this, other in ((0, 1), (1, 0)):
    for i in range(length):
      for j in range(length):
        c = _cosine(targets[this][:, i], z[other][:, j])
        if i == j:
          same.append((1 - c) ** 2)
        else:
          others.append(c**2)
  return (np.sqrt(np.mean(same)) + np.sqrt(np.mean(others))) / 2


def _transformer(params, sequence, *, layers: int, num_heads: int):
  """Vaswani et al. 2017: heads one by one, LayerNorm after each sum."""
  count, length = sequence.shape
  x = sequence * np.sqrt(length)
  for position in range(count):
    for i in range(length // 2):
      angle = position / 10000 ** (2 * i / length)
      x[position, 2 * i] += np.sin(angle)
      x[position, 2 * i + 1] += np.cos(angle)

  def norm(layer, x):
    centred = x - x.mean(axis=1, keepdims=True)
    x = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return x * layer['scale'] + layer['bias']

  def dense(layer, x):
    return x @ layer['kernel'] + layer['bias']

  for i in range(1, layers + 1):
    layer = params[f'attention{i}']
    attended = np.zeros_like(x) + layer['out']['bias']
    for h in range(num_heads):
      query, key, value = (
        x @ layer[name]['kernel'][:, h] + layer[name]['bias'][h]
        for name in ('query', 'key', 'value')
      )
      weights = np.exp(query @ key.T / np.sqrt(query.shape[1]))
      weights /= weights.sum(axis=1, keepdims=True)
      attended += weights @ value @ layer['out']['kernel'][h]
    x = norm(params[f'norm_attention{i}'], x + attended)
    hidden = np.maximum(dense(params[f'dense_in{i}'], x), 0)
    x = norm(
      params[f'norm_dense{i}'], x + dense(params[f'dense_out{i}'], hidden)
    )
  return x[0]


def _random(tree, seed):
  generator = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: jnp.asarray(generator.normal(size=x.shape), jnp.float32), tree
  )


def _float64(tree):
  return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def test_feature_contrast_equals_a_double_loop():
  z, targets = np.random.default_rng(0).normal(size=(2, 2, 7, 4))
  with jax.enable_x64(True):
    loss = all4one.feature_contrast(jnp.asarray(z), jnp.asarray(targets))
  np.testing.assert_allclose(loss, _feature_contrast(z, targets), rtol=1e-10)


def test_feature_contrast_has_the_closed_forms():
  independent = np.stack([np.eye(4), 3 * np.eye(4)])
  with jax.enable_x64(True):
    contrast = all4one.feature_contrast
    best = contrast(jnp.asarray(independent), jnp.asarray(independent))
    worst = contrast(-jnp.ones((2, 4, 3)), jnp.ones((2, 4, 3)))
    nothing = contrast(jnp.zeros((2, 4, 3)), jnp.ones((2, 4, 3)))
  np.testing.assert_allclose([best, worst, nothing], [0, 1.5, 0.5], atol=1e-12)


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_zero_identical_and_best_features_have_finite_gradients(value):
  same = jnp.full((2, 2, 3), value)
  best = jnp.stack([jnp.eye(2), jnp.eye(2)])
  for z in (same, best):
    grad = jax.grad(all4one.feature_contrast)(z, z)
    assert np.isfinite(grad).all()


def test_no_gradient_reaches_the_targets():
  z, targets = jnp.asarray(np.random.default_rng(3).normal(size=(2, 2, 5, 3)))
  assert not jax.grad(all4one.feature_contrast, argnums=1)(z, targets).any()
  assert jax.grad(all4one.feature_contrast)(z, targets).any()


def test_two_devices_equal_one_in_feature_contrast_and_gradient():
  both = np.random.default_rng(1).normal(size=(2, 2, 8, 3)).astype(np.float32)

  def split(x):
    return jnp.asarray(x).reshape(2, 2, 4, 3).transpose(1, 0, 2, 3)

  loss, grads = jax.pmap(
    jax.value_and_grad(
      functools.partial(all4one.feature_contrast, axis_name='d')
    ),
    axis_name='d',
  )(*map(split, both))
  expected, expected_grad = jax.value_and_grad(all4one.feature_contrast)(
    *map(jnp.asarray, both)
  )
  np.testing.assert_allclose(loss, [expected] * 2, rtol=1e-6)
  # Each device differentiates its own mean: the mean over devices has half.
  grads = grads.transpose(1, 0, 2, 3).reshape(2, 8, 3) / 2
  np.testing.assert_allclose(grads, expected_grad, atol=1e-6)


def test_centroid_equals_self_attention_head_by_head():
  transformer = heads.CentroidTransformer(layers=2, heads=2, dropout=0.0)
  sequence = np.random.default_rng(2).normal(size=(4, 6))
  with jax.enable_x64(True):
    params = transformer.init(jax.random.key(0), jnp.asarray(sequence))
    params = jax.tree.map(
      lambda x: jnp.asarray(x, jnp.float64), _random(params['params'], 3)
    )
    centroid = transformer.apply({'params': params}, jnp.asarray(sequence))
  expected = _transformer(_float64(params), sequence, layers=2, num_heads=2)
  np.testing.assert_allclose(centroid, expected, rtol=1e-6)


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


def _start(views, **overrides):
  """An objective with random parameters, other ones in its average."""
  fields = {
    'temperature': 0.3,
    'centroid_temperature': 0.7,
    'neighbours': 3,
    'projector_hidden': 8,
    'projector_out': 4,
    'predictor_hidden': 7,
    'queue_size': 12,
    'transformer_layers': 2,
    'transformer_heads': 2,
    'dropout': 0.0,
    'neighbour_weight': 0.5,
    'centroid_weight': 1.5,
    'feature_weight': 5.0,
  }
  config = all4one.Config(**fields | overrides)
  objective = all4one.make(
    config, encoder=_Mean(), axis_name=None, num_steps=10, batch_size=6
  )
  batch = {'views': {'global': jnp.asarray(views, jnp.float32)}}
  params, state = objective.init(jax.random.key(0), batch)
  # The transformer keeps its own: LayerNorm with a random shift makes all
  # centroids alike.
  params = _random(params, 5) | {'transformer': params['transformer']}
  state['ema_params'] = _random(state['ema_params'], 6)
  return objective, params, state, batch


def _run(objective, params, state, batch, rng=0):
  return objective.loss(
    params, state, batch, step=jnp.int32(0), rng=jax.random.key(rng)
  )


def test_every_term_compares_what_it_should():
  views = np.random.default_rng(4).normal(size=(2, 6, 4, 4, 3))
  objective, params, state, batch = _start(views)
  output = _run(objective, params, state, batch)

  online, ema = _float64(params), _float64(state['ema_params'])
  rows = np.asarray(state['queue']['rows'], np.float64)
  features = views.mean(axis=(2, 3))
  z, targets = (
    [_mlp(p['projector'], x, hidden=2, norm_last=True) for x in features]
    for p in (online, ema)
  )
  p = [_mlp(online['predictor'], x, hidden=1) for x in z]
  q = [_mlp(online['centroid_predictor'], x, hidden=1) for x in z]
  neighbours = [
    [
      np.stack(sorted(rows, key=lambda row, x=x: -_cosine(x, row))[:3])
      for x in view
    ]
    for view in targets
  ]
  attend = functools.partial(
    _transformer, online['transformer'], layers=2, num_heads=2
  )
  centroids = [[attend(n) for n in view] for view in neighbours]
  shifted = [
    [
      attend(np.concatenate([[a / np.linalg.norm(a)], n[:2]]))
      for a, n in zip(q[i], neighbours[i], strict=True)
    ]
    for i in range(2)
  ]
  nearest = [[n[0] for n in view] for view in neighbours]
  expected = {
    'neighbour_loss': _contrast(nearest, p, 0.3),
    'centroid_loss': _contrast(centroids, shifted, 0.7),
    'feature_loss': _feature_contrast(z, targets),
  }
  for name, value in expected.items():
    np.testing.assert_allclose(output.metrics[name], value, rtol=1e-4)
  neighbour, centroid, feature = expected.values()
  np.testing.assert_allclose(
    output.loss, 0.5 * neighbour + 1.5 * centroid + 5 * feature, rtol=1e-4
  )
  # The average's view of the first images replaces the oldest half.
  unit = targets[0] / np.linalg.norm(targets[0], axis=1, keepdims=True)
  queue = output.model_state['queue']
  np.testing.assert_allclose(queue['rows'][:6], unit, atol=1e-4)
  np.testing.assert_array_equal(queue['rows'][6:], state['queue']['rows'][6:])
  assert queue['at'] == 6


@pytest.mark.parametrize(
  ('term', 'trained'),
  [
    ('neighbour_weight', {'projector', 'predictor'}),
    ('centroid_weight', {'projector', 'centroid_predictor', 'transformer'}),
    ('feature_weight', {'projector'}),
  ],
)
def test_each_term_trains_its_branches(term, trained):
  views = np.random.default_rng(7).normal(size=(2, 6, 4, 4, 3))
  weights = dict.fromkeys(
    ('neighbour_weight', 'centroid_weight', 'feature_weight'), 0.0
  )
  objective, params, state, batch = _start(views, **weights | {term: 1.0})
  grads = jax.grad(lambda p: _run(objective, p, state, batch).loss)(params)
  moved = {
    name
    for name, branch in grads.items()
    if any(leaf.any() for leaf in jax.tree.leaves(branch))
  }
  assert moved == trained


def test_dropout_differs_between_rows_and_keys():
  views = np.random.default_rng(8).normal(size=(2, 6, 4, 4, 3))
  objective, params, _, _ = _start(views, dropout=0.5)
  sequences = jnp.ones((2, 3, 3, 4))

  def centroids(rng):
    return objective._centroids(
      params['transformer'], sequences, jax.random.key(rng)
    )

  first = np.asarray(centroids(0)).reshape(6, 4)
  assert len(np.unique(first.round(5), axis=0)) == 6
  np.testing.assert_array_equal(first, centroids(0).reshape(6, 4))
  assert not np.allclose(first, centroids(1).reshape(6, 4))


def test_average_has_no_predictors_and_moves_by_one_minus_decay():
  views = np.random.default_rng(9).normal(size=(2, 6, 4, 4, 3))
  objective, params, state, _ = _start(views, ema_decay=0.75)
  assert set(state['ema_params']) <= {'encoder', 'projector'}
  _, after = objective.after_update(None, params, state, jnp.int32(0))
  old, new, online = (
    np.asarray(tree['projector']['dense_last']['kernel'])
    for tree in (state['ema_params'], after['ema_params'], params)
  )
  np.testing.assert_allclose(new, 0.75 * old + 0.25 * online, rtol=1e-6)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'temperature': 0.0}, r'objective\.temperature is 0'),
    ({'centroid_temperature': -1.0}, r'objective\.centroid_temperature is -1'),
    ({'feature_weight': -1.0}, r'objective\.feature_weight is -1'),
    ({'neighbours': 513}, r'objective\.neighbours is 513; .* queue_size, 512'),
    ({'projector_out': 20}, r'projector_out is 20; .* transformer_heads, 8'),
    ({'transformer_heads': 0}, r'objective\.transformer_heads is 0; wanted 1'),
    ({'transformer_layers': 0}, r'objective\.transformer_layers is 0'),
    ({'dropout': 1.0}, r'objective\.dropout is 1'),
    ({'ema_decay': 2.0}, r'objective\.ema_decay is 2'),
  ],
)
def test_fields_out_of_range_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    all4one.Config(**fields)


def test_queue_that_batches_do_not_fill_is_refused():
  with pytest.raises(ValueError, match=r'queue_size is 512, batch_size 100'):
    all4one.make(
      all4one.Config(),
      encoder=_Mean(),
      axis_name=None,
      num_steps=10,
      batch_size=100,
    )
