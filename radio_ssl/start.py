"""The first state of a run, with a trained encoder where one is named."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from radio_ssl import checkpoints
from radio_ssl.augment import inputs
from radio_ssl.data import examples
from radio_ssl.evaluate import features
from radio_ssl.train import state as train_state


def read(config) -> features.FrozenEncoder | None:
  """The encoder that `config.start` names; None where it is empty.

  Args:
    config: of the run, as `configs/base.py` documents it.

  Raises:
    ValueError: not an encoder, or of another shape or number of channels than
      the run's.
  """
  if not config.start:
    return None
  found = features.from_checkpoint(config.start)
  # Activations may be of another width than they were.
  encoder, own = (
    {**fields, 'dtype': ''}
    for fields in (found.meta['config']['encoder'], config.encoder)
  )
  if differing := checkpoints.differences(encoder, own):
    raise ValueError(
      f'config.start is {config.start}, whose encoder is not that of '
      f'config.encoder ({"; ".join(differing)}); set the fields of '
      'config.encoder to those that it has.'
    )
  channels = inputs.parse(config.input).channels
  if found.input.channels != channels:
    raise ValueError(
      f'config.start is {config.start}, an encoder of {found.input.channels} '
      f'channels; config.input.channels is {channels}.'
    )
  return found


def initial_state(
  parts,
  geometry: examples.Geometry,
  start: features.FrozenEncoder | None,
  *,
  seed: int,
) -> train_state.TrainState:
  """The state of step 0, from a batch of two blank images.

  Args:
    parts: of the run, as `pretrain.plan` makes them: `objective`, `tx` and
      `make_views`.
    geometry: of the images.
    start: whose encoder takes the place of the random one, in the moving
      average too; None for none.
    seed: of all that is random.
  """
  blank = {
    'image': np.zeros((2, geometry.height, geometry.width, 1), geometry.dtype),
    'background': np.zeros(2, np.float32),
    'rms': np.ones(2, np.float32),
    'row': np.arange(2, dtype=np.int32),
    'index': np.arange(2, dtype=np.int32),
  }

  @jax.jit
  def create(rng):
    batch = {'views': parts.make_views(blank, rng), 'index': blank['index']}
    return train_state.create(parts.objective, parts.tx, rng, batch)

  state = create(jax.random.key(seed))
  return state if start is None else _begun(state, start.variables)


def _begun(state: train_state.TrainState, variables) -> train_state.TrainState:
  def replaced(branches, collection: str):
    if 'encoder' not in branches:
      return branches
    # A copy for each: the step gives its buffers away.
    return {
      **branches,
      'encoder': jax.tree.map(jnp.array, variables[collection]),
    }

  model_state = dict(state.model_state)
  for name in {'ema_params', 'batch_stats', 'ema_batch_stats'} & {*model_state}:
    collection = name.removeprefix('ema_')
    model_state[name] = replaced(model_state[name], collection)
  return dataclasses.replace(
    state,
    params=replaced(state.params, 'params'),
    model_state=model_state,
  )
