"""One training step, and how it is spread over the devices."""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from radio_ssl.augment import masks
from radio_ssl.objectives import base
from radio_ssl.train import monitors
from radio_ssl.train import state as train_state

AXIS = 'devices'


def make_train_step(
  objective: base.Objective,
  make_views: Callable,
  tx: optax.GradientTransformation,
  *,
  schedules: Mapping[str, optax.Schedule],
  logged: Callable[[jax.Array], jax.Array],
  axis_name: str | None,
) -> Callable:
  """Returns step(state, batch) -> (state, metrics).

  Args:
    objective: the method.
    make_views: (batch, rng) -> {group: [V, B, H, W, C]}, keyed per example.
    tx: the optimiser.
    schedules: those inside `tx`, logged by name: 'lr', 'weight_decay'.
    logged: whether a step is; at the others the collapse monitors, which need
      the whole batch, are NaN.
    axis_name: the mapped axis, or None on one device.
  """
  mean = functools.partial(_mean_over, axis_name)

  def train_step(state: train_state.TrainState, batch: Mapping):
    rng_views, rng_loss = jax.random.split(
      jax.random.fold_in(state.rng, state.step)
    )
    views = make_views(batch, rng_views)
    inputs = _inputs(objective, batch, views, jax.random.fold_in(rng_loss, 1))

    def loss_fn(params):
      output = objective.loss(
        params, state.model_state, inputs, step=state.step, rng=rng_loss
      )
      return output.loss, output

    grads, output = jax.grad(loss_fn, has_aux=True)(state.params)
    grads = mean(grads)
    params, model_state, opt_state = _update(
      objective, tx, state, grads, output.model_state
    )
    step = state.step + 1
    metrics = mean({'loss': output.loss, **output.metrics})
    metrics |= {
      **{k: jnp.float32(of(state.step)) for k, of in schedules.items()},
      'gradient_norm': optax.tree.norm(grads),
      'first_nonfinite_step': _first_nonfinite(
        state.first_nonfinite_step, step, (metrics['loss'], params)
      ),
    }
    features = base.gather_rows(output.features, axis_name)
    metrics |= _monitors(features, logged(step))
    return state.replace(
      step=step,
      params=params,
      model_state=model_state,
      opt_state=opt_state,
      first_nonfinite_step=metrics['first_nonfinite_step'],
    ), metrics

  return train_step


def _inputs(objective, batch: Mapping, views: Mapping, rng) -> dict:
  """What a method's loss is given of a batch."""
  inputs = {k: batch[k] for k in ('index', 'row', 'label') if k in batch}
  declared = getattr(objective, 'masks', {})
  made = masks.make(declared, views, rng, batch['row'])
  return inputs | {'views': views, 'masks': made}


def _mean_over(axis_name: str | None, tree):
  return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def _update(objective, tx, state: train_state.TrainState, grads, model_state):
  """(params, model_state, opt_state) after the optimiser and the method."""
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  return *objective.after_update(
    state.params, params, model_state, state.step
  ), opt_state


def _first_nonfinite(before: jax.Array, step: jax.Array, tree) -> jax.Array:
  """The first step after which some value of `tree` was not finite, or -1."""
  bad = (before < 0) & ~jnp.isfinite(optax.tree.norm(tree))
  return jnp.where(bad, step, before)


def _monitors(features: jax.Array, due: jax.Array) -> dict[str, jax.Array]:
  shapes = jax.eval_shape(monitors.collapse, features)
  return jax.lax.cond(
    due,
    monitors.collapse,
    lambda _: jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan), shapes),
    features,
  )


def data_parallel(train_step: Callable, devices: Sequence) -> tuple:
  """Maps a step over devices.

  The state stays one logical tree: no leading device axis, no replication by
  hand. Across processes the mapped axis holds the devices of all of them.

  Args:
    train_step: from `make_train_step` with axis_name=AXIS.
    devices: this process's devices.

  Returns:
    step: (state, batch of this process [B', ...]) -> (state, metrics), the
      state is donated; and place: puts a state where the step wants it.
  """
  mapped = jax.pmap(
    train_step,
    axis_name=AXIS,
    in_axes=(None, 0),
    out_axes=(None, None),
    devices=devices if jax.process_count() == 1 else None,
    donate_argnums=(0,),
  )
  mesh = jax.sharding.Mesh(np.asarray(devices), (AXIS,))
  sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

  def split_rows(array):
    return array.reshape(len(devices), -1, *array.shape[1:])

  def step(state, batch):
    return mapped(state, jax.tree.map(split_rows, batch))

  def place(state):
    # Without it the first call donates an array that is then deleted, and
    # compiles a second time.
    return jax.device_put(state, sharding)

  return step, place
