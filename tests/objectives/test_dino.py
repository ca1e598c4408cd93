"""DINO against the paper's equations, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from radio_ssl.models import base as base_model
from radio_ssl.models import vit
from radio_ssl.objectives import _assign, dino


def _softmax(x):
  e = np.exp(x - x.max())
  return e / e.sum()


def _loss(taught, outputs, center, teacher, student):
  """Eqs. (1) and (3) of arXiv:2104.14294, pair by pair and row by row."""
  terms = []
  for x in range(len(taught)):
    for other in range(len(outputs)):
      if other == x:
        continue
      for row in range(taught.shape[1]):
        wanted = _softmax((taught[x, row] - center) / teacher)
        found = _softmax(outputs[other, row] / student)
        terms.append(-np.sum(wanted * np.log(found)))
  return np.mean(terms)


@pytest.mark.parametrize('num_local', [0, 3])
def test_loss_equals_equation_3(num_local):
  rng = np.random.default_rng(0)
  taught = rng.normal(size=(2, 5, 7))
  outputs = rng.normal(size=(2 + num_local, 5, 7))
  center = rng.normal(size=7)
  with jax.enable_x64(True):
    target = dino.targets(jnp.asarray(taught), jnp.asarray(center), 0.05)
    found = _assign.cross_entropy(target, jnp.asarray(outputs), 0.1)
  wanted = _loss(taught, outputs, center, 0.05, 0.1)
  np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_equal_outputs_have_the_entropy_of_a_uniform_choice():
  outputs = jnp.ones((4, 3, 11))
  target = dino.targets(outputs[:2], jnp.zeros(11), 0.04)
  np.testing.assert_allclose(
    _assign.cross_entropy(target, outputs, 0.1), np.log(11), rtol=1e-6
  )
  np.testing.assert_allclose(_assign.entropy(target), np.log(11), rtol=1e-6)
  certain = jnp.eye(3)
  np.testing.assert_allclose(_assign.entropy(certain), 0, atol=1e-7)


def test_no_view_is_its_own_target():
  target = jnp.zeros((2, 1, 2)).at[0, 0, 0].set(1).at[1, 0, 1].set(1)
  # Each global view says what its own target wants, and is wrong every time.
  outputs = jnp.asarray([[[9.0, 0.0]], [[0.0, 9.0]]])
  wanted = np.log(1 + np.exp(9.0))
  found = _assign.cross_entropy(target, outputs, 1.0)
  np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_no_gradient_reaches_the_targets():
  rng = np.random.default_rng(1)
  taught, outputs = jnp.asarray(rng.normal(size=(2, 2, 3, 4)), jnp.float32)

  def loss(taught, outputs):
    target = dino.targets(taught, jnp.zeros(4), 0.05)
    return _assign.cross_entropy(target, outputs, 0.1)

  of_targets, of_outputs = jax.grad(loss, (0, 1))(taught, outputs)
  assert not of_targets.any()
  assert of_outputs.any()


@pytest.mark.parametrize('value', [0.0, 1e4])
def test_gradients_are_finite(value):
  outputs = jnp.full((2, 2, 5), value)
  target = dino.targets(outputs, jnp.zeros(5), 0.04)
  grads = jax.grad(lambda o: _assign.cross_entropy(target, o, 0.1))(outputs)
  assert np.isfinite(grads).all()


class Stub(nn.Module):
  """The mean of an image and its square: two features, one weight."""

  @nn.compact
  def __call__(self, images, *, train):
    scale = self.param('scale', nn.initializers.constant(1.5), ())
    mean = images.mean(axis=(1, 2))
    return base_model.Features(
      scale * jnp.concatenate([mean, mean**2], 1), None
    )


def _make(encoder=None, **fields):
  settings = {
    'projector_hidden': 6,
    'projector_out': 4,
    'num_prototypes': 5,
    'teacher_warmup_epochs': 4,
    'ema_decay': 0.9,
  }
  return dino.make(
    dino.Config(**(settings | fields)),
    encoder=encoder or Stub(),
    axis_name=None,
    num_steps=100,
    steps_per_epoch=10,
    num_examples=0,
    batch_size=8,
  )


def _batch(num_local, seed=0):
  rng = np.random.default_rng(seed)
  views = {'global': rng.normal(1, 1, (2, 8, 6, 6, 1)).astype(np.float32)}
  if num_local:
    local = rng.normal(1, 1, (num_local, 8, 3, 3, 1))
    views['local'] = local.astype(np.float32)
  return {'views': jax.tree.map(jnp.asarray, views)}


@pytest.mark.parametrize('num_local', [0, 2])
def test_whole_loss_is_that_of_numpy(num_local):
  objective = _make(local_views=num_local)
  batch = _batch(num_local)
  params, state = objective.init(jax.random.key(0), batch)
  # The average is another network, and the centre is not 0.
  state['ema_params'] = jax.tree.map(lambda x: 0.7 * x, state['ema_params'])
  state['center'] = jnp.linspace(-0.2, 0.2, 5)
  out = objective.loss(
    params, state, batch, step=jnp.int32(20), rng=jax.random.key(1)
  )

  def outputs(tree, images):
    tree = jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
    x = images.reshape(-1, *images.shape[2:]).mean(axis=(1, 2))
    x = tree['encoder']['scale'] * np.concatenate([x, x**2], axis=1)
    head = tree['projector']
    for i in (1, 2):
      x = x @ head[f'dense{i}']['kernel'] + head[f'dense{i}']['bias']
      x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
      x = x * head[f'norm{i}']['scale'] + head[f'norm{i}']['bias']
      x = np.maximum(x, 0)
    x = x @ head['dense_last']['kernel'] + head['dense_last']['bias']
    # Rows of which the ReLUs leave nothing stay 0.
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    kernel = tree['prototypes']['kernel']
    x = x @ (kernel / np.linalg.norm(kernel, axis=0))
    return x.reshape(*images.shape[:2], -1)

  views = {k: np.asarray(v, np.float64) for k, v in batch['views'].items()}
  mine = np.concatenate([outputs(params, v) for v in views.values()])
  taught = outputs(state['ema_params'], views['global'])
  # Half way from 0.04 to 0.07.
  center = np.linspace(-0.2, 0.2, 5)
  wanted = _loss(taught, mine, center, 0.055, 0.1)
  np.testing.assert_allclose(out.loss, wanted, rtol=1e-4)
  np.testing.assert_allclose(out.metrics['teacher_temperature'], 0.055)
  np.testing.assert_allclose(
    out.model_state['center'],
    0.9 * center + 0.1 * taught.mean(axis=(0, 1)),
    atol=1e-6,
  )
  assert out.features.shape == (16, 2)


def test_vit_learns_from_local_views_of_another_size():
  encoder = vit.ViT(
    depth=1,
    features=8,
    heads=2,
    patch_size=1,
    base_size_pix=6,
    registers=1,
    pool='class',
    dtype=jnp.float32,
  )
  objective, batch = _make(encoder, local_views=2), _batch(2)
  params, state = objective.init(jax.random.key(0), batch)

  @jax.jit
  def gradient(batch):
    def loss(params):
      return objective.loss(
        params, state, batch, step=jnp.int32(0), rng=jax.random.key(1)
      ).loss

    return jax.value_and_grad(loss)(params)

  loss, grads = gradient(batch)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
  assert np.abs(grads['encoder']['position']).min(axis=1).all()
  batch['views']['local'] = 2 * batch['views']['local']
  assert gradient(batch)[0] != loss


@pytest.mark.parametrize(
  ('step', 'temperature'), [(0, 0.04), (20, 0.055), (40, 0.07), (99, 0.07)]
)
def test_temperature_rises_linearly(step, temperature):
  found = _make().temperature_schedule(jnp.int32(step))
  np.testing.assert_allclose(found, temperature, rtol=1e-6)
  constant = _make(teacher_warmup_epochs=0)
  np.testing.assert_allclose(constant.temperature_schedule(step), 0.07)


def test_prototypes_stay_for_an_epoch_and_the_average_follows():
  objective = _make()
  params, state = objective.init(jax.random.key(0), _batch(0))
  new = jax.tree.map(lambda x: x + 1, params)
  for step, moved in ((9, 0.0), (10, 1.0)):
    kept, after = objective.after_update(params, new, state, jnp.int32(step))
    difference = kept['prototypes']['kernel'] - params['prototypes']['kernel']
    np.testing.assert_allclose(difference, moved, atol=1e-6)
    decay = objective.ema_schedule(step)
    for branch, share in (('encoder', 1.0), ('prototypes', moved)):
      expected = jax.tree.map(
        lambda x, s=share, d=decay: x + (1 - d) * s, params[branch]
      )
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        after['ema_params'][branch],
        expected,
      )


def test_prototypes_have_unit_length_whatever_their_kernel():
  prototypes = dino.Prototypes(6)
  z = jax.random.normal(jax.random.key(0), (3, 4))
  variables = prototypes.init(jax.random.key(1), z)
  found = prototypes.apply(variables, z)
  scaled = jax.tree.map(lambda x: 7 * x, variables)
  np.testing.assert_allclose(prototypes.apply(scaled, z), found, rtol=1e-5)
  assert np.abs(found).max() <= 1 + 1e-6


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'student_temperature': 0.0}, 'student_temperature is 0.0; wanted > 0'),
    ({'num_prototypes': 1}, 'num_prototypes is 1; wanted 2'),
    ({'local_views': -1}, 'local_views is -1'),
    ({'center_decay': 1.5}, 'center_decay is 1.5'),
    ({'ema_decay': -0.5}, 'ema_decay is -0.5'),
  ],
)
def test_fields_that_make_no_sense_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    dino.Config(**fields)
