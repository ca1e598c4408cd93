"""All4One, Estepa et al. 2023, https://arxiv.org/abs/2303.09417.

Three objectives at once: an image's nearest neighbour (NNCLR), a centroid that
a small transformer makes of its nearest neighbours, and the correlation of
features over the batch. Where the text is silent this follows the authors' code
(github.com/ImaGonEs/all4one): the two temperatures, the weights, the square
roots in the feature term, dropout, the first view alone entering the queue.

Taken from the text and not from that code: positions are those of the
neighbours in their sequence; the code swaps the axes and encodes the place of a
feature. Ours: before the encodings are added, all vectors of a sequence have
unit norm and are multiplied by the root of their length (Vaswani et al. 2017,
section 3.4, for embeddings); without, the centroid term stayed at chance over
180 steps on FIRST. The code's learning rate of 0.1 for the transformer, beside
1.0 for the rest, is `config.lr_factors.transformer`.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from radio_ssl.models import heads
from radio_ssl.objectives import _contrast, _momentum, _queue, base, nnclr

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of All4One.

  Attributes:
    temperature: of the neighbour contrast, > 0.
    centroid_temperature: of the centroid contrast, > 0.
    neighbours: length of the sequences that centroids are made of.
    projector_hidden: width of the projector's two hidden layers; the paper has
      2048.
    projector_out: length of z and of a centroid, even; a multiple of
      `transformer_heads`.
    predictor_hidden: width of the hidden layer of both predictors; the paper
      has 4096.
    queue_size: projections of earlier images, a multiple of the batch.
    transformer_layers: of self-attention.
    transformer_heads: of each layer.
    dropout: in the transformer, in [0, 1).
    neighbour_weight: of the neighbour contrast.
    centroid_weight: of the centroid contrast.
    feature_weight: of the feature contrast.
    ema_decay: of the moving average at step 0, in [0, 1]; it rises to 1 on a
      half cosine.
  """

  temperature: float = 0.2
  centroid_temperature: float = 0.1
  neighbours: int = 5
  projector_hidden: int = 1024
  projector_out: int = 256
  predictor_hidden: int = 1024
  queue_size: int = 512
  transformer_layers: int = 3
  transformer_heads: int = 8
  dropout: float = 0.1
  neighbour_weight: float = 0.5
  centroid_weight: float = 0.5
  feature_weight: float = 5.0
  ema_decay: float = 0.99

  def __post_init__(self):
    _momentum.check_decay(self.ema_decay)
    base.check_positive(self, 'temperature', 'centroid_temperature')
    base.check_least(
      self, 0, 'neighbour_weight', 'centroid_weight', 'feature_weight'
    )
    base.check_least(
      self,
      1,
      'projector_hidden',
      'projector_out',
      'predictor_hidden',
      'transformer_layers',
      'transformer_heads',
    )
    if not 1 <= self.neighbours <= self.queue_size:
      raise ValueError(
        f'objective.neighbours is {self.neighbours}; wanted 1 to queue_size, '
        f'{self.queue_size}.'
      )
    if self.projector_out % 2 or self.projector_out % self.transformer_heads:
      raise ValueError(
        f'objective.projector_out is {self.projector_out}; wanted an even '
        f'multiple of transformer_heads, {self.transformer_heads}.'
      )
    if not 0 <= self.dropout < 1:
      raise ValueError(
        f'objective.dropout is {self.dropout}; wanted within [0, 1).'
      )


def feature_contrast(
  z: Array, targets: Array, *, axis_name: str | None = None
) -> Array:
  """The feature contrast: redundancy reduction between two views.

  With C_ij the cosine, over the rows of the global batch, of feature i of the
  targets and feature j of z, for both orders of the views: half the root of
  the mean of (1 - C_ii)^2 and half the root of the mean of C_ij^2, i != j.
  Features are not centred, here as in Barlow Twins' eq. (2) that it rests on.

  Args:
    z: projections of both views, [2, B, D].
    targets: of the moving average, [2, B, D], D > 1; no gradient flows into
      them.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    A scalar in [0, 1.5], of the global batch: the same on every device.
  """
  chex.assert_equal_shape([z, targets])
  targets = jax.lax.stop_gradient(targets)
  z, targets = (
    base.l2_normalize(base.gather_rows(x, axis_name, axis=1).swapaxes(1, 2))
    for x in (z, targets)
  )
  # Each view's targets against the other view's projections.
  correlation = jnp.einsum('vib,vjb->vij', targets, z[::-1])
  same = jnp.eye(z.shape[1], dtype=bool)
  misses = jnp.mean((1 - correlation) ** 2, axis=(0, 1, 2), where=same)
  excess = jnp.mean(correlation**2, axis=(0, 1, 2), where=~same)
  return (_root(misses) + _root(excess)) / 2


