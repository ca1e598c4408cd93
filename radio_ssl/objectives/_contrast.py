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
  """Each anchor must find the target of the same image from the other view.

  Eq. (3) of arXiv:2104.14548 (NNCLR) and eq. (1) of arXiv:2104.02057 (MoCo v3),
  the mean over both orders of the views, as in the algorithms 1 of both.

  Args:
    anchors: of both views, [2, B, D], any norm.
    targets: of both views of the same images, [2, B, D], any norm; those of
      one view are sought by the anchors of the other.
    temperature: > 0.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    The loss, against the targets of the global batch, and the share of anchors
    that find their own first, in [0, 1]; both scalars, means over this
    device's 2 B rows.
  """
  chex.assert_shape(targets, (2, None, None))
  chex.assert_equal_shape([anchors, targets])
  num_rows = targets.shape[1]
  targets = base.gather_rows(
    base.l2_normalize(targets[::-1]), axis_name, axis=1
  )
  logits = jnp.einsum('vid,vjd->vij', base.l2_normalize(anchors), targets)
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
