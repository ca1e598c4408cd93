"""W-MSE, Ermolov et al. 2021, https://arxiv.org/abs/2007.06346.

Views of one image are drawn together after each group of embeddings has been
whitened: its mean is 0 and its covariance the identity, so that they cannot all
fall on one point, and no negatives are needed.
"""

import dataclasses
import itertools
from collections.abc import Mapping

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from radio_ssl.models import heads
from radio_ssl.objectives import base

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of W-MSE.

  Attributes:
    num_views: of each image, >= 2; the paper has 2 and 4.
    projector_hidden: width of the projector's hidden layer.
    projector_out: length of z.
    whitening_size: rows of a whitening group, of which whole ones make up the
      global batch; more than `projector_out`, the paper has twice as many.
    whitening_iterations: how often the batch is dealt into groups anew; the
      loss is the mean.
    whitening_eps: added to the diagonal of the covariance, in units of its
      mean, in (0, 1). The paper has 0; a singular covariance then gives NaN.
  """

  num_views: int = 2
  projector_hidden: int = 1024
  projector_out: int = 64
  whitening_size: int = 128
  whitening_iterations: int = 1
  whitening_eps: float = 1e-8

  def __post_init__(self):
    base.check_least(self, 2, 'num_views')
    base.check_least(
      self,
      1,
      'projector_hidden',
      'projector_out',
      'whitening_size',
      'whitening_iterations',
    )
    if not 0 < self.whitening_eps < 1:
      raise ValueError(
        f'objective.whitening_eps is {self.whitening_eps}; wanted within '
        '(0, 1).'
      )


def whiten(v: Array, *, eps: float) -> Array:
  """W_V (v - mu_V) with W_V^T W_V = Sigma_V^-1, section 3 of arXiv:2007.06346.

  W_V is the inverse of the Cholesky factor of the covariance, as in the paper;
  it is lower triangular, unlike those of PCA and ZCA. Sigma_V, with
  1 / (G - 1), has eps (m + 1e-6) I added, m being the mean of its diagonal; the
  1e-6 alone is left where all rows are the same: then the result is 0, and its
  gradient finite.

  The factor is read off a QR decomposition of the rows with those of the ridge
  below them. Products of rows lose in float32 what is 1e-7 of the variance; a
  ridge that makes up for it is one that networks learn to hide under, all but
  one dimension of z, until whitening leaves them collapsed.

  Args:
    v: embeddings, [..., G, D], G > D; each group is whitened by itself.
    eps: > 0; 0 where no covariance is singular.

  Returns:
    [..., G, D].
  """
  centred = v - jnp.mean(v, axis=-2, keepdims=True)
  count, length = v.shape[-2:]
  variance = jnp.sum(centred**2, axis=(-2, -1)) / (length * (count - 1)) + 1e-6
  ridge = jnp.einsum(
    '...,ij->...ij', jnp.sqrt(eps * variance), jnp.eye(length, dtype=v.dtype)
  )
  rows = jnp.concatenate([centred / (count - 1) ** 0.5, ridge], axis=-2)
  factor = jnp.linalg.qr(rows, mode='r')
  # Cholesky's diagonal is positive, which makes views agree on the signs.
  signs = jnp.sign(jnp.diagonal(factor, axis1=-2, axis2=-1))
  factor = factor * signs[..., None]
  return jax.lax.linalg.triangular_solve(factor, centred, left_side=False)


def w_mse(
  z: Array,
  rng: Array,
  *,
  whitening_size: int,
  whitening_iterations: int,
  whitening_eps: float,
  axis_name: str | None = None,
) -> tuple[Array, Array]:
  """The loss of section 3 of arXiv:2007.06346 with the normalised distance.

  The images of the *global* batch are dealt into groups; each view of a group
  is whitened by itself, as in the authors' code, and the squared distance of
  whitened rows at unit length, 2 - 2 cos, is averaged over all pairs of views.
  Gradients flow into both views of a pair and through the covariance.

  Args:
    z: embeddings, [V, B, D].
    rng: deals the groups; the same on every device.
    whitening_size: images in a group; divides the global batch.
    whitening_iterations: dealings to average over.
    whitening_eps: of `whiten`.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    The loss in [0, 4], the mean over this device's B images; and the trace of
    the covariance of whitened groups in [0, D], of the global batch: D where
    whitening does all that it should, less where the ridge is seen.
  """
  chex.assert_rank(z, 3)
  num_rows = z.shape[1]
  z = base.gather_rows(z, axis_name, axis=1)
  num_views, num_global, length = z.shape
  pairs = list(itertools.combinations(range(num_views), 2))

  def distances(rng):
    order = jax.random.permutation(rng, num_global)
    groups = z[:, order].reshape(num_views, -1, whitening_size, length)
    white = whiten(groups, eps=whitening_eps)
    trace = jnp.mean(jnp.sum(white**2, axis=(-2, -1))) / (whitening_size - 1)
    white = base.l2_normalize(white).reshape(z.shape)
    squared = [jnp.sum((white[i] - white[j]) ** 2, axis=-1) for i, j in pairs]
    mean = sum(squared) / len(pairs)
    return jnp.zeros_like(mean).at[order].set(mean), trace

  rngs = jax.random.split(rng, whitening_iterations)
  distance, trace = (jnp.mean(x, axis=0) for x in jax.vmap(distances)(rngs))
  first = base.first_row(num_rows, axis_name)
  own = jax.lax.dynamic_slice_in_dim(distance, first, num_rows)
  return jnp.mean(own), trace


class Network(nn.Module):
  """Encoder and projector."""

  encoder: nn.Module
  projector: nn.Module

  def encode(self, images: Array) -> Array:
    """Features [B, D] of images [B, H, W, C]."""
    return self.encoder(images, train=True).pooled

  def project(self, features: Array) -> Array:
    """Embeddings [B, D'] of features [B, D]."""
    return self.projector(features, train=True)

  def __call__(self, images: Array) -> Array:
    """Embeddings of images [B, H, W, C]."""
    return self.project(self.encode(images))


@dataclasses.dataclass(frozen=True)
class WMSE:
  """The objective.

  One forward of the encoder per view, one of the projector over all views, as
  in the authors' code.
  """

  config: Config
  network: Network
  axis_name: str | None

  @property
  def views(self) -> Mapping[str, int]:
    """`num_views` global views."""
    return {'global': self.config.num_views}

  def init(self, rng: Array, batch: Mapping):
    """Parameters and batch statistics of encoder and projector."""
    variables = self.network.init(rng, batch['views']['global'][0])
    return variables['params'], {'batch_stats': variables['batch_stats']}

  def loss(self, params, model_state, batch, *, step, rng):
    """W-MSE between the global views."""
    del step
    config = self.config
    batch_stats = model_state['batch_stats']

    def apply(batch_stats, inputs, method):
      result, mutated = self.network.apply(
        {'params': params, 'batch_stats': batch_stats},
        inputs,
        method=method,
        mutable=['batch_stats'],
      )
      return result, mutated['batch_stats']

    features = []
    for images in batch['views']['global']:
      feature, batch_stats = apply(batch_stats, images, 'encode')
      features.append(feature)
    features = jnp.concatenate(features)
    z, batch_stats = apply(batch_stats, features, 'project')
    z = z.reshape(config.num_views, -1, z.shape[-1])
    with jax.default_matmul_precision('highest'):
      loss, trace = w_mse(
        z,
        rng,
        whitening_size=config.whitening_size,
        whitening_iterations=config.whitening_iterations,
        whitening_eps=config.whitening_eps,
        axis_name=self.axis_name,
      )
    metrics = {'whitened_dimensions': trace}
    return base.LossOutput(
      loss, {'batch_stats': batch_stats}, metrics, features
    )

  def after_update(self, old_params, params, model_state, step):
    """Nothing to do: W-MSE keeps no moving average."""
    del old_params, step
    return params, model_state


def make(config: Config, *, encoder, axis_name, batch_size, **context) -> WMSE:
  """Builds W-MSE around `encoder`.

  Raises:
    ValueError: whitening groups that do not fit the batch or the embedding.
  """
  del context
  size, length = config.whitening_size, config.projector_out
  if size > batch_size or batch_size % size:
    raise ValueError(
      f'objective.whitening_size is {size}, batch_size {batch_size}; wanted a '
      'divisor of it.'
    )
  if size <= length:
    raise ValueError(
      f'objective.whitening_size is {size}, objective.projector_out {length}; '
      'wanted more rows than dimensions.'
    )
  projector = heads.MLP(
    hidden=(config.projector_hidden,), out=length, axis_name=axis_name
  )
  return WMSE(config, Network(encoder, projector), axis_name)
