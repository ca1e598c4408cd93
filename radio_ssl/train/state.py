"""All that a run carries from one step to the next."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class TrainState:
  """One logical tree of arrays, equal on every device.

  Attributes:
    step: int32, number of updates done.
    params: what the optimiser trains.
    model_state: the rest of the objective's variables.
    opt_state: of the optax transformation.
    rng: typed key of the run; it never changes, every use folds in `step`.
    first_nonfinite_step: int32, the first step whose loss or parameters were
      not finite; -1 while there is none. A state with one is never saved.
  """

  step: jax.Array
  params: Any
  model_state: Any
  opt_state: Any
  rng: jax.Array
  first_nonfinite_step: jax.Array


def create(objective, tx, rng: jax.Array, batch) -> TrainState:
  """The state before the first step.

  Args:
    objective: as in `radio_ssl.objectives.base.Objective`.
    tx: an `optax.GradientTransformation`.
    rng: typed key of the run.
    batch: an example of what `objective.loss` gets; only shapes matter.
  """
  rng_init, rng_run = jax.random.split(rng)
  params, model_state = objective.init(rng_init, batch)
  return TrainState(
    step=jnp.int32(0),
    params=params,
    model_state=model_state,
    opt_state=tx.init(params),
    rng=rng_run,
    first_nonfinite_step=jnp.int32(-1),
  )
