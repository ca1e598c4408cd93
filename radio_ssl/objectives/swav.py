"""SwAV, Caron et al. 2020, https://arxiv.org/abs/2006.09882."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from radio_ssl.models import heads
from radio_ssl.objectives import _assign, _queue, base

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of SwAV.

  Attributes:
    projector_hidden: width of the projector's hidden layer.
    projector_out: length of z.
    num_prototypes: K of the paper.
    local_views: small views beside the two global ones, which are assigned to
      no prototype; they need `config.views['local']`.
    temperature: of the predictions, > 0.
    sinkhorn_epsilon: of the assignments, > 0; the smaller, the harder.
    sinkhorn_iterations: 1 or more.
    queue_size: earlier images that are assigned together with the batch; a
      multiple of it. 0 turns the queue off.
    queue_start_epoch: from here on the queue is used, if it is full by then.
    freeze_prototypes_epochs: before these are over the prototypes stay put.
  """

  projector_hidden: int = 2048
  projector_out: int = 128
  num_prototypes: int = 3000
  local_views: int = 0
  temperature: float = 0.1
  sinkhorn_epsilon: float = 0.05
  sinkhorn_iterations: int = 3
  queue_size: int = 3840
  queue_start_epoch: int = 15
  freeze_prototypes_epochs: int = 1

  def __post_init__(self):
    base.check_positive(self, 'temperature', 'sinkhorn_epsilon')
    base.check_least(self, 2, 'num_prototypes')
    base.check_least(
      self, 1, 'projector_hidden', 'projector_out', 'sinkhorn_iterations'
    )
    base.check_least(
      self,
      0,
      'local_views',
      'queue_size',
      'queue_start_epoch',
      'freeze_prototypes_epochs',
    )


def codes(
  scores: Array,
  queued: Array | None = None,
  *,
  epsilon: float,
  iterations: int,
) -> Array:
  """Assignments of the global views, each view for itself: section 3.1.

  Args:
    scores: of the global batch, [2, N, K].
    queued: of earlier images, [2, Q, K]. They take their share of the
      prototypes, and get no codes (section 3.1, "Working with small batches").
    epsilon: as in `_assign.sinkhorn`.
    iterations: as in `_assign.sinkhorn`.

  Returns:
    [2, N, K], each row a distribution; no gradient flows through it.
  """
  chex.assert_shape(scores, (2, None, None))
  num_rows = scores.shape[1]
  if queued is not None:
    scores = jnp.concatenate([scores, queued], axis=1)
  of_view = functools.partial(
    _assign.sinkhorn, epsilon=epsilon, iterations=iterations
  )
  return jax.vmap(of_view)(scores)[:, :num_rows]


