"""VICReg, Bardes et al. 2022, https://arxiv.org/abs/2105.04906."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp

from radio_ssl.models import heads
from radio_ssl.objectives import _forward, _moments, barlow_twins, base

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of VICReg.

  Attributes:
    invariance_weight: lambda of the paper, >= 0.
    variance_weight: mu of the paper, >= 0. The authors' code has half of the
      sum in eq. (6), which is 12.5 here.
    covariance_weight: nu of the paper, >= 0.
    target_std: of each feature, below which it is pushed up; gamma, > 0.
    epsilon: added to variances under the root, > 0.
    projector_hidden: width of the two hidden layers of the projector, the
      paper's expander; it has 8192, solo-learn 2048 for a ResNet-18.
    projector_out: length of z; the paper has 8192, solo-learn 2048.
  """

  invariance_weight: float = 25.0
  variance_weight: float = 25.0
  covariance_weight: float = 1.0
  target_std: float = 1.0
  epsilon: float = 1e-4
  projector_hidden: int = 2048
  projector_out: int = 2048

  def __post_init__(self):
    base.check_least(
      self, 0, 'invariance_weight', 'variance_weight', 'covariance_weight'
    )
    base.check_positive(self, 'target_std', 'epsilon')
    base.check_least(self, 1, 'projector_hidden', 'projector_out')


def invariance(z: Array) -> Array:
  """Squared distance of two views, s of eq. (5) of arXiv:2105.04906, over D.

  The mean over features is that of the paper's algorithm 1; eq. (5) has their
  sum, for which lambda = 25 would be far too much.

  Args:
    z: projections, [2, B, D].

  Returns:
    A scalar >= 0, the mean over this device's B rows and D features.
  """
  chex.assert_shape(z, (2, None, None))
  return jnp.mean((z[0] - z[1]) ** 2)


def covariance_matrix(z: Array, axis_name: str | None = None) -> Array:
  """C(Z), eq. (3) of arXiv:2105.04906, over the global batch.

  Args:
    z: projections, [..., B, D]; more than one row in the global batch.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    [..., D, D], with 1 / (n - 1); the same on every device.
  """
  num_devices = 1 if axis_name is None else jax.lax.axis_size(axis_name)
  count = z.shape[-2] * num_devices
  centred = _moments.centred(z, axis_name)
  matrix = _moments.products(centred, centred, axis_name)
  return matrix * (count / (count - 1))


def variance_hinge(
  covariance: Array, *, target_std: float, epsilon: float
) -> Array:
  """How far features are from varying enough, v of eqs. (1) and (2).

  Args:
    covariance: [..., D, D]; the variances are its diagonal.
    target_std: gamma of the paper.
    epsilon: > 0, for a finite gradient at variance 0.

  Returns:
    [...], in [0, target_std], the mean over features.
  """
  variance = jnp.diagonal(covariance, axis1=-2, axis2=-1)
  std = jnp.sqrt(variance + epsilon)
  return jnp.mean(jnp.maximum(0, target_std - std), axis=-1)


def covariance_penalty(covariance: Array) -> Array:
  """Squared covariances of different features, c of eq. (4).

  Args:
    covariance: [..., D, D].

  Returns:
    [...], >= 0: the sum of the entries off the diagonal, over D.
  """
  length = covariance.shape[-1]
  off_diagonal = jnp.broadcast_to(
    ~jnp.eye(length, dtype=bool), covariance.shape
  )
  excess = jnp.sum(covariance**2, axis=(-2, -1), where=off_diagonal)
  return excess / length


@dataclasses.dataclass(frozen=True)
class VICReg:
  """The objective; one forward per view, as in the paper's algorithm 1."""

  config: Config
  network: barlow_twins.Network
  axis_name: str | None
  views: ClassVar[Mapping[str, int]] = {'global': 2}

  def init(self, rng: Array, batch: Mapping):
    """Parameters and batch statistics of encoder and projector."""
    variables = self.network.init(rng, batch['views']['global'][0])
    return variables['params'], {'batch_stats': variables['batch_stats']}

  def loss(self, params, model_state, batch, *, step, rng):
    """Eq. (6): the weighted terms, of which two are summed over both views."""
    del step, rng
    config = self.config
    (features, z), batch_stats = _forward.each_view(
      self.network, params, model_state['batch_stats'], batch['views']['global']
    )
    with jax.default_matmul_precision('highest'):
      covariance = covariance_matrix(z, self.axis_name)
    hinge = variance_hinge(
      covariance, target_std=config.target_std, epsilon=config.epsilon
    )
    terms = {
      'invariance': invariance(z),
      'variance': jnp.sum(hinge),
      'covariance': jnp.sum(covariance_penalty(covariance)),
    }
    loss = sum(
      getattr(config, f'{name}_weight') * term for name, term in terms.items()
    )
    metrics = {f'{name}_loss': term for name, term in terms.items()}
    features = features.reshape(-1, features.shape[-1])
    return base.LossOutput(
      loss, {'batch_stats': batch_stats}, metrics, features
    )

  def after_update(self, old_params, params, model_state, step):
    """Nothing to do: VICReg keeps no moving average."""
    del old_params, step
    return params, model_state


def make(
  config: Config, *, encoder, axis_name, batch_size, **context
) -> VICReg:
  """Builds VICReg around `encoder`.

  Raises:
    ValueError: a batch that has no variance.
  """
  del context
  if batch_size < 2:
    raise ValueError(
      f'config.batch_size is {batch_size}; vicreg wants 2 or more: one image '
      'has no variance.'
    )
  hidden = config.projector_hidden
  projector = heads.MLP(
    hidden=(hidden, hidden),
    out=config.projector_out,
    use_bias=False,
    use_bias_last=False,
    axis_name=axis_name,
  )
  return VICReg(config, barlow_twins.Network(encoder, projector), axis_name)
