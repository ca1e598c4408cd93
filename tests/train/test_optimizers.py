"""Optimisers: what they update, and what the papers exclude."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from radio_ssl.train import optimizers, schedules, trees

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
      'clip': False,
    }
  )
  # Eq. (6) of the paper: eta |w| / |g + wd w| times the decayed gradient.
  w, g = np.full(6, 2.0), np.full(6, 0.5 + 0.25 * 2.0)
  trust = 0.01 * np.linalg.norm(w) / np.linalg.norm(g)
  np.testing.assert_allclose(update['kernel'], -0.1 * trust * 1.0, rtol=1e-6)
  np.testing.assert_allclose(update['scale'], -0.1 * 0.5, rtol=1e-6)


@pytest.mark.parametrize('lr', [0.1, 2e-4, 0.0])
@pytest.mark.parametrize('steps', [1, 3])
def test_clipped_lars_is_no_faster_than_its_learning_rate(lr, steps):
  fields = {'weight_decay': 0.25, 'momentum': 0.9, 'trust_coefficient': 0.01}
  tx = optimizers.parse(
    {'name': 'lars', 'lr': lr, 'clip': True, **fields}
  ).make(lambda step: lr / (step + 1))
  params, state = _PARAMS, tx.init(_PARAMS)
  w, trace = np.full((2, 3), 2.0), 0
  scale, trace_scale = np.full(3, 2.0), 0
  for step in range(steps):
    updates, state = tx.update(_GRADS, state, params)
    params = optax.apply_updates(params, updates)
    now, u = lr / (step + 1), 0.5 + 0.25 * w
    local = 0.01 * np.linalg.norm(w) / np.linalg.norm(u)
    trace = 0.9 * trace + (min(local / now, 1) if now else 1) * u
    trace_scale = 0.9 * trace_scale + 0.5
    w, scale = w - now * trace, scale - now * trace_scale
  np.testing.assert_allclose(params['kernel'], w, rtol=1e-5)
  np.testing.assert_allclose(params['scale'], scale, rtol=1e-5)


def test_clipped_lars_moves_weights_of_zero_and_bears_no_gradient():
  tx = optimizers.Lars(lr=0.1, clip=True).make(lambda step: 0.1)
  params = {'a': jnp.zeros((2, 2)), 'b': jnp.ones((2, 2))}
  grads = {'a': jnp.ones((2, 2)), 'b': jnp.zeros((2, 2))}
  updates, _ = tx.update(grads, tx.init(params), params)
  np.testing.assert_allclose(updates['a'], -0.1, rtol=1e-6)
  assert np.isfinite(updates['b']).all()


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


_LR = optax.linear_schedule(0.0, 0.2, 4)
_TREE = {'encoder': _PARAMS, 'predictor': _PARAMS, 'transformer': _PARAMS}


def _config(name):
  return {'name': name, **_fields(name), 'lr': 0.2, 'weight_decay': 0.1}


def _branched(name, **branches):
  config = {'optimizer': _config(name), 'constant_lr': (), 'lr_factors': {}}
  return optimizers.make(config | branches, _LR, peak=0.2)


def _updates(tx, count, params=_TREE):
  """The last of `count` updates under different gradients, and the state."""
  state = tx.init(params)
  for i in range(count):
    grads = jax.tree.map(lambda x, i=i: jnp.cos(i + x), params)
    updates, state = tx.update(grads, state, params)
  return updates, state


def _alone(name, schedule, count):
  """The last update of one branch under an optimiser of its own."""
  tx = optimizers.parse(_config(name)).make(schedule)
  return _updates(tx, count, _PARAMS)[0]


def _assert_equal(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize('count', [1, 3, 6])
@pytest.mark.parametrize('name', optimizers.OPTIMIZERS)
def test_branches_have_the_update_of_an_optimizer_of_their_own(name, count):
  tx = _branched(
    name,
    constant_lr=('predictor',),
    lr_factors={'predictor': 2.0, 'transformer': 0.5},
  )
  updates, _ = _updates(tx, count)
  schedules_of = {
    'encoder': _LR,
    'predictor': lambda _: 0.4,
    'transformer': lambda step: 0.5 * _LR(step),
  }
  for branch, schedule in schedules_of.items():
    _assert_equal(updates[branch], _alone(name, schedule, count))
  # At step 0 of the warm-up only the constant branch moves.
  moves = {b: bool(np.any(u['kernel'])) for b, u in updates.items()}
  assert moves['predictor'] and moves['encoder'] == (count > 1)


@pytest.mark.parametrize('name', optimizers.OPTIMIZERS)
def test_without_such_branches_state_and_update_are_as_before(name):
  expected = _updates(optimizers.parse(_config(name)).make(_LR), 3)
  _assert_equal(_updates(_branched(name), 3), expected)


def test_state_of_branches_survives_a_checkpoint():
  tx = _branched('adamw', constant_lr=('predictor',))
  _, opt_state = _updates(tx, 3)
  tree = jax.tree.map(np.asarray, trees.to_tree(opt_state))
  _assert_equal(trees.from_tree(tx.init(_TREE), tree), opt_state)


def test_branch_that_parameters_lack_is_an_error():
  tx = _branched('sgd', constant_lr=('predictr',))
  with pytest.raises(ValueError, match=r"'predictr'; .* \['encoder', 'predi"):
    tx.init(_TREE)


@pytest.mark.parametrize('factor', [-1.0, None, float('nan')])
def test_factor_out_of_range_is_an_error(factor):
  with pytest.raises(ValueError, match=rf'lr_factors\.encoder is {factor}; '):
    _branched('sgd', lr_factors={'encoder': factor})


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


def test_half_cosine_at_its_ends_and_its_middle():
  schedule = schedules.half_cosine(0.04, 0.4, 10)
  for step, value in ((0, 0.04), (5, 0.22), (10, 0.4), (20, 0.4)):
    assert float(schedule(step)) == pytest.approx(value)


@pytest.mark.parametrize('name', optimizers.OPTIMIZERS)
def test_weight_decay_begins_where_its_schedule_does(name):
  config = {'name': name, **_fields(name), 'lr': 0.1, 'weight_decay': 7.0}
  optimizer = optimizers.parse(config)
  found, wanted = (
    tx.update(_GRADS, tx.init(_PARAMS), _PARAMS)[0]
    for tx in (
      optimizer.make(lambda step: 0.1, lambda step: 0.25 + step),
      optimizer.make(lambda step: 0.1, 0.25),
    )
  )
  jax.tree.map(np.testing.assert_allclose, found, wanted)


@pytest.mark.parametrize(
  'optimizer', [optimizers.Sgd(momentum=0.0), optimizers.AdamW()]
)
def test_weight_decay_follows_its_schedule(optimizer):
  tx = optimizer.make(lambda step: 0.1, lambda step: 0.25 + step)
  state, zero = tx.init(_PARAMS), jax.tree.map(jnp.zeros_like, _GRADS)
  for decay in (0.25, 1.25, 2.25):
    updates, state = tx.update(zero, state, _PARAMS)
    np.testing.assert_allclose(updates['kernel'], -0.1 * decay * 2, rtol=1e-6)
    np.testing.assert_allclose(updates['scale'], 0)
