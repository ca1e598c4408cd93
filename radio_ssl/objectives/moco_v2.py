"""MoCo v2, Chen et al. 2020, https://arxiv.org/abs/2003.04297.

MoCo of He et al. 2020, https://arxiv.org/abs/1911.05722, with a head of two
layers; symmetric, as in Chen & He 2021, https://arxiv.org/abs/2011.10566, it is
known as MoCo v2+.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp

from radio_ssl.models import heads
from radio_ssl.objectives import _forward, _momentum, _queue, base, simclr

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of MoCo v2.

  Attributes:
    temperature: of the softmax over similarities, > 0.
    projector_hidden: width of the projector's hidden layer; 0 takes that of
      the features, as the papers do.
    projector_out: length of q and of k.
    queue_size: keys of earlier images; a multiple of the keys of a batch, which
      are twice as many where both views are keys.
    symmetric: both views of an image are query and key. Without, the first is
      the query and the second the key, as in the papers.
    ema_decay: of the moving average, in [0, 1]; it stays what it is.
  """

  temperature: float = 0.2
  projector_hidden: int = 0
  projector_out: int = 128
  queue_size: int = 65536
  symmetric: bool = True
  ema_decay: float = 0.999

  def __post_init__(self):
    _momentum.check_decay(self.ema_decay)
    base.check_positive(self, 'temperature')
    base.check_least(self, 0, 'projector_hidden')
    base.check_least(self, 1, 'projector_out')


def info_nce(
  queries: Array, keys: Array, queue: Array, *, temperature: float
) -> tuple[Array, Array]:
  """Each query must tell its key from the queue, eq. (1) of arXiv:1911.05722.

  Args:
    queries: of V views, [V, B, D], any norm.
    keys: each of another view of its query's image, [V, B, D], any norm; no
      gradient flows into them.
    queue: keys of earlier images, [K, D], at unit length.
    temperature: > 0.

  Returns:
    The loss and the share of queries that are nearer to their key than to all
    of the queue, in [0, 1]; both scalars, means over this device's V B queries.
  """
  chex.assert_rank(queries, 3)
  chex.assert_equal_shape([queries, keys])
  queries = base.l2_normalize(queries)
  keys = base.l2_normalize(jax.lax.stop_gradient(keys))
  own = jnp.sum(queries * keys, axis=-1, keepdims=True) / temperature
  others = queries @ queue.T / temperature
  logits = jnp.concatenate([own, others], axis=-1)
  loss = jnp.mean(jax.nn.logsumexp(logits, axis=-1) - own[..., 0])
  # A collapsed encoder, to which all are equally near, has found nothing.
  return loss, jnp.mean(own[..., 0] > jnp.max(others, axis=-1))


@dataclasses.dataclass(frozen=True)
class MoCoV2:
  """The objective; one forward per view and network, as in the papers' code.

  The papers shuffle images between devices, so that BatchNorm's statistics, of
  one device's rows there, do not tell which key is a query's. Here they are of
  the global batch, on any number of devices: a batch has less of a mark to tell
  its keys from those of the queue by, the less the larger it is.

  The average has the statistics of its own forward; its running statistics
  follow that, and its parameters alone are averaged.
  """

  config: Config
  network: simclr.Network
  axis_name: str | None
  views: ClassVar[Mapping[str, int]] = {'global': 2}

  def init(self, rng: Array, batch: Mapping):
    """Parameters, their copy, and a queue of random directions."""
    rng_network, rng_queue = jax.random.split(rng)
    images = batch['views']['global'][0]
    variables = self.network.init(rng_network, images, train=True)
    params = variables['params']
    batch_stats = variables.get('batch_stats', {})
    config = self.config
    queue = _queue.create(rng_queue, config.queue_size, config.projector_out)
    return params, {
      'batch_stats': batch_stats,
      'queue': queue,
      **_momentum.copies(params, batch_stats),
    }

  def loss(self, params, model_state, batch, *, step, rng):
    """The mean of eq. (1) over the queries; then their keys are queued.

    Keys of this step are no negatives in it: an image's own would be there.
    """
    del step, rng
    images = batch['views']['global']
    asked, others = images[:1], images[1:]
    if self.config.symmetric:
      asked, others = images, images[::-1]
    (features, queries), batch_stats = _forward.each_view(
      self.network, params, model_state['batch_stats'], asked, train=True
    )
    (_, keys), ema_batch_stats = _forward.each_view(
      self.network,
      model_state['ema_params'],
      model_state['ema_batch_stats'],
      others,
      train=True,
    )
    with jax.default_matmul_precision('highest'):
      loss, found = info_nce(
        queries,
        keys,
        model_state['queue']['rows'],
        temperature=self.config.temperature,
      )
    # Image by image: N devices queue them in the order of one.
    rows = base.l2_normalize(keys).swapaxes(0, 1).reshape(-1, keys.shape[-1])
    model_state = model_state | {
      'batch_stats': batch_stats,
      'ema_batch_stats': ema_batch_stats,
      'queue': _queue.pushed(model_state['queue'], rows, self.axis_name),
    }
    metrics = {'contrastive_accuracy': found}
    features = features.reshape(-1, features.shape[-1])
    return base.LossOutput(loss, model_state, metrics, features)

  def after_update(self, old_params, params, model_state, step):
    """Moves the average towards the new parameters, eq. (2)."""
    del old_params, step
    ema_params = _momentum.moved(
      params, model_state['ema_params'], self.config.ema_decay
    )
    return params, model_state | {'ema_params': ema_params}


def make(
  config: Config, *, encoder, axis_name, batch_size, **context
) -> MoCoV2:
  """Builds MoCo v2 around `encoder`.

  Raises:
    ValueError: a queue that the keys of whole batches do not fill.
  """
  del context
  _queue.check(
    config.queue_size, batch_size, rows_per_image=1 + config.symmetric
  )
  projector = heads.MLP(
    hidden=(config.projector_hidden,), out=config.projector_out, norm=False
  )
  return MoCoV2(config, simclr.Network(encoder, projector), axis_name)
