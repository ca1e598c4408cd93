"""Optimisers by name, all of them optax's, with the exclusions of the papers.

Biases and normalisation parameters, the arrays with fewer than two axes, get no
weight decay and, in LARS, no layer-wise adaptation (SimCLR, section 2.2;
BYOL, section 3.3).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

# Of the weights, in place of an optimiser's own.
Decay = float | optax.Schedule | None


def _is_kernel(params) -> Any:
  return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


@dataclasses.dataclass(frozen=True)
class Lars:
  """LARS, You et al. 2017, https://arxiv.org/abs/1708.03888.

  Attributes:
    lr: per 256 images of the batch.
    weight_decay: L2, added to the gradient before the adaptation.
    momentum: in [0, 1).
    trust_coefficient: eta of the paper, eq. (6).
    clip: no array moves faster than at `lr` itself, as in LARC (NVIDIA's apex)
      and the radio benchmark; without it the local rate multiplies `lr`.
  """

  lr: float = 0.3
  weight_decay: float = 1e-4
  momentum: float = 0.9
  trust_coefficient: float = 0.02
  clip: bool = False

  def make(
    self, lr_schedule: optax.Schedule, weight_decay: Decay = None
  ) -> optax.GradientTransformation:
    """The transformation under schedules; `weight_decay` None is the field."""
    decay = self.weight_decay if weight_decay is None else weight_decay
    if self.clip:
      return optax.chain(
        optax.add_decayed_weights(decay, _is_kernel),
        optax.masked(
          _clipped_trust(self.trust_coefficient, lr_schedule), _is_kernel
        ),
        optax.sgd(lr_schedule, momentum=self.momentum),
      )
    return optax.lars(
      lr_schedule,
      weight_decay=decay,
      weight_decay_mask=_is_kernel,
      trust_coefficient=self.trust_coefficient,
      trust_ratio_mask=_is_kernel,
      momentum=self.momentum,
    )


def _clipped_trust(
  coefficient: float, lr_schedule: optax.Schedule
) -> optax.GradientTransformation:
  """Scales each update u of weights w by min(coefficient |w| / |u| / lr, 1)."""

  def init(params):
    del params
    return optax.ScaleByScheduleState(count=jnp.zeros([], jnp.int32))

  def update(updates, state, params):
    lr = lr_schedule(state.count)

    def scaled(u, w):
      rate, most = coefficient * jnp.linalg.norm(w), lr * jnp.linalg.norm(u)
      # Weights of zero would never move; a rate above lr, and lr = 0, are
      # clipped.
      free = (rate == 0) | (rate >= most)
      return u * jnp.where(free, 1, rate / jnp.where(most > 0, most, 1))

    return jax.tree.map(scaled, updates, params), optax.ScaleByScheduleState(
      count=state.count + 1
    )

  return optax.GradientTransformation(init, update)


@dataclasses.dataclass(frozen=True)
class Sgd:
  """SGD with momentum; fields as in `Lars`."""

  lr: float = 0.3
  weight_decay: float = 1e-4
  momentum: float = 0.9

  def make(
    self, lr_schedule: optax.Schedule, weight_decay: Decay = None
  ) -> optax.GradientTransformation:
    """The transformation under schedules; `weight_decay` None is the field."""
    decay = self.weight_decay if weight_decay is None else weight_decay
    return optax.chain(
      optax.add_decayed_weights(decay, _is_kernel),
      optax.sgd(lr_schedule, momentum=self.momentum),
    )


@dataclasses.dataclass(frozen=True)
class Adam:
  """Adam, Kingma & Ba 2015, https://arxiv.org/abs/1412.6980.

  Attributes:
    lr: per 256 images of the batch.
    weight_decay: L2, added to the gradient.
    b1: decay of the first moment.
    b2: decay of the second moment.
  """

  lr: float = 1e-3
  weight_decay: float = 0.0
  b1: float = 0.9
  b2: float = 0.999

  def make(
    self, lr_schedule: optax.Schedule, weight_decay: Decay = None
  ) -> optax.GradientTransformation:
    """The transformation under schedules; `weight_decay` None is the field."""
    decay = self.weight_decay if weight_decay is None else weight_decay
    return optax.chain(
      optax.add_decayed_weights(decay, _is_kernel),
      optax.adam(lr_schedule, b1=self.b1, b2=self.b2),
    )


@dataclasses.dataclass(frozen=True)
class AdamW:
  """Adam with decoupled decay, Loshchilov & Hutter 2019, arXiv:1711.05101.

  Attributes:
    lr: per 256 images of the batch.
    weight_decay: times the learning rate, subtracted from the weights.
    b1: decay of the first moment.
    b2: decay of the second moment.
  """

  lr: float = 2e-3
  weight_decay: float = 1e-4
  b1: float = 0.9
  b2: float = 0.999

  def make(
    self, lr_schedule: optax.Schedule, weight_decay: Decay = None
  ) -> optax.GradientTransformation:
    """The transformation under schedules; `weight_decay` None is the field."""
    decay = self.weight_decay if weight_decay is None else weight_decay
    return optax.adamw(
      lr_schedule,
      b1=self.b1,
      b2=self.b2,
      weight_decay=decay,
      mask=_is_kernel,
    )


OPTIMIZERS: Mapping[str, Callable] = {
  'adam': Adam,
  'adamw': AdamW,
  'lars': Lars,
  'sgd': Sgd,
}


def kind(name: str) -> Callable:
  """The optimiser `name`; ValueError lists what there is."""
  if name not in OPTIMIZERS:
    raise ValueError(
      f'No optimizer named {name!r}; there are: {", ".join(OPTIMIZERS)}.'
    )
  return OPTIMIZERS[name]


def parse(config: Mapping[str, Any]) -> Lars | Sgd | Adam | AdamW:
  """Reads {'name': ..., fields}.

  Raises:
    ValueError: unknown name, fields that are not exactly the optimiser's, or a
      value that is no number.
  """
  fields = dict(config)
  name = fields.pop('name', None)
  optimizer = kind(name)
  known = {field.name for field in dataclasses.fields(optimizer)}
  if set(fields) != known:
    raise ValueError(
      f'config.optimizer has the fields {sorted(fields)}; {name} has '
      f"{sorted(known)}. Use base.optimizer('{name}') in a config file."
    )
  for field, value in fields.items():
    if not isinstance(value, (int, float)):
      raise ValueError(
        f'config.optimizer.{field} is {value!r}; wanted a number.'
      )
  return optimizer(**fields)


def make(
  config: Mapping[str, Any],
  lr_schedule: optax.Schedule,
  *,
  peak: float,
  weight_decay: Decay = None,
) -> optax.GradientTransformation:
  """The optimiser of a run, with branches that have their own learning rate.

  Args:
    config: of the run, of which three fields are read: `optimizer`, as in
      `parse`; `constant_lr`, branches of `params` that have `peak` at every
      step; `lr_factors`, what the learning rate of a branch is multiplied by,
      >= 0. A branch may be in both.
    lr_schedule: of the branches that are in neither.
    peak: the highest value of `lr_schedule`.
    weight_decay: of all branches; None takes that of `optimizer`.

  Returns:
    That of `parse` where no branch is named; else one for each of them and one
    for the rest. `init` raises ValueError for a branch that `params` lack.

  Raises:
    ValueError: a factor that is no number >= 0.
  """
  optimizer = parse(config['optimizer'])
  constant, factors = config['constant_lr'], dict(config['lr_factors'])
  named = sorted({*constant, *factors})
  if not named:
    return optimizer.make(lr_schedule, weight_decay)

  def own_schedule(branch):
    factor = factors.get(branch, 1)
    if not isinstance(factor, (int, float)) or not factor >= 0:
      raise ValueError(
        f'config.lr_factors.{branch} is {factor!r}; wanted a number >= 0.'
      )
    schedule = (lambda _: peak) if branch in constant else lr_schedule
    return lambda step: factor * schedule(step)

  def labels(params):
    for branch in named:
      if branch not in params:
        raise ValueError(
          f'config.constant_lr or config.lr_factors names {branch!r}; the '
          f'parameters have the branches {sorted(params)}.'
        )
    return {b: b if b in named else 'the_rest' for b in params}

  groups = {b: optimizer.make(own_schedule(b), weight_decay) for b in named}
  groups['the_rest'] = optimizer.make(lr_schedule, weight_decay)
  return optax.partition(groups, labels)
