"""MoCo v3, Chen et al. 2021, https://arxiv.org/abs/2104.02057."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax

from radio_ssl.models import heads
from radio_ssl.objectives import _contrast, _forward, _momentum, base, byol

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of MoCo v3.

  Attributes:
    temperature: of the softmax over similarities, > 0. The authors' code has
      1.0 for ResNets and 0.2 for ViTs.
    projector_hidden: width of the projector's two hidden layers.
    projector_out: length of z and of p.
    predictor_hidden: width of the predictor's hidden layer.
    ema_decay: of the moving average at step 0, in [0, 1]; it rises to 1 on a
      half cosine.
    freeze_patch_embedding: whether a ViT's projection of patches stays the
      random one it starts with (section 4.2 of the paper).
  """

  temperature: float = 1.0
  projector_hidden: int = 4096
  projector_out: int = 256
  predictor_hidden: int = 4096
  ema_decay: float = 0.99
  freeze_patch_embedding: bool = False

  def __post_init__(self):
    _momentum.check_decay(self.ema_decay)
    base.check_positive(self, 'temperature')
    base.check_least(
      self, 1, 'projector_hidden', 'projector_out', 'predictor_hidden'
    )


def symmetric_contrast(
  p: Array, keys: Array, *, temperature: float, axis_name: str | None = None
) -> tuple[Array, Array]:
  """Predictions must find the keys of the other view, algorithm 1.

  Eq. (1) for both orders of the views, each times twice the temperature, added.

  Args:
    p: predictions from both views, [2, B, D], any norm.
    keys: of the moving average, [2, B, D], any norm; no gradient flows into
      them.
    temperature: > 0.
    axis_name: the mapped axis whose devices hold the other rows, or None.

  Returns:
    The loss, against the keys of the global batch, and the share of predictions
    that find their own first, in [0, 1]; both scalars, means over this device's
    rows.
  """
  mean, found = _contrast.across_views(
    p,
    jax.lax.stop_gradient(keys),
    temperature=temperature,
    axis_name=axis_name,
  )
  return 4 * temperature * mean, found


@dataclasses.dataclass(frozen=True)
class MoCoV3:
  """The objective; one forward per view and network, as in the paper.

  The moving average sees the batch statistics of its own forward. Its running
  statistics follow that forward; only its parameters are averaged.
  """

  config: Config
  network: byol.Network
  axis_name: str | None
  num_steps: int
  views: ClassVar[Mapping[str, int]] = {'global': 2}

  def ema_schedule(self, step: Array) -> Array:
    """Decay of the moving average at `step`."""
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
    """The symmetric loss of algorithm 1."""
    del rng
    views = batch['views']['global']
    (features, p), batch_stats = _forward.each_view(
      self.network, params, model_state['batch_stats'], views
    )
    (_, keys), ema_batch_stats = _forward.each_view(
      self.network,
      model_state['ema_params'],
      model_state['ema_batch_stats'],
      views,
      method='project',
    )
    with jax.default_matmul_precision('highest'):
      loss, found = symmetric_contrast(
        p,
        keys,
        temperature=self.config.temperature,
        axis_name=self.axis_name,
      )
    model_state = model_state | {
      'batch_stats': batch_stats,
      'ema_batch_stats': ema_batch_stats,
    }
    metrics = {
      'contrastive_accuracy': found,
      'ema_decay': self.ema_schedule(step),
    }
    features = features.reshape(-1, features.shape[-1])
    return base.LossOutput(loss, model_state, metrics, features)

  def after_update(self, old_params, params, model_state, step):
    """Keeps the patches' projection where it is frozen; moves the average."""
    if self.config.freeze_patch_embedding:
      # A gradient of zero would not do: weight decay moves it too.
      patches = old_params['encoder']['patches']
      params = {**params, 'encoder': {**params['encoder'], 'patches': patches}}
    ema_params = _momentum.moved(
      params, model_state['ema_params'], self.ema_schedule(step)
    )
    return params, model_state | {'ema_params': ema_params}


def make(config: Config, *, encoder, axis_name, num_steps, **context) -> MoCoV3:
  """Builds MoCo v3 around `encoder`.

  The heads are those of the paper. Its authors' code has one hidden layer less
  in the projector, and no BatchNorm after the predictor, for ResNets.

  Raises:
    ValueError: patches that are to be frozen of an encoder without them.
  """
  del context
  if config.freeze_patch_embedding and not hasattr(encoder, 'patch_size'):
    raise ValueError(
      'objective.freeze_patch_embedding is True, and config.encoder, a '
      f'{type(encoder).__name__}, has no patches; set it to False, or take '
      'vit_tiny, say.'
    )
  projector, predictor = (
    heads.MLP(
      hidden=hidden,
      out=config.projector_out,
      norm_last=True,
      scale_last=False,
      use_bias=False,
      use_bias_last=False,
      axis_name=axis_name,
    )
    for hidden in (2 * (config.projector_hidden,), (config.predictor_hidden,))
  )
  network = byol.Network(encoder, projector, predictor)
  return MoCoV3(config, network, axis_name, num_steps)
