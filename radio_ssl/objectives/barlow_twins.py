"""Barlow Twins, Zbontar et al. 2021, https://arxiv.org/abs/2103.03230."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from radio_ssl.models import heads
from radio_ssl.objectives import _forward, _moments, base

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of Barlow Twins.

  Attributes:
    redundancy_weight: of what is off the diagonal, lambda of the paper, >= 0;
      0.0051 is that of the authors' code.
    scale_loss: of the whole loss, > 0. Adam does not feel it, nor do the
      kernels under LARS. SGD does, and so do biases and BatchNorm under LARS:
      the authors give these a rate of 0.0048 beside 0.2, which is 0.024 here.
    projector_hidden: width of the projector's two hidden layers; the paper has
      8192, solo-learn 2048 for a ResNet-18.
    projector_out: length of z; the paper has 8192, solo-learn 2048.
  """

  redundancy_weight: float = 0.0051
  scale_loss: float = 1.0
  projector_hidden: int = 2048
  projector_out: int = 2048

  def __post_init__(self):
    base.check_least(self, 0, 'redundancy_weight')
    base.check_positive(self, 'scale_loss')
    base.check_least(self, 1, 'projector_hidden', 'projector_out')


def cross_correlation(
  z: Array, *, eps: float = 1e-5, axis_name: str | None = None
) -> Array:
  """C of two views over the global batch, eq. (2) of arXiv:2103.03230.

  Args:
    z: projections, [2, B, D].
    eps: added to the variances, as in BatchNorm, which the authors' code has
      here: a feature that is the same for all images correlates with none.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    [D, D], the features of the first view against those of the second, in
    [-1, 1]; the same on every device.
  """
  chex.assert_shape(z, (2, None, None))
  z = _moments.centred(z, axis_name)
  variance = _moments.variance(z, axis_name)[:, None]
  first, second = z * jax.lax.rsqrt(variance + eps)
  return _moments.products(first, second, axis_name)


def redundancy_reduction(
  correlation: Array, *, redundancy_weight: float
) -> Array:
  """Distance of C from the identity, eq. (1) of arXiv:2103.03230.

  Args:
    correlation: [D, D].
    redundancy_weight: lambda of the paper.

  Returns:
    A scalar >= 0: sums, not means, over the entries.
  """
  misses = 1 - jnp.diagonal(correlation)
  excess = jnp.sum(correlation**2, where=_off_diagonal(correlation))
  return jnp.sum(misses**2) + redundancy_weight * excess


def _off_diagonal(matrix: Array) -> Array:
  return ~jnp.eye(len(matrix), dtype=bool)


class Network(nn.Module):
  """Encoder and projector: images -> (features [B, D], z [B, D'])."""

  encoder: nn.Module
  projector: nn.Module

  def __call__(self, images: Array) -> tuple[Array, Array]:
    """Features and projections of images [B, H, W, C]."""
    features = self.encoder(images, train=True).pooled
    return features, self.projector(features, train=True)


@dataclasses.dataclass(frozen=True)
class BarlowTwins:
  """The objective; one forward per view, as in the paper's algorithm 1."""

  config: Config
  network: Network
  axis_name: str | None
  views: ClassVar[Mapping[str, int]] = {'global': 2}

  def init(self, rng: Array, batch: Mapping):
    """Parameters and batch statistics of encoder and projector."""
    variables = self.network.init(rng, batch['views']['global'][0])
    return variables['params'], {'batch_stats': variables['batch_stats']}

  def loss(self, params, model_state, batch, *, step, rng):
    """Eq. (1) of the global batch, times `scale_loss`."""
    del step, rng
    (features, z), batch_stats = _forward.each_view(
      self.network, params, model_state['batch_stats'], batch['views']['global']
    )
    with jax.default_matmul_precision('highest'):
      correlation = cross_correlation(z, axis_name=self.axis_name)
      loss = self.config.scale_loss * redundancy_reduction(
        correlation, redundancy_weight=self.config.redundancy_weight
      )
    fixed = jax.lax.stop_gradient(correlation)
    excess = jnp.mean(fixed**2, where=_off_diagonal(fixed))
    metrics = {
      'diagonal_correlation': jnp.mean(jnp.diagonal(fixed)),
      'off_diagonal_correlation_rms': jnp.sqrt(excess),
    }
    features = features.reshape(-1, features.shape[-1])
    return base.LossOutput(
      loss, {'batch_stats': batch_stats}, metrics, features
    )

  def after_update(self, old_params, params, model_state, step):
    """Nothing to do: Barlow Twins keeps no moving average."""
    del old_params, step
    return params, model_state


def make(config: Config, *, encoder, axis_name, **context) -> BarlowTwins:
  """Builds Barlow Twins around `encoder`."""
  del context
  hidden = config.projector_hidden
  projector = heads.MLP(
    hidden=(hidden, hidden),
    out=config.projector_out,
    use_bias=False,
    use_bias_last=False,
    axis_name=axis_name,
  )
  return BarlowTwins(config, Network(encoder, projector), axis_name)
