"""MoCo v3 against loops over algorithm 1 of arXiv:2104.02057."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from configs import moco_v3_first
from radio_ssl.models import base as base_model
from radio_ssl.models import vit
from radio_ssl.objectives import moco_v3
from radio_ssl.train import optimizers


def _cosine(a, b):
  return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def _ctr(q, k, temperature: float) -> float:
  """`ctr` of algorithm 1: row i of q must find row i of k."""
  terms = []
  for i in range(len(q)):
    e = [np.exp(_cosine(q[i], k[j]) / temperature) for j in range(len(k))]
    terms.append(-np.log(e[i] / sum(e)))
  return 2 * temperature * np.mean(terms)


def _by_the_paper(p, keys, temperature):
  return _ctr(p[0], keys[1], temperature) + _ctr(p[1], keys[0], temperature)


@pytest.mark.parametrize('temperature', [0.2, 1.0])
def test_loss_equals_the_papers_algorithm(temperature):
  p, keys = np.random.default_rng(0).normal(size=(2, 2, 6, 5))
  with jax.enable_x64(True):
    loss, found = moco_v3.symmetric_contrast(
      jnp.asarray(p), jnp.asarray(keys), temperature=temperature
    )
  np.testing.assert_allclose(
    loss, _by_the_paper(p, keys, temperature), rtol=1e-10
  )
  assert 0 <= found <= 1


def test_orthogonal_pairs_have_the_closed_form():
  n, temperature = 4, 0.5
  keys = np.stack([np.eye(n), 2 * np.roll(np.eye(n), 1, axis=0)])
  with jax.enable_x64(True):
    loss, found = moco_v3.symmetric_contrast(
      jnp.asarray(3 * keys[::-1]), jnp.asarray(keys), temperature=temperature
    )
  own = np.exp(1 / temperature)
  expected = -4 * temperature * np.log(own / (own + n - 1))
  np.testing.assert_allclose(loss, expected, rtol=1e-12)
  assert found == 1


def test_two_devices_equal_one_in_loss_and_gradient():
  both = np.random.default_rng(3).normal(size=(2, 2, 8, 5)).astype(np.float32)

  def loss(p, keys, axis_name=None):
    return moco_v3.symmetric_contrast(
      p, keys, temperature=0.2, axis_name=axis_name
    )[0]

  def mapped(p, keys):
    value, grad = jax.value_and_grad(loss)(p, keys, 'd')
    return jax.lax.pmean(value, 'd'), grad

  def split(x):
    return jnp.asarray(x).reshape(2, 2, 4, 5).transpose(1, 0, 2, 3)

  values, grads = jax.pmap(mapped, axis_name='d')(*map(split, both))
  expected, expected_grad = jax.value_and_grad(loss)(*map(jnp.asarray, both))
  np.testing.assert_allclose(values, [expected] * 2, rtol=1e-6)
  # Each device differentiates its own mean: the mean over devices has half.
  grads = grads.transpose(1, 0, 2, 3).reshape(2, 8, 5) / 2
  np.testing.assert_allclose(grads, expected_grad, atol=1e-6)


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_identical_and_zero_rows_have_finite_gradients(value):
  rows = jnp.full((2, 2, 3), value)
  loss, grads = jax.value_and_grad(
    lambda *x: moco_v3.symmetric_contrast(*x, temperature=0.1)[0], (0, 1)
  )(rows, rows)
  np.testing.assert_allclose(loss, 0.4 * np.log(2), rtol=1e-6)
  assert all(np.isfinite(grad).all() for grad in grads)


def test_no_gradient_flows_into_the_keys():
  p, keys = np.random.default_rng(1).normal(size=(2, 2, 4, 3))
  grads = jax.grad(
    lambda *x: moco_v3.symmetric_contrast(*x, temperature=0.2)[0], (0, 1)
  )(jnp.asarray(p), jnp.asarray(keys))
  assert grads[0].any()
  assert not grads[1].any()


class _Mean(nn.Module):
  """Features are the mean colour: nothing to train, nothing to get wrong."""

  @nn.compact
  def __call__(self, images, *, train):
    return base_model.Features(images.mean(axis=(1, 2)), None)


def _make(encoder=None, **fields):
  settings = {'projector_hidden': 8, 'projector_out': 5, 'predictor_hidden': 7}
  return moco_v3.make(
    moco_v3.Config(**settings | fields),
    encoder=encoder or _Mean(),
    axis_name=None,
    num_steps=100,
  )


def _random(tree, seed):
  generator = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: jnp.asarray(generator.normal(size=x.shape), jnp.float32), tree
  )


def _head(params, x, *, hidden):
  """Dense, BatchNorm, ReLU, ..., dense, BatchNorm; no bias but BatchNorm's."""

  def norm(x):
    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)

  names = [f'dense{i}' for i in range(1, hidden + 1)]
  norms = [f'norm{i}' for i in range(1, hidden + 1)]
  # The last BatchNorm has neither scale nor shift.
  assert set(params) == {*names, *norms, 'dense_last'}
  assert all(set(params[name]) == {'kernel'} for name in [*names, 'dense_last'])
  for dense, after in zip(names, norms, strict=True):
    x = norm(x @ params[dense]['kernel'])
    x = np.maximum(x * params[after]['scale'] + params[after]['bias'], 0)
  return norm(x @ params['dense_last']['kernel'])


