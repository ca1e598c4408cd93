"""What an encoder is, and how a config names one.

An encoder is a Linen module in a file of this folder that lists it in
`ENCODERS`, a dict from name to constructor. Files are found by walking the
folder: a new encoder is one new file. One whose tokens are patches has the
field `patch_size`, their side in pixels, and projects them by its layer
`patches`.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

import radio_ssl.models

_DTYPES = ('float32', 'bfloat16', 'float64')


class Features(NamedTuple):
  """What every encoder returns.

  Attributes:
    pooled: one vector an image, [B, D].
    tokens: one vector a patch, [B, N, D]; None where there are no patches.
  """

  pooled: Array
  tokens: Array | None


def _constructors() -> dict[str, Callable[..., nn.Module]]:
  """Every encoder of the folder, by name."""
  found = {}
  for entry in pkgutil.iter_modules(radio_ssl.models.__path__):
    module = importlib.import_module(f'radio_ssl.models.{entry.name}')
    found |= getattr(module, 'ENCODERS', {})
  return found


def available() -> tuple[str, ...]:
  """Names that `make_encoder` knows."""
  return tuple(sorted(_constructors()))


def _constructor(name: str) -> Callable[..., nn.Module]:
  constructors = _constructors()
  if name not in constructors:
    raise ValueError(
      f'No encoder named {name!r}; there are: {", ".join(available())}.'
    )
  return constructors[name]


def defaults(name: str) -> dict[str, Any]:
  """The fields that encoder `name` takes in a config, with their defaults.

  Raises:
    ValueError: there is no encoder of that name.
  """
  parameters = inspect.signature(_constructor(name)).parameters
  return {k: p.default for k, p in parameters.items() if k != 'axis_name'}


def make_encoder(
  config: Mapping[str, Any], *, axis_name: str | None = None
) -> nn.Module:
  """Builds the encoder that a config names.

  Args:
    config: `name`, and any of the fields in `defaults(name)`.
    axis_name: the pmap axis over which BatchNorm is synchronised.

  Returns:
    A module called as `(images [B, H, W, C], *, train, keep=None, mask=None)`
    that returns `Features`.

  Raises:
    ValueError: unknown name, field or value; the message lists what there is.
  """
  fields = dict(config)
  name = fields.pop('name', None)
  constructor, known = _constructor(name), defaults(name)
  unknown = sorted(set(fields) - set(known))
  if unknown:
    raise ValueError(
      f'Encoder {name!r} has no field {", ".join(map(repr, unknown))}; '
      f'there are: {", ".join(sorted(known))}.'
    )
  return constructor(**fields, axis_name=axis_name)


def activation_dtype(name: str) -> jnp.dtype:
  """The `dtype` of an encoder's config; ValueError lists what there is."""
  if name not in _DTYPES:
    raise ValueError(f'No dtype {name!r}; there are: {", ".join(_DTYPES)}.')
  return jnp.dtype(name)


def standardised(
  images: Array, mean: Sequence[float], std: Sequence[float]
) -> Array:
  """(images - mean) / std, as weights from elsewhere may want it.

  Args:
    images: [B, H, W, C].
    mean: of each channel, or one for all.
    std: likewise, > 0.
  """
  if all(m == 0 for m in mean) and all(s == 1 for s in std):
    return images
  mean, std = (jnp.asarray(x, images.dtype) for x in (mean, std))
  return (images - mean[None, None, None]) / std[None, None, None]


def check_size(encoder: nn.Module, size_pix: int, what: str) -> None:
  """Refuses images that the encoder's patches do not tile.

  Args:
    encoder: one without patches takes any size.
    size_pix: side of the images.
    what: names it in the message.

  Raises:
    ValueError: names both sizes.
  """
  patch_size = getattr(encoder, 'patch_size', 1)
  if size_pix % patch_size:
    raise ValueError(
      f'{what} is {size_pix}; wanted a multiple of encoder.patch_size, which '
      f'is {patch_size}.'
    )