def _root(x: Array) -> Array:
  """The square root of x >= 0, with the gradient 0 at 0."""
  # Both wheres are needed: the gradient of the branch not taken must be finite.
  return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


class Online(NamedTuple):
  """What the online network says of both views, each [2, B, ...].

  Attributes:
    features: of the encoder.
    z: projections.
    p: predictions of the nearest neighbour.
    q: predictions that take the nearest neighbour's place in a sequence.
  """

  features: Array
  z: Array
  p: Array
  q: Array


class Network(nn.Module):
  """Encoder, projector and, online, the two predictors."""

  encoder: nn.Module
  projector: nn.Module
  predictor: nn.Module
  centroid_predictor: nn.Module

  def project(self, images: Array) -> tuple[Array, Array]:
    """Features and projections of images [B, H, W, C]."""
    features = self.encoder(images, train=True).pooled
    return features, self.projector(features, train=True)

  def __call__(self, images: Array) -> Online:
    """What the online network says of images [B, H, W, C], one view."""
    features, z = self.project(images)
    p = self.predictor(z, train=True)
    return Online(features, z, p, self.centroid_predictor(z, train=True))


@dataclasses.dataclass(frozen=True)
class All4One:
  """The objective; one forward per view, of both networks."""

  config: Config
  network: Network
  transformer: heads.CentroidTransformer
  axis_name: str | None
  num_steps: int
  views: ClassVar[Mapping[str, int]] = {'global': 2}

  def ema_schedule(self, step: Array) -> Array:
    """Decay of the moving average at `step`."""
    return _momentum.rising_decay(
      step, start=self.config.ema_decay, num_steps=self.num_steps
    )

  def init(self, rng: Array, batch: Mapping):
    """Parameters, a copy of encoder and projector, and a random queue."""
    config = self.config
    rng_network, rng_transformer, rng_dropout, rng_queue = jax.random.split(
      rng, 4
    )
    images = batch['views']['global'][0]
    variables = self.network.init(rng_network, images)
    params, batch_stats = variables['params'], variables['batch_stats']
    predictors = ('predictor', 'centroid_predictor')
    ema = _momentum.copies(params, batch_stats, without=predictors)
    transformer = self.transformer.init(
      {'params': rng_transformer, 'dropout': rng_dropout},
      jnp.zeros((config.neighbours, config.projector_out)),
    )
    queue = _queue.create(rng_queue, config.queue_size, config.projector_out)
    return params | {'transformer': transformer['params']}, {
      'batch_stats': batch_stats,
      'queue': queue,
      **ema,
    }

  def loss(self, params, model_state, batch, *, step, rng):
    """The weighted sum of the three contrasts.

    The neighbours are those of the moving average's projections in the queue;
    then its projections of the first view take the place of the oldest.
    """
    images = batch['views']['global']
    online, batch_stats = self._online(params, model_state, images)
    targets, ema_batch_stats = self._targets(model_state, images)
    with jax.default_matmul_precision('highest'):
      loss, metrics = self._terms(
        params['transformer'], online, targets, model_state['queue'], rng
      )
    metrics['ema_decay'] = self.ema_schedule(step)
    model_state = model_state | {
      'batch_stats': batch_stats,
      'ema_batch_stats': ema_batch_stats,
      'queue': _queue.pushed(
        model_state['queue'], base.l2_normalize(targets[0]), self.axis_name
      ),
    }
    features = online.features.reshape(-1, online.features.shape[-1])
    return base.LossOutput(loss, model_state, metrics, features)

  def _online(self, params, model_state, images) -> tuple[Online, base.Tree]:
    """Outputs of both views, and the batch statistics after them."""
    branches = _momentum.leave_out(params, ('transformer',))
    batch_stats, views = model_state['batch_stats'], []
    for view in images:
      output, mutated = self.network.apply(
        {'params': branches, 'batch_stats': batch_stats},
        view,
        mutable=['batch_stats'],
      )
      batch_stats = mutated['batch_stats']
      views.append(output)
    return jax.tree.map(lambda *x: jnp.stack(x), *views), batch_stats

  def _targets(self, model_state, images) -> tuple[Array, base.Tree]:
    """The moving average's projections [2, B, D], and its statistics."""
    batch_stats, views = model_state['ema_batch_stats'], []
    for view in images:
      (_, z), mutated = self.network.apply(
        {'params': model_state['ema_params'], 'batch_stats': batch_stats},
        view,
        method='project',
        mutable=['batch_stats'],
      )
      batch_stats = mutated['batch_stats']
      views.append(z)
    return jax.lax.stop_gradient(jnp.stack(views)), batch_stats

  def _terms(self, transformer, online: Online, targets, queue, rng):
    """The loss and its terms, from what both networks say."""
    config = self.config
    neighbours, cosines = nnclr.nearest(
      targets, queue['rows'], config.neighbours
    )
    neighbour, found = _contrast.across_views(
      neighbours[:, :, 0],
      online.p,
      temperature=config.temperature,
      axis_name=self.axis_name,
    )
    # The online prediction shifts the neighbours by one and drops the last.
    shifted = jnp.concatenate(
      [base.l2_normalize(online.q)[:, :, None], neighbours[:, :, :-1]], axis=2
    )
    centroids = self._centroids(
      transformer, jnp.concatenate([neighbours, shifted]), rng
    )
    centroid, centroid_found = _contrast.across_views(
      centroids[:2],
      centroids[2:],
      temperature=config.centroid_temperature,
      axis_name=self.axis_name,
    )
    feature = feature_contrast(online.z, targets, axis_name=self.axis_name)
    loss = (
      config.neighbour_weight * neighbour
      + config.centroid_weight * centroid
      + config.feature_weight * feature
    )
    return loss, {
      'neighbour_loss': neighbour,
      'centroid_loss': centroid,
      'feature_loss': feature,
      'contrastive_accuracy': found,
      'centroid_accuracy': centroid_found,
      'neighbour_cosine': jnp.mean(cosines[:, :, 0]),
    }

  def _centroids(self, transformer, sequences, rng) -> Array:
    """Centroids [S, B, D] of sequences [S, B, K, D].

    Dropout has a key per row of the global batch: N devices drop what one does.
    """
    count, num_rows = sequences.shape[:2]
    rows = base.first_row(num_rows, self.axis_name) + jnp.arange(num_rows)

    def centroid(sequence, number, row):
      key = jax.random.fold_in(jax.random.fold_in(rng, number), row)
      return self.transformer.apply(
        {'params': transformer}, sequence, rngs={'dropout': key}
      )

    of_rows = jax.vmap(centroid, (0, None, 0))
    return jax.vmap(of_rows, (0, 0, None))(sequences, jnp.arange(count), rows)

  def after_update(self, old_params, params, model_state, step):
    """Moves the average towards the new parameters."""
    del old_params
    ema_params = _momentum.moved(
      params, model_state['ema_params'], self.ema_schedule(step)
    )
    return params, model_state | {'ema_params': ema_params}


def make(
  config: Config, *, encoder, axis_name, num_steps, batch_size, **context
) -> All4One:
  """Builds All4One around `encoder`.

  Raises:
    ValueError: a queue that whole batches do not fill.
  """
  del context
  _queue.check(config.queue_size, batch_size)
  hidden, out = config.projector_hidden, config.projector_out
  projector = heads.MLP(
    hidden=(hidden, hidden), out=out, norm_last=True, axis_name=axis_name
  )
  predictor, centroid_predictor = (
    heads.MLP(hidden=(config.predictor_hidden,), out=out, axis_name=axis_name)
    for _ in range(2)
  )
  transformer = heads.CentroidTransformer(
    config.transformer_layers, config.transformer_heads, config.dropout
  )
  network = Network(encoder, projector, predictor, centroid_predictor)
  return All4One(config, network, transformer, axis_name, num_steps)
