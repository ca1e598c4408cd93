"""SupCon, Khosla et al. 2020, https://arxiv.org/abs/2004.11362.

SimCLR told of the labels: all views of all images of a class are drawn
together. It shows what labels in pretraining are worth; its scores are no match
for those of methods that saw none.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp

from radio_ssl.models import heads
from radio_ssl.objectives import _contrast, base, simclr

Array = jax.Array

NEEDS_LABELS = True


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of SupCon.

  Attributes:
    temperature: of the softmax over similarities, > 0.
    projector_hidden: width of the projector's hidden layer; 0 takes that of
      the features, as the paper does.
    projector_out: length of z.
  """

  temperature: float = 0.1
  projector_hidden: int = 0
  projector_out: int = 128

  def __post_init__(self):
    base.check_positive(self, 'temperature')
    base.check_least(self, 0, 'projector_hidden')
    base.check_least(self, 1, 'projector_out')


def supervised_contrast(
  z: Array,
  labels: Array,
  *,
  temperature: float,
  axis_name: str | None = None,
) -> tuple[Array, dict[str, Array]]:
  """Each view must find all others of its class, eq. (2) of arXiv:2004.11362.

  L_out of the paper, over the number of its terms. Where all labels differ it
  is SimCLR's NT-Xent.

  Args:
    z: projections, [2, B, D], any norm.
    labels: classes of the images, integers [B]; a negative one tells nothing,
      and leaves the image a class of its own.
    temperature: > 0.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    The loss, and metrics; all are means over this device's 2 B views.
      contrastive_accuracy: share of views to which one of their class is
        nearest, in [0, 1].
      positives: number of other views of their class in the global batch, 1
        or more.
  """
  logits, partner = _contrast.among_views(
    z, temperature=temperature, axis_name=axis_name
  )
  chex.assert_shape(labels, (z.shape[1],))
  others = base.gather_rows(labels, axis_name)
  alike = (labels[:, None] == others[None, :]) & (labels[:, None] >= 0)
  columns = jnp.arange(logits.shape[1])
  positive = jnp.tile(alike, (2, 2)) & ~jnp.isneginf(logits)
  positive |= columns[None, :] == partner[:, None]
  log_p = logits - jax.nn.logsumexp(logits, axis=1, keepdims=True)
  loss = -jnp.mean(jnp.mean(log_p, axis=1, where=positive))
  nearest = jnp.argmax(logits, axis=1)[:, None]
  return loss, {
    'contrastive_accuracy': jnp.mean(
      jnp.take_along_axis(positive, nearest, axis=1)
    ),
    'positives': jnp.mean(jnp.sum(positive, axis=1)),
  }


@dataclasses.dataclass(frozen=True)
class SupCon:
  """The objective; one forward over both views together, as in the paper."""

  config: Config
  network: simclr.Network
  axis_name: str | None
  views: ClassVar[Mapping[str, int]] = {'global': 2}

  def init(self, rng: Array, batch: Mapping):
    """Parameters and batch statistics of encoder and projector."""
    images = batch['views']['global'][0]
    variables = self.network.init(rng, images, train=True)
    batch_stats = variables.get('batch_stats', {})
    return variables['params'], {'batch_stats': batch_stats}

  def loss(self, params, model_state, batch, *, step, rng):
    """Eq. (2) over the two global views of the images and their labels."""
    del step, rng
    images = batch['views']['global']
    (features, z), mutated = self.network.apply(
      {'params': params, 'batch_stats': model_state['batch_stats']},
      images.reshape(-1, *images.shape[2:]),
      train=True,
      mutable=['batch_stats'],
    )
    with jax.default_matmul_precision('highest'):
      loss, metrics = supervised_contrast(
        z.reshape(2, -1, z.shape[-1]),
        batch['label'],
        temperature=self.config.temperature,
        axis_name=self.axis_name,
      )
    model_state = {'batch_stats': mutated.get('batch_stats', {})}
    return base.LossOutput(loss, model_state, metrics, features)

  def after_update(self, old_params, params, model_state, step):
    """Nothing to do: SupCon keeps no moving average."""
    del old_params, step
    return params, model_state


def make(config: Config, *, encoder, axis_name, **context) -> SupCon:
  """Builds SupCon around `encoder`."""
  del context
  projector = heads.MLP(
    hidden=(config.projector_hidden,), out=config.projector_out, norm=False
  )
  return SupCon(config, simclr.Network(encoder, projector), axis_name)