def test_online_predictions_seek_averaged_keys_of_the_other_view():
  views = np.random.default_rng(4).normal(size=(2, 6, 4, 4, 3))
  objective = _make(temperature=0.3)
  batch = {'views': {'global': jnp.asarray(views, jnp.float32)}}
  params, state = objective.init(jax.random.key(0), batch)
  assert set(state['ema_params']) == {'projector'}
  params = _random(params, 1)
  state['ema_params'] = _random(state['ema_params'], 2)
  output = objective.loss(
    params, state, batch, step=jnp.int32(50), rng=jax.random.key(0)
  )
  online, average = (
    jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
    for tree in (params, state['ema_params'])
  )
  features = views.mean(axis=(2, 3))
  z = [_head(online['projector'], x, hidden=2) for x in features]
  p = [_head(online['predictor'], x, hidden=1) for x in z]
  keys = [_head(average['projector'], x, hidden=2) for x in features]
  np.testing.assert_allclose(
    output.loss, _by_the_paper(p, keys, 0.3), rtol=1e-4
  )
  np.testing.assert_allclose(output.metrics['ema_decay'], 0.995, rtol=1e-6)
  # Running statistics are of the forward of each network.
  stats = output.model_state
  first = 'projector', 'norm1', 'mean'
  for tree, name in ((online, 'batch_stats'), (average, 'ema_batch_stats')):
    kernel = tree['projector']['dense1']['kernel']
    means = [(x @ kernel).mean(axis=0) for x in features]
    found = stats[name][first[0]][first[1]][first[2]]
    np.testing.assert_allclose(
      found, 0.09 * means[0] + 0.1 * means[1], atol=1e-5
    )


@pytest.mark.parametrize(
  ('step', 'decay'), [(0, 0.99), (50, 0.995), (100, 1.0), (200, 1.0)]
)
def test_average_moves_by_a_decay_that_rises_on_a_half_cosine(step, decay):
  old = {'encoder': jnp.zeros(2), 'projector': jnp.ones(2)}
  new = {k: jnp.full(2, 5.0) for k in (*old, 'predictor')}
  params, state = _make().after_update(
    None, new, {'ema_params': old}, jnp.int32(step)
  )
  assert params is new
  assert set(state['ema_params']) == {'encoder', 'projector'}
  np.testing.assert_allclose(
    state['ema_params']['encoder'], 5 * (1 - decay), rtol=1e-4, atol=1e-6
  )


def _vit():
  return vit.ViT(
    depth=1,
    features=8,
    heads=2,
    patch_size=4,
    base_size_pix=8,
    registers=1,
    pool='class',
    dtype=jnp.float32,
  )


@pytest.mark.parametrize('frozen', [False, True])
def test_patch_embedding_stays_random_where_it_is_frozen(frozen):
  objective = _make(_vit(), freeze_patch_embedding=frozen, ema_decay=0.5)
  views = np.random.default_rng(5).normal(size=(2, 6, 8, 8, 1))
  batch = {'views': {'global': jnp.asarray(views, jnp.float32)}}
  params, state = objective.init(jax.random.key(0), batch)
  state['ema_params'] = jax.tree.map(jnp.copy, params)
  optimizer = optimizers.kind('adamw')(lr=0.1, weight_decay=0.1)
  tx = optimizer.make(optax.constant_schedule(0.1))

  @jax.jit
  def update(params, state, opt_state, step):
    def loss(params):
      return objective.loss(
        params, state, batch, step=step, rng=jax.random.key(0)
      ).loss

    updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
    new = optax.apply_updates(params, updates)
    return *objective.after_update(params, new, state, step), opt_state

  first, opt_state = params, tx.init(params)
  for step in range(2):
    params, state, opt_state = update(params, state, opt_state, step)

  def same(a, b, *path):
    for name in path:
      a, b = a[name], b[name]
    return np.array_equal(a, b)

  for tree in (params, state['ema_params']):
    for leaf in ('kernel', 'bias'):
      assert same(tree, first, 'encoder', 'patches', leaf) == frozen
    # The rest learnt all the while.
    assert not same(tree, first, 'encoder', 'position')
    assert not same(tree, first, 'projector', 'dense1', 'kernel')


def test_patches_that_are_not_there_cannot_be_frozen():
  with pytest.raises(ValueError, match=r'freeze_patch_embedding .* a _Mean,'):
    _make(freeze_patch_embedding=True)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'temperature': 0}, r'objective\.temperature is 0; wanted > 0'),
    ({'ema_decay': -1}, r'objective\.ema_decay is -1; wanted a value in'),
  ],
)
def test_fields_that_make_no_sense_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    moco_v3.Config(**fields)


def test_config_freezes_patches_of_a_vit_alone():
  config = moco_v3_first.get_config()
  assert config.encoder.name == 'resnet18'
  assert not config.objective.freeze_patch_embedding
  config = moco_v3_first.get_config('vit')
  assert config.encoder.name == 'vit_tiny'
  assert config.objective.freeze_patch_embedding
