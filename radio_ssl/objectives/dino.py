"""DINO, Caron et al. 2021, https://arxiv.org/abs/2104.14294."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from radio_ssl.models import heads
from radio_ssl.objectives import _assign, _momentum, base

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of DINO.

  Attributes:
    projector_hidden: width of the projector's two hidden layers. They have
      BatchNorm and ReLU, as the benchmark's for ResNets; the paper's, for ViTs,
      have GELU alone.
    projector_out: length of z, the paper's bottleneck.
    num_prototypes: length of the outputs.
    local_views: small views beside the two global ones, which the moving
      average does not see; they need `config.views['local']`.
    student_temperature: of the network that is trained, > 0.
    teacher_temperature: of the moving average, > 0, once it has risen ...
    first_teacher_temperature: ... from this one, linearly ...
    teacher_warmup_epochs: ... over so many epochs.
    center_decay: of the moving average of the outputs' mean, in [0, 1].
    freeze_prototypes_epochs: before these are over the prototypes stay put.
    ema_decay: of the moving average at step 0, in [0, 1]; it rises to 1.
  """

  projector_hidden: int = 2048
  projector_out: int = 256
  num_prototypes: int = 4096
  local_views: int = 0
  student_temperature: float = 0.1
  teacher_temperature: float = 0.07
  first_teacher_temperature: float = 0.04
  teacher_warmup_epochs: int = 50
  center_decay: float = 0.9
  freeze_prototypes_epochs: int = 1
  ema_decay: float = 0.9995

  def __post_init__(self):
    _momentum.check_decay(self.ema_decay)
    base.check_positive(
      self,
      'student_temperature',
      'teacher_temperature',
      'first_teacher_temperature',
    )
    if not 0 <= self.center_decay <= 1:
      raise ValueError(
        f'objective.center_decay is {self.center_decay}; wanted a value in '
        '[0, 1].'
      )
    base.check_least(self, 2, 'num_prototypes')
    base.check_least(self, 1, 'projector_hidden', 'projector_out')
    base.check_least(
      self,
      0,
      'local_views',
      'teacher_warmup_epochs',
      'freeze_prototypes_epochs',
    )


def targets(outputs: Array, center: Array, temperature: Array) -> Array:
  """What the moving average assigns, centred and sharpened: section 3.1.

  Args:
    outputs: of the moving average, [..., K].
    center: [K].
    temperature: > 0.

  Returns:
    [..., K], each row a distribution; no gradient flows through it.
  """
  center = jnp.broadcast_to(center, outputs.shape)
  logits = (outputs - center) / temperature
  return jax.lax.stop_gradient(jax.nn.softmax(logits, axis=-1))


class Prototypes(nn.Module):
  """A linear map whose K columns have unit length: weight normalisation.

  The paper's last layer with its gains fixed at 1.

  Attributes:
    count: K.
  """

  count: int

  @nn.compact
  def __call__(self, z: Array) -> Array:
    """Cosines between z [B, D] and the prototypes, [B, K]."""
    shape = (z.shape[-1], self.count)
    kernel = self.param('kernel', nn.initializers.normal(1.0), shape)
    unit = base.l2_normalize(kernel.T).T.astype(z.dtype)
    return base.l2_normalize(z) @ unit


class Network(nn.Module):
  """Encoder, projector, prototypes: images -> (features, outputs)."""

  encoder: nn.Module
  projector: nn.Module
  prototypes: Prototypes

  def __call__(self, images: Array) -> tuple[Array, Array]:
    """Features and outputs of images [B, H, W, C]."""
    features = self.encoder(images, train=True).pooled
    z = self.projector(features, train=True)
    with jax.default_matmul_precision('highest'):
      return features, self.prototypes(z)


