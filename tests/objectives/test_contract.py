"""What every objective of the folder must hold, whoever wrote it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from radio_ssl.augment import masks
from radio_ssl.models import resnet, vit
from radio_ssl.objectives import base
from radio_ssl.train import state as train_state
from radio_ssl.train import step as train_step

_BATCH, _SIZE = 8, 16
# Where a method's defaults want a larger batch or a longer run than these, or
# compile long.
_FIELDS = {
  'all4one': {
    'projector_hidden': 64,
    'projector_out': 32,
    'predictor_hidden': 64,
    'transformer_layers': 1,
  },
  'barlow_twins': {'projector_hidden': 64, 'projector_out': 32},
  'dino': {
    'projector_hidden': 64,
    'projector_out': 32,
    'num_prototypes': 16,
    'freeze_prototypes_epochs': 0,
    'local_views': 2,
    'ema_decay': 0.9,
  },
  'mae': {'decoder_width': 32, 'decoder_depth': 1},
  'moco_v2': {'queue_size': 32, 'ema_decay': 0.9},
  'moco_v3': {
    'projector_hidden': 64,
    'projector_out': 32,
    'predictor_hidden': 64,
  },
  'simsiam': {
    'projector_hidden': 64,
    'projector_out': 32,
    'predictor_hidden': 8,
  },
  'swav': {
    'projector_hidden': 64,
    'projector_out': 32,
    'num_prototypes': 16,
    'freeze_prototypes_epochs': 0,
    'local_views': 2,
    'queue_size': 16,
    'queue_start_epoch': 0,
  },
  'vicreg': {'projector_hidden': 64, 'projector_out': 32},
  'wmse': {'projector_out': 3, 'whitening_size': 8},
}

# Steps before the loss must fall: the random rows that a queue of negatives
# starts with are easier to tell from keys than keys are.
_FIRST_STEPS = {'moco_v2': 2}


def _resnet(axis_name):
  return resnet.ResNet(
    blocks=(1, 1),
    bottleneck=False,
    features=8,
    stem='small',
    zero_init_last=False,
    dtype=jnp.float32,
    axis_name=axis_name,
  )


def _vit():
  return vit.ViT(
    depth=2,
    features=16,
    heads=2,
    patch_size=4,
    base_size_pix=16,
    registers=1,
    pool='class',
    dtype=jnp.float32,
  )


def _objective(name: str, axis_name, encoder):
  method = base.module(name)
  if encoder is None:
    needs_patches = base.needs_patches(method)
    encoder = _vit() if needs_patches else _resnet(axis_name)
  return method.make(
    method.Config(**_FIELDS.get(name, {})),
    encoder=encoder,
    axis_name=axis_name,
    num_steps=100,
    steps_per_epoch=10,
    num_examples=10 * _BATCH,
    batch_size=_BATCH,
  )


def _views(objective, batch, rng):
  """Noisy copies of the image; a key per example, as in training."""

  def noisy(image, row, view):
    key = jax.random.fold_in(jax.random.fold_in(rng, row), view)
    return image + 0.1 * jax.random.normal(key, image.shape)

  return {
    group: jnp.stack(
      [
        jax.vmap(functools.partial(noisy, view=view))(
          batch['image'], batch['row']
        )
        for view in range(count)
      ]
    )
    for group, count in objective.views.items()
  }


def _batch(seed=0):
  images = np.random.default_rng(seed).normal(size=(_BATCH, _SIZE, _SIZE, 1))
  return {
    'image': images.astype(np.float32),
    'row': np.arange(_BATCH, dtype=np.int32),
    'index': np.arange(_BATCH, dtype=np.int32),
    'label': np.arange(_BATCH, dtype=np.int32) % 2,
  }


def _start(name, axis_name, encoder=None):
  """An objective, its step and the function from a key to its first state."""
  objective = _objective(name, axis_name, encoder)
  schedule = optax.constant_schedule(0.05)
  tx = optax.sgd(schedule, momentum=0.9)
  step = train_step.make_train_step(
    objective,
    functools.partial(_views, objective),
    tx,
    schedules={'lr': schedule},
    logged=lambda step: (step == 1) | (step % 2 == 0),
    axis_name=axis_name,
  )

  @jax.jit
  def create(rng):
    batch = _batch()
    views = _views(objective, batch, rng)
    return train_state.create(objective, tx, rng, {'views': views, **batch})

  return objective, step, create


# All methods together take minutes; these are left to the slow tests. A new one
# is not among them.
_SLOW = (
  'all4one barlow_twins moco_v2 moco_v3 nnclr simsiam supcon vicreg wmse'
).split()


@pytest.fixture(
  params=[
    pytest.param(name, marks=pytest.mark.slow if name in _SLOW else ())
    for name in base.available()
  ],
  scope='module',
)
def name(request):
  """Each method's programs are dropped before the next one's are compiled."""
  yield request.param
  jax.clear_caches()


@pytest.fixture(scope='module')
def one_device(name):
  objective, step, create = _start(name, None)
  return objective, jax.jit(step), create(jax.random.key(0))


@pytest.fixture(scope='module')
def two_devices(name):
  _, step, create = _start(name, train_step.AXIS)
  step, place = train_step.data_parallel(step, jax.local_devices()[:2])
  return step, place(create(jax.random.key(0)))


def _host(tree):
  return jax.tree.map(
    lambda x: np.asarray(
      jax.random.key_data(x)
      if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
      else x
    ),
    tree,
  )


def _assert_close(actual, expected, **tolerance):
  pairs = zip(
    jax.tree.leaves_with_path(actual),
    jax.tree.leaves(expected),
    strict=True,
  )
  for (path, a), b in pairs:
    np.testing.assert_allclose(
      a, b, err_msg=jax.tree_util.keystr(path), **tolerance
    )


def test_two_devices_match_one(one_device, two_devices):
  _, step, state = one_device
  mapped_step, mapped_state = two_devices
  # The state is donated: work on a copy. One step: more of them amplify the
  # rounding that the two orders of summation differ by.
  mapped_state = jax.tree.map(jnp.copy, mapped_state)
  state, metrics = step(state, _batch())
  mapped_state, mapped_metrics = mapped_step(mapped_state, _batch())
  _assert_close(mapped_metrics, metrics, rtol=1e-4, atol=1e-6)
  _assert_close(
    _host(mapped_state.params), _host(state.params), rtol=1e-4, atol=1e-5
  )
  _assert_close(
    _host(mapped_state.model_state),
    _host(state.model_state),
    rtol=1e-4,
    atol=1e-5,
  )


def test_state_is_bit_equal_on_every_device(two_devices):
  step, state = two_devices
  state, _ = step(jax.tree.map(jnp.copy, state), _batch())
  for path, leaf in jax.tree.leaves_with_path(state.replace(rng=None)):
    copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
    assert len(copies) == 2
    for copy in copies[1:]:
      np.testing.assert_array_equal(
        copy, copies[0], err_msg=jax.tree_util.keystr(path)
      )


def test_loss_falls_on_a_repeated_batch(name, one_device):
  _, step, state = one_device
  first, losses = _FIRST_STEPS.get(name, 0), []
  for _ in range(first + 20):
    state, metrics = step(state, _batch())
    losses.append(float(metrics['loss']))
  losses = losses[first:]
  assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
  assert int(state.step) == first + 20
  assert int(state.first_nonfinite_step) == -1


def test_collapse_monitors_come_when_due(one_device):
  _, step, state = one_device
  ranks = []
  for _ in range(4):
    state, metrics = step(state, _batch())
    ranks.append(float(metrics['effective_rank']))
  assert np.isfinite(ranks).tolist() == [True, True, False, True]
  assert all(1 <= r <= _BATCH * 2 for r in ranks if np.isfinite(r))


def test_blank_images_give_no_nan(one_device):
  objective, _, state = one_device
  views = {
    group: jnp.zeros((count, _BATCH, _SIZE, _SIZE, 1))
    for group, count in objective.views.items()
  }
  hidden = masks.make(
    getattr(objective, 'masks', {}), views, jax.random.key(2), _batch()['row']
  )

  @jax.jit
  def gradient(params):
    def loss(params):
      return objective.loss(
        params,
        state.model_state,
        {'views': views, 'masks': hidden, **_batch()},
        step=jnp.int32(0),
        rng=jax.random.key(1),
      ).loss

    return jax.value_and_grad(loss)(params)

  for leaf in jax.tree.leaves(gradient(state.params)):
    assert np.isfinite(leaf).all()


def test_first_nonfinite_step_is_kept(one_device):
  _, step, state = one_device
  state, _ = step(state, _batch())
  bad = _batch() | {'image': np.full_like(_batch()['image'], np.nan)}
  for _ in range(2):
    state, metrics = step(state, bad)
  assert int(metrics['first_nonfinite_step']) == 2


def test_moving_averages_are_copies_and_move(name):
  _, step, create = _start(name, None)
  state = create(jax.random.key(0))
  if 'ema_params' not in state.model_state:
    return
  buffers = {x.unsafe_buffer_pointer() for x in jax.tree.leaves(state.params)}
  for leaf in jax.tree.leaves(state.model_state['ema_params']):
    assert leaf.unsafe_buffer_pointer() not in buffers
  before = _host(state.model_state['ema_params'])
  state, _ = jax.jit(step, donate_argnums=0)(state, _batch())
  moved = [
    not np.array_equal(a, b)
    for a, b in zip(
      jax.tree.leaves(before),
      jax.tree.leaves(_host(state.model_state['ema_params'])),
      strict=True,
    )
  ]
  assert all(moved)


def test_encoder_variables_run_the_encoder(one_device):
  objective, _, state = one_device
  variables = base.encoder_variables(state.params, state.model_state)
  encoder = objective.network.encoder
  features = encoder.apply(variables, _batch()['image'], train=False)
  assert np.isfinite(features.pooled).all()
  assert features.pooled.shape == (_BATCH, 16)


def test_encoder_without_batch_statistics_is_taken(name):
  _, step, create = _start(name, None, _vit())
  # Shapes alone: nothing is compiled.
  state = jax.eval_shape(create, jax.random.key(0))
  after, _ = jax.eval_shape(step, state, _batch())
  assert jax.tree.structure(after) == jax.tree.structure(state)
  variables = base.encoder_variables(after.params, after.model_state)
  assert not variables['batch_stats']


@pytest.mark.parametrize('method', ['byol', 'simclr'])
def test_vit_learns(method):
  _, step, create = _start(method, None, _vit())
  step, state = jax.jit(step), create(jax.random.key(0))
  losses = []
  for _ in range(20):
    state, metrics = step(state, _batch())
    losses.append(float(metrics['loss']))
  assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
  assert int(state.first_nonfinite_step) == -1


def test_encoder_without_patches_is_refused_where_they_are_needed():
  fields = base.module('mae').Config()
  with pytest.raises(ValueError, match=r"'mae', which needs .* a ResNet\."):
    base.make({'name': 'mae', **vars(fields)}, encoder=_resnet(None))


def test_unknown_objective_lists_what_there_is():
  with pytest.raises(ValueError, match=r"'simclrr'; there are: .*simclr"):
    base.make({'name': 'simclrr'})


def test_overriding_the_name_alone_is_refused_with_a_hint():
  fields = {'name': 'byol', 'temperature': 0.2}
  with pytest.raises(ValueError, match=r"base\.objective\('byol'\)"):
    base.parse(fields)


def test_none_is_refused_where_a_value_is_needed():
  fields = {'projector_hidden': 8, 'projector_out': 4, 'temperature': None}
  with pytest.raises(ValueError, match=r'objective\.temperature is None'):
    base.parse({'name': 'simclr', **fields})


def test_no_moving_average_to_evaluate_is_an_error():
  with pytest.raises(ValueError, match=r"No 'ema' encoder"):
    base.encoder_variables({'encoder': {}}, {'batch_stats': {}}, 'ema')
