"""SimCLR, Chen et al. 2020, https://arxiv.org/abs/2002.05709."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from radio_ssl.models import heads
from radio_ssl.objectives import _contrast, base

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of SimCLR.

  Attributes:
    temperature: of the softmax over similarities, > 0.
    projector_hidden: width of the projector's hidden layer.
    projector_out: length of z.
  """

  temperature: float = 0.2
  projector_hidden: int = 1024
  projector_out: int = 128

  def __post_init__(self):
    base.check_positive(self, 'temperature')
    base.check_least(self, 1, 'projector_hidden', 'projector_out')


def nt_xent(
  z: Array, *, temperature: float, axis_name: str | None = None
) -> tuple[Array, Array]:
  """Normalised temperature-scaled cross entropy, eq. (1) of arXiv:2002.05709.

  Each view of an image must find the other among the 2 N - 1 other views of
  the global batch.

  Args:
    z: projections, [2, B, D], any norm.
    temperature: > 0.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    The loss and the share of views that find their partner first, in [0, 1];
    both scalars, means over this device's 2 B views.
  """
  logits, partner = _contrast.among_views(
    z, temperature=temperature, axis_name=axis_name
  )
  target = jnp.take_along_axis(logits, partner[:, None], axis=1)[:, 0]
  loss = jnp.mean(jax.nn.logsumexp(logits, axis=1) - target)
  found = jnp.mean(jnp.argmax(logits, axis=1) == partner)
  return loss, found


class Network(nn.Module):
  """Encoder and projector: images -> (features [B, D], z [B, D'])."""

  encoder: nn.Module
  projector: nn.Module

  def __call__(self, images: Array, *, train: bool) -> tuple[Array, Array]:
    """Features and projections of images [B, H, W, C]."""
    features = self.encoder(images, train=train).pooled
    return features, self.projector(features, train=train)


@dataclasses.dataclass(frozen=True)
class SimCLR:
  """The objective; the paper's one forward over both views together."""

  config: Config
  network: Network
  axis_name: str | None
  views: ClassVar[Mapping[str, int]] = {'global': 2}

  def init(self, rng: Array, batch: Mapping):
    """Parameters and batch statistics of encoder and projector."""
    images = batch['views']['global'][0]
    variables = self.network.init(rng, images, train=True)
    return variables['params'], {'batch_stats': variables['batch_stats']}

  def loss(self, params, model_state, batch, *, step, rng):
    """NT-Xent between the two global views."""
    del step, rng
    images = batch['views']['global']
    (features, z), mutated = self.network.apply(
      {'params': params, 'batch_stats': model_state['batch_stats']},
      images.reshape(-1, *images.shape[2:]),
      train=True,
      mutable=['batch_stats'],
    )
    with jax.default_matmul_precision('highest'):
      loss, found = nt_xent(
        z.reshape(2, -1, z.shape[-1]),
        temperature=self.config.temperature,
        axis_name=self.axis_name,
      )
    metrics = {'contrastive_accuracy': found}
    return base.LossOutput(loss, dict(mutated), metrics, features)

  def after_update(self, old_params, params, model_state, step):
    """Nothing to do: SimCLR keeps no moving average."""
    del old_params, step
    return params, model_state


def make(config: Config, *, encoder, axis_name, **context) -> SimCLR:
  """Builds SimCLR around `encoder`."""
  del context
  projector = heads.MLP(
    hidden=(config.projector_hidden,),
    out=config.projector_out,
    norm_last=True,
    use_bias=False,
    use_bias_last=False,
    axis_name=axis_name,
  )
  return SimCLR(config, Network(encoder, projector), axis_name)