@dataclasses.dataclass(frozen=True)
class DINO:
  """The objective; one forward per size of view.

  The paper's code joins the sizes before the projector: the same there, where
  it has no BatchNorm. Here each size is normalised by its own statistics.

  The moving average has batch statistics of its own forward; its running
  statistics follow that, and its parameters alone are averaged.
  """

  config: Config
  network: Network
  axis_name: str | None
  num_steps: int
  steps_per_epoch: int

  @property
  def views(self) -> Mapping[str, int]:
    """Two global views, and the local ones where there are any."""
    local = self.config.local_views
    return {'global': 2} | ({'local': local} if local else {})

  def ema_schedule(self, step: Array) -> Array:
    """Decay of the moving average at `step`."""
    return _momentum.rising_decay(
      step, start=self.config.ema_decay, num_steps=self.num_steps
    )

  def temperature_schedule(self, step: Array) -> Array:
    """Temperature of the moving average at `step`."""
    config = self.config
    steps = config.teacher_warmup_epochs * self.steps_per_epoch
    progress = jnp.minimum(step / max(steps, 1), 1) if steps else 1.0
    rise = config.teacher_temperature - config.first_teacher_temperature
    return config.first_teacher_temperature + progress * rise

  def init(self, rng: Array, batch: Mapping):
    """Parameters, their copy, and a centre of zeros."""
    variables = self.network.init(rng, batch['views']['global'][0])
    params = variables['params']
    batch_stats = variables.get('batch_stats', {})
    return params, {
      'batch_stats': batch_stats,
      'center': jnp.zeros(self.config.num_prototypes),
      **_momentum.copies(params, batch_stats),
    }

  def _forward(self, params, batch_stats, views: Array):
    """Features, outputs [V, B, K] and statistics of views of one size."""
    (features, outputs), mutated = self.network.apply(
      {'params': params, 'batch_stats': batch_stats},
      views.reshape(-1, *views.shape[2:]),
      mutable=['batch_stats'],
    )
    outputs = outputs.reshape(*views.shape[:2], -1)
    return features, outputs, mutated.get('batch_stats', {})

  def loss(self, params, model_state, batch, *, step, rng):
    """Every view predicts what the average assigns to the other global ones."""
    del rng
    batch_stats, features, outputs = model_state['batch_stats'], [], []
    for group in self.views:
      feature, output, batch_stats = self._forward(
        params, batch_stats, batch['views'][group]
      )
      features.append(feature)
      outputs.append(output)
    _, taught, ema_batch_stats = self._forward(
      model_state['ema_params'],
      model_state['ema_batch_stats'],
      batch['views']['global'],
    )
    temperature = self.temperature_schedule(step)
    with jax.default_matmul_precision('highest'):
      target = targets(taught, model_state['center'], temperature)
      loss = _assign.cross_entropy(
        target, jnp.concatenate(outputs), self.config.student_temperature
      )
    model_state = model_state | {
      'batch_stats': batch_stats,
      'ema_batch_stats': ema_batch_stats,
      'center': self._next_center(model_state['center'], taught),
    }
    metrics = {
      'ema_decay': self.ema_schedule(step),
      'teacher_temperature': jnp.asarray(temperature),
      **_assign.entropies(target, self.axis_name),
    }
    # Views of one size come in one batch: those are what monitors compare.
    return base.LossOutput(loss, model_state, metrics, features[0])

  def _next_center(self, center: Array, outputs: Array) -> Array:
    """Eq. (4): the average of the outputs' mean over the global batch."""
    decay = self.config.center_decay
    outputs = base.gather_rows(outputs, self.axis_name, axis=1)
    mean = jnp.mean(jax.lax.stop_gradient(outputs), axis=(0, 1))
    return decay * center + (1 - decay) * mean

  def after_update(self, old_params, params, model_state, step):
    """Keeps the prototypes at first; then moves the average."""
    frozen = step < self.config.freeze_prototypes_epochs * self.steps_per_epoch
    # A gradient of zero would not do: weight decay moves them too.
    prototypes = jax.tree.map(
      lambda old, new: jnp.where(frozen, old, new),
      old_params['prototypes'],
      params['prototypes'],
    )
    params = {**params, 'prototypes': prototypes}
    ema_params = _momentum.moved(
      params, model_state['ema_params'], self.ema_schedule(step)
    )
    return params, model_state | {'ema_params': ema_params}


def make(
  config: Config, *, encoder, axis_name, num_steps, steps_per_epoch, **context
) -> DINO:
  """Builds DINO around `encoder`."""
  del context
  hidden = config.projector_hidden
  projector = heads.MLP(
    hidden=(hidden, hidden), out=config.projector_out, axis_name=axis_name
  )
  network = Network(encoder, projector, Prototypes(config.num_prototypes))
  return DINO(config, network, axis_name, num_steps, steps_per_epoch)
