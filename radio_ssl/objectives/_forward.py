"""How views go through a network, for methods that take one view at a time."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from radio_ssl.objectives import base


def each_view(
  network: nn.Module,
  params: base.Tree,
  batch_stats: base.Tree,
  views: Array,
  **call: Any,
) -> tuple[Any, base.Tree]:
  """One forward per view: BatchNorm normalises each of them by itself.

  Args:
    network: called as `(images [B, H, W, C])`.
    params: of the network.
    batch_stats: of the network.
    views: [V, B, H, W, C].
    **call: what else `network.apply` takes, such as method='project'.

  Returns:
    What the network returns, with the views as the first axis, [V, B, ...]; and
    the batch statistics after the last view, {} of a network without any.
  """
  outputs = []
  for images in views:
    output, mutated = network.apply(
      {'params': params, 'batch_stats': batch_stats},
      images,
      mutable=['batch_stats'],
      **call,
    )
    batch_stats = mutated.get('batch_stats', {})
    outputs.append(output)
  return jax.tree.map(lambda *x: jnp.stack(x), *outputs), batch_stats
