"""SimSiam, Chen & He 2021, https://arxiv.org/abs/2011.10566.

BYOL without a moving average: targets come from the network that is trained,
and no gradient flows through them. The paper's predictor keeps the learning
rate that the rest starts with: `config.constant_lr = ('predictor',)`.
"""

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
  """Fields of SimSiam.

  Attributes:
    projector_hidden: width of the projector's two hidden layers.
    projector_out: length of z and of p.
    predictor_hidden: width of the predictor's hidden layer, a bottleneck; the
      paper has a quarter of `projector_out`.
  """

  projector_hidden: int = 2048
  projector_out: int = 2048
  predictor_hidden: int = 512

  def __post_init__(self):
    base.check_least(self, 1, *vars(self))


def negative_cosine(p: Array, z: Array) -> Array:
  """D(p, stopgrad(z)), eqs. (1) and (3) of arXiv:2011.10566.

  Args:
    p: predictions, [..., D], any norm.
    z: projections of the other view, [..., D]; no gradient flows into them.

  Returns:
    A scalar in [-1, 1], the mean over all rows; a zero row counts as 0.
  """
  chex.assert_equal_shape([p, z])
  z = base.l2_normalize(jax.lax.stop_gradient(z))
  return -jnp.mean(jnp.sum(base.l2_normalize(p) * z, axis=-1))


def spread(z: Array, axis_name: str | None = None) -> Array:
  """Standard deviation of z / |z|, times sqrt(D): section 4.1, figure 2.

  Args:
    z: projections, [..., B, D]; no gradient flows into them.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    A scalar in [0, 1] of the global batch, the mean over features: 1 when
    spread over the sphere, 0 when collapsed.
  """
  unit = base.l2_normalize(jax.lax.stop_gradient(z))
  centred = _moments.centred(unit, axis_name)
  std = jnp.sqrt(_moments.variance(centred, axis_name))
  return jnp.mean(std) * z.shape[-1] ** 0.5


class Network(nn.Module):
  """Encoder, projector, predictor: images -> (features, z, p)."""

  encoder: nn.Module
  projector: nn.Module
  predictor: nn.Module

  def __call__(self, images: Array) -> tuple[Array, Array, Array]:
    """Features, projections and predictions of images [B, H, W, C]."""
    features = self.encoder(images, train=True).pooled
    z = self.projector(features, train=True)
    return features, z, self.predictor(z, train=True)


@dataclasses.dataclass(frozen=True)
class SimSiam:
  """The objective; one forward per view, as in the paper's algorithm 1."""

  config: Config
  network: Network
  axis_name: str | None
  views: ClassVar[Mapping[str, int]] = {'global': 2}

  def init(self, rng: Array, batch: Mapping):
    """Parameters and batch statistics of encoder, projector, predictor."""
    variables = self.network.init(rng, batch['views']['global'][0])
    return variables['params'], {'batch_stats': variables['batch_stats']}

  def loss(self, params, model_state, batch, *, step, rng):
    """Eq. (4): each view predicts the projections of the other.

    It is the mean negative cosine of predictions and targets, in [-1, 1].
    """
    del step, rng
    (features, z, p), batch_stats = _forward.each_view(
      self.network, params, model_state['batch_stats'], batch['views']['global']
    )
    with jax.default_matmul_precision('highest'):
      loss = negative_cosine(p, z[::-1])
    metrics = {'projection_std': spread(z, self.axis_name)}
    features = features.reshape(-1, features.shape[-1])
    return base.LossOutput(
      loss, {'batch_stats': batch_stats}, metrics, features
    )

  def after_update(self, old_params, params, model_state, step):
    """Nothing to do: SimSiam keeps no moving average."""
    del old_params, step
    return params, model_state


def make(config: Config, *, encoder, axis_name, **context) -> SimSiam:
  """Builds SimSiam around `encoder`."""
  del context
  hidden, out = config.projector_hidden, config.projector_out
  # The layers of the authors' code: z is normalised with no scale or shift.
  projector = heads.MLP(
    hidden=(hidden, hidden),
    out=out,
    norm_last=True,
    scale_last=False,
    use_bias=False,
    use_bias_last=False,
    axis_name=axis_name,
  )
  predictor = heads.MLP(
    hidden=(config.predictor_hidden,),
    out=out,
    use_bias=False,
    axis_name=axis_name,
  )
  return SimSiam(config, Network(encoder, projector, predictor), axis_name)
