"""What every self-supervised objective provides, and how one is found.

An objective is a module of this folder, named like the method. It holds
  Config     a frozen dataclass of the method's own fields, with defaults;
  a loss     a pure function of arrays, with its equation;
  make(config, *, encoder, axis_name, num_steps, steps_per_epoch,
       num_examples, batch_size) -> Objective;
  NEEDS_PATCHES = True  where only an encoder with patch tokens will do;
  NEEDS_LABELS = True  where `loss` reads batch['label'].
Nothing else has to be edited to add one.
"""

import dataclasses
import importlib
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

Array = jax.Array
Tree = Any


class LossOutput(NamedTuple):
  """What `Objective.loss` returns.

  Attributes:
    loss: float32 scalar, the mean over this device's rows.
    model_state: the new model state, equal on all devices.
    metrics: scalars to log, this device's means.
    features: [B', D] encoder outputs of this device, for the collapse monitors.
  """

  loss: Array
  model_state: Tree
  metrics: dict[str, Array]
  features: Array


class Objective(Protocol):
  """The contract between a method and the training loop.

  `params` is what the optimiser trains. `model_state` holds the rest under its
  usual names: `batch_stats`, `ema_params`, `ema_batch_stats`, `queue`, ...
  `batch` is `{'views': {group: [V, B, H, W, C]}, 'index': [B], 'row': [B] in
  the global batch}`, and of a labelled data set 'label' [B]: the numbers of the
  classes, -1 where an image has none. With `masks`, 'masks' as well:
  `{group: [V, B, N]}`, of each view its patches in a random order.
  """

  # Number of views in each group that the method wants, {'global': 2}.
  views: Mapping[str, int]
  # Side of the patches in each group of which it hides some, {'global': 8};
  # methods that hide none need not have this.
  masks: Mapping[str, int]

  def init(self, rng: Array, batch: Mapping) -> tuple[Tree, Tree]:
    """Returns (params, model_state); moving averages are copies."""

  def loss(
    self,
    params: Tree,
    model_state: Tree,
    batch: Mapping,
    *,
    step: Array,
    rng: Array,
  ) -> LossOutput:
    """The loss of this device's rows; `rng` is the same on every device."""

  def after_update(
    self, old_params: Tree, params: Tree, model_state: Tree, step: Array
  ) -> tuple[Tree, Tree]:
    """Moving averages and constraints, after the optimiser's update."""


def available() -> list[str]:
  """Names of the objectives in this folder."""
  folder = pathlib.Path(__file__).parent
  names = (path.stem for path in folder.glob('*.py'))
  return sorted(n for n in names if n != 'base' and not n.startswith('_'))


def module(name: str):
  """The module of the objective `name`; ValueError lists what there is."""
  if name not in available():
    raise ValueError(
      f'No objective named {name!r}; there are: {", ".join(available())}.'
    )
  return importlib.import_module(f'{__package__}.{name}')


def parse(config: Mapping[str, Any]) -> tuple[Any, Any]:
  """Splits {'name': ..., fields} into the method's module and its `Config`.

  Raises:
    ValueError: unknown method, or fields that are not exactly the method's.
  """
  fields = dict(config)
  method = module(fields.pop('name', None))
  known = {field.name for field in dataclasses.fields(method.Config)}
  if set(fields) != known:
    raise ValueError(
      f'config.objective has the fields {sorted(fields)}; '
      f'{config["name"]} has {sorted(known)}. To change the method, use '
      f"base.objective('{config['name']}') in a config file, not "
      '--config.objective.name alone.'
    )
  default = dataclasses.asdict(method.Config())
  for field, value in fields.items():
    if value is None and default[field] is not None:
      raise ValueError(f'config.objective.{field} is None; wanted a value.')
  return method, method.Config(**fields)


def make(config: Mapping[str, Any], **context) -> Objective:
  """Builds the objective that `config` ({'name': ..., fields}) describes."""
  method, method_config = parse(config)
  check_encoder(method, context['encoder'])
  return method.make(method_config, **context)


