"""NNCLR, Dwibedi et al. 2021, https://arxiv.org/abs/2104.14548."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from radio_ssl.models import heads
from radio_ssl.objectives import _contrast, _forward, _queue, base

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of NNCLR.

  Attributes:
    temperature: of the softmax over similarities, > 0; the paper has 0.1.
    projector_hidden: width of the projector's two hidden layers; the paper has
      2048.
    projector_out: length of z and of p.
    predictor_hidden: width of the predictor's hidden layer; the paper has 4096.
    queue_size: projections of earlier images that neighbours are sought among,
      the paper's support set Q; a multiple of the batch.
    local_views: small views beside the two global ones, of which no neighbours
      are sought; they need `config.views['local']`.
  """

  temperature: float = 0.1
  projector_hidden: int = 1024
  projector_out: int = 256
  predictor_hidden: int = 1024
  queue_size: int = 512
  local_views: int = 0

  def __post_init__(self):
    base.check_positive(self, 'temperature')
    base.check_least(self, 0, 'local_views')
    base.check_least(
      self, 1, 'projector_hidden', 'projector_out', 'predictor_hidden'
    )


def nearest(z: Array, rows: Array, count: int) -> tuple[Array, Array]:
  """Nearest neighbours by cosine, NN(z, Q), eq. (4) of arXiv:2104.14548.

  Among rows of unit length the largest cosine is the smallest distance.

  Args:
    z: projections, [..., D], any norm.
    rows: of the queue, [K, D], at unit length.
    count: of neighbours, <= K.

  Returns:
    The neighbours, nearest first, [..., count, D], and their cosines,
    [..., count]; no gradient flows through them.
  """
  cosines = base.l2_normalize(jax.lax.stop_gradient(z)) @ rows.T
  cosines, where = jax.lax.top_k(cosines, count)
  return rows[where], cosines


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
class NNCLR:
  """The objective; one forward per view, as in the paper's algorithm 1."""

  config: Config
  network: Network
  axis_name: str | None

  @property
  def views(self) -> Mapping[str, int]:
    """Two global views, and the local ones where there are any."""
    local = self.config.local_views
    return {'global': 2} | ({'local': local} if local else {})

  def init(self, rng: Array, batch: Mapping):
    """Parameters, batch statistics and a queue of random directions."""
    rng_network, rng_queue = jax.random.split(rng)
    images = batch['views']['global'][0]
    variables = self.network.init(rng_network, images)
    queue = _queue.create(
      rng_queue, self.config.queue_size, self.config.projector_out
    )
    return variables['params'], {
      'batch_stats': variables['batch_stats'],
      'queue': queue,
    }

  def loss(self, params, model_state, batch, *, step, rng):
    """The mean of eq. (3) over the pairs of a global view and another one.

    With predictions in place of the other view's projections, as in section
    3.2. The term with the roles of neighbours and predictions exchanged, which
    section 3.2 adds and algorithm 1 lacks, is left out.

    The neighbours are sought among earlier batches; then the first view's
    projections take the place of the oldest.
    """
    del step, rng
    batch_stats, queue = model_state['batch_stats'], model_state['queue']
    outputs = {}
    for group in self.views:
      outputs[group], batch_stats = _forward.each_view(
        self.network, params, batch_stats, batch['views'][group]
      )
    features, projections, _ = outputs['global']
    with jax.default_matmul_precision('highest'):
      neighbours, cosines = nearest(projections, queue['rows'], 1)
      loss, found = _contrast.across_views(
        neighbours[:, :, 0],
        jnp.concatenate([p for _, _, p in outputs.values()]),
        temperature=self.config.temperature,
        axis_name=self.axis_name,
      )
    queue = _queue.pushed(
      queue, base.l2_normalize(projections[0]), self.axis_name
    )
    metrics = {
      'contrastive_accuracy': found,
      'neighbour_cosine': jnp.mean(cosines),
    }
    return base.LossOutput(
      loss,
      {'batch_stats': batch_stats, 'queue': queue},
      metrics,
      # Views of one size come in one batch: those are what monitors compare.
      features.reshape(-1, features.shape[-1]),
    )

  def after_update(self, old_params, params, model_state, step):
    """Nothing to do: NNCLR keeps no moving average."""
    del old_params, step
    return params, model_state


def make(config: Config, *, encoder, axis_name, batch_size, **context) -> NNCLR:
  """Builds NNCLR around `encoder`.

  Raises:
    ValueError: a queue that whole batches do not fill.
  """
  del context
  _queue.check(config.queue_size, batch_size)
  hidden, out = config.projector_hidden, config.projector_out
  projector = heads.MLP(
    hidden=(hidden, hidden), out=out, norm_last=True, axis_name=axis_name
  )
  predictor = heads.MLP(
    hidden=(config.predictor_hidden,), out=out, axis_name=axis_name
  )
  return NNCLR(config, Network(encoder, projector, predictor), axis_name)
