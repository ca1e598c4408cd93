"""Optimisers by name, all of them optax's, with the exclusions of the papers.

Biases and normalisation parameters, the arrays with fewer than two axes, get no
weight decay and, in LARS, no layer-wise adaptation (SimCLR, section 2.2;
BYOL, section 3.3).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax


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
  """

  lr: float = 0.3
  weight_decay: float = 1e-4
  momentum: float = 0.9
  trust_coefficient: float = 0.02

  def make(self, lr_schedule: optax.Schedule) -> optax.GradientTransformation:
    """The transformation under `lr_schedule`."""
    return optax.lars(
      lr_schedule,
      weight_decay=self.weight_decay,
      weight_decay_mask=_is_kernel,
      trust_coefficient=self.trust_coefficient,
      trust_ratio_mask=_is_kernel,
      momentum=self.momentum,
    )


@dataclasses.dataclass(frozen=True)
class Sgd:
  """SGD with momentum; fields as in `Lars`."""

  lr: float = 0.3
  weight_decay: float = 1e-4
  momentum: float = 0.9

  def make(self, lr_schedule: optax.Schedule) -> optax.GradientTransformation:
    """The transformation under `lr_schedule`."""
    return optax.chain(
      optax.add_decayed_weights(self.weight_decay, _is_kernel),
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

  def make(self, lr_schedule: optax.Schedule) -> optax.GradientTransformation:
    """The transformation under `lr_schedule`."""
    return optax.chain(
      optax.add_decayed_weights(self.weight_decay, _is_kernel),
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

  def make(self, lr_schedule: optax.Schedule) -> optax.GradientTransformation:
    """The transformation under `lr_schedule`."""
    return optax.adamw(
      lr_schedule,
      b1=self.b1,
      b2=self.b2,
      weight_decay=self.weight_decay,
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
