"""Softmax over cosines in the global batch, for methods that contrast views."""

import chex
import jax
import jax.numpy as jnp
from jax import Array

from radio_ssl.objectives import base


def across_views(
  anchors: Array,
  targets: Array,
  *,
  temperature: float,
  axis_name: str | None = None,
) -> tuple[Array, Array]:
  """Each anchor must find the targets of the same image from other views.

  Eq. (3) of arXiv:2104.14548 (NNCLR) and eq. (1) of arXiv:2104.02057 (MoCo v3),
  the mean over all pairs of views; of two views these are both orders, as in
  the algorithms 1 of both.

  Args:
    anchors: of the global views, [2, B, D], any norm.
    targets: of views of the same images, [V, B, D], any norm, the global ones
      first, in the same order; those of a view are sought by the anchors of
      others.
    temperature: > 0.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    The loss, against the targets of the global batch, and the share of anchors
    that find their own first, in [0, 1]; both scalars, means over the
    2 (V - 1) pairs of views and this device's B rows.
  """
  chex.assert_shape(anchors, (2, None, None))
  chex.assert_equal_shape_suffix([anchors, targets], 2)
  num_views, num_rows = targets.shape[:2]
  pairs = [(u, v) for u in (0, 1) for v in range(num_views) if u != v]
  anchors = base.l2_normalize(anchors)
  targets = base.gather_rows(base.l2_normalize(targets), axis_name, axis=1)
  logits = jnp.einsum(
    'pid,pjd->pij',
    jnp.stack([anchors[u] for u, _ in pairs]),
    jnp.stack([targets[v] for _, v in pairs]),
  )
  logits = logits / temperature
  own = base.first_row(num_rows, axis_name) + jnp.arange(num_rows)
  target = jnp.take_along_axis(logits, own[None, :, None], axis=-1)[..., 0]
  loss = jnp.mean(jax.nn.logsumexp(logits, axis=-1) - target)
  return loss, jnp.mean(jnp.argmax(logits, axis=-1) == own[None])


def among_views(
  z: Array, *, temperature: float, axis_name: str | None = None
) -> tuple[Array, Array]:
  """Cosines of every view with all other views, over the temperature.

  Args:
    z: projections of both views, [2, B, D], any norm.
    temperature: > 0.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    logits: of this device's views, the first ones first, with those of the
      global batch, [2 B, 2 N]; -inf where a view meets itself.
    partner: the column of the other view of the same image, [2 B].
  """
  chex.assert_shape(z, (2, None, None))
  num_rows = z.shape[1]
  z = base.l2_normalize(z)
  others = base.gather_rows(z, axis_name, axis=1)
  num_global = others.shape[1]
  rows = base.first_row(num_rows, axis_name) + jnp.arange(num_rows)
  own = jnp.concatenate([rows, num_global + rows])
  partner = jnp.concatenate([num_global + rows, rows])
  anchors = z.reshape(2 * num_rows, -1)
  logits = anchors @ others.reshape(2 * num_global, -1).T / temperature
  columns = jnp.arange(2 * num_global)
  logits = jnp.where(columns[None, :] == own[:, None], -jnp.inf, logits)
  return logits, partner
