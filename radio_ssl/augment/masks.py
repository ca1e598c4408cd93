"""Which patches of a view are shown first: masks, for the methods that hide."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array


def make(
  patch_sizes: Mapping[str, int],
  views: Mapping[str, Array],
  rng: Array,
  rows: Array,
) -> dict[str, Array]:
  """A random order of the patches of each view, for the groups that want one.

  A method shows as many as it likes of the first, and hides the others.

  Args:
    patch_sizes: by group, the side of the patches.
    views: by group, [V, B, H, W, C].
    rng: the same on every device.
    rows: of the images in the global batch, [B]; N devices hide what one does.

  Returns:
    By group, [V, B, N], permutations of 0 .. N - 1, row by row of the grid.
  """
  rngs = jax.vmap(jax.random.fold_in, (None, 0))(rng, rows)
  result, first = {}, 0
  for group, size in patch_sizes.items():
    num_views, _, *sides, _ = views[group].shape
    num = math.prod(side // size for side in sides)

    def order(rng, number, num=num):
      return jax.random.permutation(jax.random.fold_in(rng, number), num)

    of_images = jax.vmap(order, (0, None))
    numbers = first + jnp.arange(num_views)
    result[group] = jax.vmap(of_images, (None, 0))(rngs, numbers)
    first += num_views
  return result
