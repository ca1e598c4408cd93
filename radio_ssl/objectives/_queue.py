"""Rows of earlier batches, the oldest replaced by the newest."""

import jax
import jax.numpy as jnp
from jax import Array

from radio_ssl.objectives import base


def check(
  size: int,
  batch_size: int,
  field: str = 'queue_size',
  *,
  rows_per_image: int = 1,
) -> None:
  """Refuses a queue that whole global batches do not fill.

  Args:
    size: of the queue, in rows.
    batch_size: images that are pushed at once.
    field: of the objective, that has the size.
    rows_per_image: that are pushed.

  Raises:
    ValueError: names both numbers.
  """
  if size < 1 or size % (batch_size * rows_per_image):
    times = f' {rows_per_image} times' if rows_per_image > 1 else ''
    raise ValueError(
      f'objective.{field} is {size}, batch_size {batch_size}; wanted a '
      f'multiple of{times} it.'
    )


def create(rng: Array, size: int, length: int) -> dict[str, Array]:
  """Random directions: {'rows' [size, length], 'at' the row to replace next}.

  Rows have unit length (He et al. 2020, arXiv:1911.05722, algorithm 1).
  """
  rows = jax.random.normal(rng, (size, length))
  return {'rows': base.l2_normalize(rows), 'at': jnp.int32(0)}


def pushed(
  queue: dict[str, Array], rows: Array, axis_name: str | None
) -> dict[str, Array]:
  """The queue with a global batch in place of its oldest rows.

  Args:
    queue: of `create`.
    rows: [B, length], this device's; no gradient flows into them.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    The same on every device.
  """
  rows = base.gather_rows(jax.lax.stop_gradient(rows), axis_name)
  start = (queue['at'], jnp.int32(0))
  return {
    'rows': jax.lax.dynamic_update_slice(queue['rows'], rows, start),
    'at': (queue['at'] + len(rows)) % len(queue['rows']),
  }