class Network(nn.Module):
  """Encoder, projector, prototypes: images -> (features, z, scores).

  One forward of the encoder per size of view, one of the projector over the
  views of all sizes together, as in the paper's code.
  """

  encoder: nn.Module
  projector: nn.Module
  prototypes: nn.Module

  def __call__(self, groups: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Of views of one size each, [B', H, W, C].

    Returns:
      Features of the first group; of all groups, joined, z at unit length and
      scores, which are cosines while the prototypes have unit length.
    """
    features = [self.encoder(images, train=True).pooled for images in groups]
    z = self.projector(jnp.concatenate(features), train=True)
    with jax.default_matmul_precision('highest'):
      z = base.l2_normalize(z)
      return features[0], z, self.prototypes(z)


@dataclasses.dataclass(frozen=True)
class SwAV:
  """The objective.

  A row of the queue holds the projections of both global views of an image. It
  fills from the first step; `queue_start` is the one from which it is used.
  """

  config: Config
  network: Network
  axis_name: str | None
  steps_per_epoch: int
  queue_start: int

  @property
  def views(self) -> Mapping[str, int]:
    """Two global views, and the local ones where there are any."""
    local = self.config.local_views
    return {'global': 2} | ({'local': local} if local else {})

  def init(self, rng: Array, batch: Mapping):
    """Parameters with unit prototypes, batch statistics, a random queue."""
    config = self.config
    rng_network, rng_queue = jax.random.split(rng)
    variables = self.network.init(rng_network, [batch['views']['global'][0]])
    params = variables['params']
    model_state = {'batch_stats': variables['batch_stats']}
    if config.queue_size:
      model_state['queue'] = _queue.create(
        rng_queue, config.queue_size, 2 * config.projector_out
      )
    return {**params, 'prototypes': _unit(params['prototypes'])}, model_state

  def loss(self, params, model_state, batch, *, step, rng):
    """Every view predicts the codes of the other global ones, eq. (6)."""
    del rng
    groups = [batch['views'][group] for group in self.views]
    (features, z, scores), mutated = self.network.apply(
      {'params': params, 'batch_stats': model_state['batch_stats']},
      [views.reshape(-1, *views.shape[2:]) for views in groups],
      mutable=['batch_stats'],
    )
    num_rows = groups[0].shape[1]
    z = z.reshape(-1, num_rows, z.shape[-1])[:2]
    scores = scores.reshape(-1, num_rows, scores.shape[-1])
    with jax.default_matmul_precision('highest'):
      target = self._targets(params, model_state, scores[:2], step)
      loss = _assign.cross_entropy(target, scores, self.config.temperature)
    model_state = model_state | dict(mutated)
    if self.config.queue_size:
      model_state['queue'] = _queue.pushed(
        model_state['queue'],
        jnp.concatenate([z[0], z[1]], axis=-1),
        self.axis_name,
      )
    first, second = jnp.argmax(target, axis=-1)
    metrics = {
      'assignment_agreement': jnp.mean(first == second),
      **_assign.entropies(target, self.axis_name),
    }
    # Views of one size come in one batch: those are what monitors compare.
    return base.LossOutput(loss, model_state, metrics, features)

  def _targets(self, params, model_state, scores: Array, step: Array) -> Array:
    """Codes of this device's rows, [2, B, K], from the global batch."""
    config, num_rows = self.config, scores.shape[1]
    of_scores = functools.partial(
      codes,
      epsilon=config.sinkhorn_epsilon,
      iterations=config.sinkhorn_iterations,
    )
    scores = jax.lax.stop_gradient(
      base.gather_rows(scores, self.axis_name, axis=1)
    )
    if config.queue_size:
      rows = model_state['queue']['rows'].reshape(config.queue_size, 2, -1)
      kernel = jax.lax.stop_gradient(params['prototypes']['kernel'])
      # A cond: the two problems have different sizes.
      target = jax.lax.cond(
        step >= self.queue_start,
        lambda: of_scores(scores, jnp.einsum('qvd,dk->vqk', rows, kernel)),
        lambda: of_scores(scores),
      )
    else:
      target = of_scores(scores)
    start = base.first_row(num_rows, self.axis_name)
    return jax.lax.dynamic_slice_in_dim(target, start, num_rows, axis=1)

  def after_update(self, old_params, params, model_state, step):
    """Keeps the prototypes at first, then puts them back on the sphere."""
    frozen = step < self.config.freeze_prototypes_epochs * self.steps_per_epoch
    # A gradient of zero would not do: weight decay moves them too.
    prototypes = jax.tree.map(
      lambda old, new: jnp.where(frozen, old, new),
      old_params['prototypes'],
      _unit(params['prototypes']),
    )
    return {**params, 'prototypes': prototypes}, model_state


def _unit(prototypes: Mapping[str, Array]) -> dict[str, Array]:
  """The layer with each prototype, a column [D], at unit length."""
  return {'kernel': base.l2_normalize(prototypes['kernel'].T).T}


def make(
  config: Config, *, encoder, axis_name, steps_per_epoch, batch_size, **context
) -> SwAV:
  """Builds SwAV around `encoder`.

  Raises:
    ValueError: a queue that whole batches do not fill.
  """
  del context
  if config.queue_size:
    _queue.check(config.queue_size, batch_size)
  projector = heads.MLP(
    hidden=(config.projector_hidden,),
    out=config.projector_out,
    axis_name=axis_name,
  )
  prototypes = nn.Dense(config.num_prototypes, use_bias=False)
  queue_start = max(
    config.queue_start_epoch * steps_per_epoch, config.queue_size // batch_size
  )
  return SwAV(
    config,
    Network(encoder, projector, prototypes),
    axis_name,
    steps_per_epoch,
    queue_start,
  )
