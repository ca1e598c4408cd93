"""BYOL, Grill et al. 2020, https://arxiv.org/abs/2006.07733."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from radio_ssl.models import heads
from radio_ssl.objectives import _momentum, base

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of BYOL.

  Attributes:
    hidden: width of the hidden layer of projector and predictor.
    out: length of z and of p.
    ema_decay: of the moving average at step 0, in [0, 1]; it rises to 1 on a
      half cosine (section 3.1 of the paper).
    norm_z: whether z, the projector's output, is normalised over the batch.
      Not in the paper. Without it all z share a mean, which p can match
      without telling any two images apart.
  """

  hidden: int = 1024
  out: int = 256
  ema_decay: float = 0.99
  norm_z: bool = False

  def __post_init__(self):
    _momentum.check_decay(self.ema_decay)
    base.check_least(self, 1, 'hidden', 'out')


def cosine_regression(p: Array, z: Array) -> Array:
  """Distance between predictions and targets, eq. (2) of arXiv:2006.07733.

  Args:
    p: predictions of the online network, [B, D], any norm.
    z: projections of the moving average, [B, D]; no gradient flows into it.

  Returns:
    A scalar in [0, 4], the mean over this device's B rows.
  """
  chex.assert_equal_shape([p, z])
  z = jax.lax.stop_gradient(z)
  difference = base.l2_normalize(p) - base.l2_normalize(z)
  return jnp.mean(jnp.sum(difference * difference, axis=-1))


class Network(nn.Module):
  """Encoder, projector and, online, the predictor."""

  encoder: nn.Module
  projector: nn.Module
  predictor: nn.Module

  def project(self, images: Array) -> tuple[Array, Array]:
    """Features and projections of images [B, H, W, C]."""
    features = self.encoder(images, train=True).pooled
    return features, self.projector(features, train=True)

  def __call__(self, images: Array) -> tuple[Array, Array]:
    """Features and predictions of images [B, H, W, C]."""
    features, z = self.project(images)
    return features, self.predictor(z, train=True)


@dataclasses.dataclass(frozen=True)
class BYOL:
  """The objective; one forward per view, as in the paper's own code.

  The moving average sees the batch statistics of its own forward. Its running
  statistics follow that forward; only its parameters are averaged.
  """

  config: Config
  network: Network
  num_steps: int
  views: ClassVar[Mapping[str, int]] = {'global': 2}

  def ema_schedule(self, step: Array) -> Array:
    """Decay of the moving average at `step`, section 3.1 of the paper."""
    return _momentum.rising_decay(
      step, start=self.config.ema_decay, num_steps=self.num_steps
    )

  def init(self, rng: Array, batch: Mapping):
    """Online parameters, and a copy of encoder and projector beside them."""
    variables = self.network.init(rng, batch['views']['global'][0])
    params, batch_stats = variables['params'], variables['batch_stats']
    ema = _momentum.copies(params, batch_stats, without=('predictor',))
    return params, {'batch_stats': batch_stats, **ema}

  def loss(self, params, model_state, batch, *, step, rng):
    """The symmetric loss, eq. (2) for both orders of the two views."""
    del rng
    online = model_state['batch_stats']
    ema = model_state['ema_batch_stats']
    features, predictions, targets = [], [], []
    for images in batch['views']['global']:
      (feature, p), mutated = self.network.apply(
        {'params': params, 'batch_stats': online},
        images,
        mutable=['batch_stats'],
      )
      online = mutated['batch_stats']
      (_, z), mutated = self.network.apply(
        {'params': model_state['ema_params'], 'batch_stats': ema},
        images,
        method='project',
        mutable=['batch_stats'],
      )
      ema = mutated['batch_stats']
      features.append(feature)
      predictions.append(p)
      targets.append(z)
    loss = cosine_regression(predictions[0], targets[1]) + cosine_regression(
      predictions[1], targets[0]
    )
    model_state = model_state | {
      'batch_stats': online,
      'ema_batch_stats': ema,
    }
    metrics = {'ema_decay': self.ema_schedule(step)}
    return base.LossOutput(
      loss, model_state, metrics, jnp.concatenate(features)
    )

  def after_update(self, old_params, params, model_state, step):
    """Moves the average towards the new parameters, eq. (1)."""
    del old_params
    ema_params = _momentum.moved(
      params, model_state['ema_params'], self.ema_schedule(step)
    )
    return params, model_state | {'ema_params': ema_params}


def make(config: Config, *, encoder, axis_name, num_steps, **context) -> BYOL:
  """Builds BYOL around `encoder`."""
  del context
  projector, predictor = (
    heads.MLP(
      hidden=(config.hidden,),
      out=config.out,
      norm_last=norm_last,
      use_bias_last=False,
      axis_name=axis_name,
    )
    for norm_last in (config.norm_z, False)
  )
  return BYOL(config, Network(encoder, projector, predictor), num_steps)
