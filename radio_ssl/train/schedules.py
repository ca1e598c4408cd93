"""Values that change over a run, as functions step -> float."""

import optax


def scaled_lr(lr: float, batch_size: int) -> float:
  """Linear scaling rule, Goyal et al. 2017, arXiv:1706.02677: lr B / 256."""
  return lr * batch_size / 256


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