def check_encoder(method, encoder) -> None:
  """Refuses an encoder without the patches that a method's module needs.

  Args:
    method: the module; it needs patches where it sets NEEDS_PATCHES = True.
    encoder: as in `radio_ssl.models.base`.

  Raises:
    ValueError: names both.
  """
  if needs_patches(method) and not hasattr(encoder, 'patch_size'):
    name = method.__name__.rpartition('.')[2]
    raise ValueError(
      f'config.objective.name is {name!r}, which needs patch tokens; '
      f'config.encoder is a {type(encoder).__name__}. Take vit_tiny, say.'
    )


def needs_patches(method) -> bool:
  """Whether a method takes only encoders whose tokens are patches."""
  return getattr(method, 'NEEDS_PATCHES', False)


def check_labels(method, dataset) -> None:
  """Refuses a data set without the labels that a method's module needs.

  Args:
    method: the module; it needs labels where it sets NEEDS_LABELS = True.
    dataset: a `radio_ssl.data.pipeline.DataSet`.

  Raises:
    ValueError: names both.
  """
  if needs_labels(method) and not dataset.label_names:
    name = method.__name__.rpartition('.')[2]
    raise ValueError(
      f'{dataset.directory}: the data set has no labels, which {name!r} of '
      'config.objective.name learns from. Name a labelled one in config.data '
      '(your own: tfds_builders.build image_folder), or take simclr, say.'
    )


def needs_labels(method) -> bool:
  """Whether a method learns from the classes of the images."""
  return getattr(method, 'NEEDS_LABELS', False)


def encoder_variables(
  params: Tree, model_state: Tree, which: str | None = None
) -> dict[str, Tree]:
  """The encoder's variables, as evaluators load them.

  Args:
    params: of the run, with the branch 'encoder'.
    model_state: of the run.
    which: 'online' | 'ema'; None takes the online encoder, which every method
      has and which the papers of SimCLR and BYOL evaluate.

  Returns:
    {'params': ..., 'batch_stats': ...}, the latter {} of an encoder without
    BatchNorm.

  Raises:
    ValueError: 'ema' of a method that keeps no moving average.
  """
  if which in (None, 'online'):
    source, statistics = params, model_state.get('batch_stats', {})
  elif which == 'ema' and 'ema_params' in model_state:
    source = model_state['ema_params']
    statistics = model_state.get('ema_batch_stats', {})
  else:
    raise ValueError(
      f'No {which!r} encoder in this checkpoint; there are: online'
      + (', ema.' if 'ema_params' in model_state else '.')
    )
  return {
    'params': source['encoder'],
    'batch_stats': statistics.get('encoder', {}),
  }


def check_positive(config: Any, *fields: str) -> None:
  """Refuses fields of a method's `Config` that are not > 0."""
  for field in fields:
    if not getattr(config, field) > 0:
      raise ValueError(
        f'objective.{field} is {getattr(config, field)}; wanted > 0.'
      )


def check_least(config: Any, least: float, *fields: str) -> None:
  """Refuses fields of a method's `Config` that are below `least`."""
  for field in fields:
    if not getattr(config, field) >= least:
      raise ValueError(
        f'objective.{field} is {getattr(config, field)}; wanted {least} or '
        'more.'
      )


def l2_normalize(x: Array) -> Array:
  """Rows of x [..., D] at unit length; a zero row stays zero.

  Its gradient is finite everywhere, at zero too.
  """
  squared = jnp.sum(x * x, axis=-1, keepdims=True)
  # Both wheres are needed: the gradient of the branch not taken must be finite.
  safe = jnp.where(squared > 0, squared, 1)
  return x * jnp.where(squared > 0, jax.lax.rsqrt(safe), 0)


def gather_rows(x: Array, axis_name: str | None, axis: int = 0) -> Array:
  """Rows of all devices joined along `axis`, in the order of the devices."""
  if axis_name is None:
    return x
  return jax.lax.all_gather(x, axis_name, axis=axis, tiled=True)


def first_row(num_rows: int, axis_name: str | None) -> Array | int:
  """Where this device's `num_rows` rows begin in what `gather_rows` gives."""
  if axis_name is None:
    return 0
  return jax.lax.axis_index(axis_name) * num_rows
