"""Values that change over a run, as functions step -> float."""

import jax.numpy as jnp
import optax


def of_run(
  config, steps_per_epoch: int, num_steps: int
) -> dict[str, optax.Schedule]:
  """'lr' and 'weight_decay' of a run.

  Args:
    config: as `configs/base.py` documents it.
    steps_per_epoch: of the run.
    num_steps: of the run.

  Raises:
    ValueError: a warm-up that is not shorter than the run; a factor below 0.
  """
  optimizer, factor = config.optimizer, config.final_decay_factor
  if not factor >= 0:
    raise ValueError(f'config.final_decay_factor is {factor}; wanted >= 0.')
  decay = optimizer.weight_decay
  return {
    'lr': warmup_cosine(
      scaled_lr(optimizer.lr, config.batch_size),
      warmup_steps=config.warmup_epochs * steps_per_epoch,
      num_steps=num_steps,
      final_fraction=config.final_lr_fraction,
    ),
    'weight_decay': half_cosine(decay, decay * factor, num_steps),
  }


def scaled_lr(lr: float, batch_size: int) -> float:
  """Linear scaling rule, Goyal et al. 2017, arXiv:1706.02677: lr B / 256."""
  return lr * batch_size / 256


def half_cosine(start: float, end: float, num_steps: int) -> optax.Schedule:
  """From `start` to `end`, which it reaches at `num_steps` and keeps."""

  def value(step):
    progress = jnp.minimum(step / num_steps, 1)
    return end + (start - end) * (1 + jnp.cos(jnp.pi * progress)) / 2

  return value


def warmup_cosine(
  peak: float, *, warmup_steps: int, num_steps: int, final_fraction: float
) -> optax.Schedule:
  """Linear from 0 to `peak`, then a half cosine to `peak * final_fraction`.

  Args:
    peak: value at step `warmup_steps`.
    warmup_steps: fewer than `num_steps`.
    num_steps: step at which the end value is reached.
    final_fraction: of the peak, in [0, 1].

  Raises:
    ValueError: a warm-up that is not shorter than the run.
  """
  if not 0 <= warmup_steps < num_steps:
    raise ValueError(
      f'The warm-up of {warmup_steps} steps must be shorter than the run of '
      f'{num_steps}: lower config.warmup_epochs or raise config.num_epochs.'
    )
  return optax.warmup_cosine_decay_schedule(
    init_value=0.0 if warmup_steps else peak,
    peak_value=peak,
    warmup_steps=warmup_steps,
    decay_steps=num_steps,
    end_value=peak * final_fraction,
  )
