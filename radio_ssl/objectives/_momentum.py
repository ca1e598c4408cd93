"""The moving average of a network, for the methods that learn from one."""

import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import optax
from jax import Array

from radio_ssl.objectives import base


def check_decay(decay: float) -> None:
  """Refuses a decay that is no share; the field is `objective.ema_decay`."""
  if not 0 <= decay <= 1:
    raise ValueError(
      f'objective.ema_decay is {decay}; wanted a value in [0, 1].'
    )


def rising_decay(step: Array, *, start: float, num_steps: int) -> Array:
  """A decay that rises to 1 on a half cosine, arXiv:2006.07733, section 3.1.

  Args:
    step: from 0.
    start: the decay at step 0, in [0, 1].
    num_steps: the step at which it is 1.
  """
  progress = jnp.minimum(step / num_steps, 1)
  return 1 - (1 - start) * (jnp.cos(math.pi * progress) + 1) / 2


def copies(
  params: Mapping, batch_stats: Mapping, without: Sequence[str] = ()
) -> dict[str, base.Tree]:
  """The first `ema_params` and `ema_batch_stats`, in buffers of their own.

  Args:
    params: of the online network.
    batch_stats: of the online network.
    without: branches that only the online network has, such as 'predictor'.
  """
  return {
    'ema_params': jax.tree.map(jnp.copy, leave_out(params, without)),
    'ema_batch_stats': jax.tree.map(jnp.copy, leave_out(batch_stats, without)),
  }


def moved(
  params: Mapping, ema_params: Mapping, decay: Array | float
) -> base.Tree:
  """`ema_params` after a step towards the branches of `params` they have.

  decay 1 keeps them where they are, 0 copies.
  """
  mine = {name: params[name] for name in ema_params}
  return optax.incremental_update(mine, ema_params, 1 - decay)


def leave_out(tree: Mapping, names: Sequence[str]) -> dict:
  """The other branches of a tree."""
  return {name: branch for name, branch in tree.items() if name not in names}
