"""A linear classifier on an encoder, both taught by gradient on images.

The encoder is frozen, or learns with it. Steps, views and optimisers are those
of pretraining.
"""

import collections
import dataclasses
import functools
import logging
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from radio_ssl import progress
from radio_ssl.augment import inputs, views
from radio_ssl.data import examples, pipeline
from radio_ssl.evaluate import classifier, features, linear, selection
from radio_ssl.train import memory, optimizers, schedules, state
from radio_ssl.train import step as train_step

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Training:
  """How it is taught; `config.training`, beside the `optimizer`.

  Attributes:
    batch_size: images; fewer where the training rows are.
    num_epochs: passes through the training rows, of whole batches.
    warmup_epochs: the learning rate rises from 0 over these, and then falls to
      0 on a half cosine.
    lr_drops: epochs after which it falls to a tenth instead, or () for none.
    layer_decay: factor of the learning rate from each layer (stem, blocks)
      of the encoder to the one below it, in (0, 1]; 1 is one rate for all.
    crop_area: share of the field that a view shows, as in `views.ViewGroup`.
    flip: mirror every second view.
    rotate: turn by any angle; the papers do not.
  """

  batch_size: int = 256
  num_epochs: int = 100
  warmup_epochs: int = 0
  lr_drops: tuple[int, ...] = ()
  layer_decay: float = 1.0
  crop_area: tuple[float, float] = (0.95, 1.0)
  flip: bool = True
  rotate: bool = False


@dataclasses.dataclass(frozen=True)
class Fitted:
  """What was taught.

  Attributes:
    encoder: as it is now.
    probe: the linear classifier of its features.
    facts: about the training, ready for JSON.
  """

  encoder: features.FrozenEncoder
  probe: linear.Probe
  facts: dict[str, Any]

  def probabilities(self, scored: selection.Selection, config) -> np.ndarray:
    """Of each class, [N, K], for the rows of `scored.train`.

    Args:
      scored: the rows.
      config: of the evaluator: `batch_size` and `rotations`.
    """
    table = features.extract(
      self.encoder,
      scored,
      scored.train,
      batch_size=config.batch_size,
      rotations=config.rotations,
    )
    return np.exp(self.probe.log_probabilities(table.features)[0])


def parse(config) -> Training:
  """`config.training` without the optimizer.

  Raises:
    ValueError: names the field, its value and what was wanted.
  """
  fields = dict(config)
  optimizers.parse(fields.pop('optimizer', {}))
  known = {field.name for field in dataclasses.fields(Training)}
  if strange := sorted(known ^ set(fields)):
    raise ValueError(
      f'config.training has the fields {sorted(fields)}; {strange[0]!r} is '
      f'{"missing" if strange[0] in known else "unknown"}. '
      'configs/eval/base.py has them all.'
    )
  # As a config file or JSON has them.
  lists = ('lr_drops', 'crop_area')
  training = Training(**fields | {k: tuple(fields[k]) for k in lists})
  for name, least in (('batch_size', 1), ('num_epochs', 1)):
    if getattr(training, name) < least:
      raise ValueError(
        f'config.training.{name} is {fields[name]}; wanted {least} or more.'
      )
  if not 0 < training.layer_decay <= 1:
    raise ValueError(
      f'config.training.layer_decay is {training.layer_decay}; wanted within '
      '(0, 1].'
    )
  if training.lr_drops and training.warmup_epochs:
    raise ValueError(
      f'config.training.warmup_epochs is {training.warmup_epochs} and lr_drops '
      f'{tuple(training.lr_drops)}: drops have no warm-up; wanted one of both.'
    )
  if training.warmup_epochs >= training.num_epochs:
    raise ValueError(
      f'config.training.warmup_epochs is {training.warmup_epochs}; wanted '
      f'fewer than num_epochs, which is {training.num_epochs}.'
    )
  return training


def fit(
  start: features.FrozenEncoder,
  training: selection.Selection,
  config,
  *,
  train_encoder: bool,
) -> Fitted:
  """Teaches a classifier.

  Args:
    start: the encoder to begin with.
    training: the rows of its split `train`, with labels.
    config: of the evaluator: `training` and `seed`.
    train_encoder: whether the encoder learns as well.

  Raises:
    ValueError: a bad field, or several processes.
    FloatingPointError: a loss or parameter is not finite.
  """
  if jax.process_count() > 1:
    raise ValueError(
      f'The protocol {config.protocol!r} runs in one process; this is one of '
      f'{jax.process_count()}. Run radio_ssl.evaluate by itself.'
    )
  memory.keep_freed()
  num_rows = len(training.source(training.train))
  plan = _plan(start, training, config, num_rows, train_encoder)
  step_fn, place, tx = _compiled(plan)
  batches = pipeline.train_batches(
    training,
    training.train,
    batch_size=plan.settings.batch_size,
    seed=config.seed,
  )
  before = plan.method.initial(start, tx, jax.random.key(config.seed))
  found, facts = _loop(step_fn, place(before), batches, plan.num_steps)
  params, model_state = jax.device_get((found.params, found.model_state))
  encoder = start
  if train_encoder:
    encoder = dataclasses.replace(
      start, variables={'params': classifier.without(params), **model_state}
    )
  probe = params[classifier.BRANCH]
  return Fitted(
    encoder,
    linear.Probe(probe['kernel'][None], probe['bias'][None]),
    {
      'steps': plan.num_steps,
      'batch_size': plan.settings.batch_size,
      'rows': num_rows,
      **facts,
    },
  )


@dataclasses.dataclass(frozen=True)
class _Plan:
  """All that a step depends on; `settings.batch_size` is what is taken."""

  method: classifier.Classifier
  input: inputs.Input
  geometry: examples.Geometry
  settings: Training
  optimizer: tuple[tuple[str, Any], ...]
  steps_per_epoch: int
  num_devices: int

  @property
  def num_steps(self) -> int:
    return self.settings.num_epochs * self.steps_per_epoch


def _plan(start, training, config, num_rows: int, train_encoder: bool) -> _Plan:
  settings, num_devices = parse(config.training), jax.local_device_count()
  batch_size = min(settings.batch_size, num_rows)
  if batch_size < num_devices:
    num_devices = 1
  batch_size -= batch_size % num_devices
  encoder = start.encoder
  if hasattr(encoder, 'axis_name'):
    # Batch statistics are those of all devices.
    encoder = encoder.clone(axis_name=train_step.AXIS)
  return _Plan(
    method=classifier.Classifier(
      encoder, len(training.label_names), train_encoder
    ),
    input=start.input,
    geometry=training.geometry,
    settings=dataclasses.replace(settings, batch_size=batch_size),
    optimizer=tuple(dict(config.training.optimizer).items()),
    steps_per_epoch=num_rows // batch_size,
    num_devices=num_devices,
  )


# The folds of an evaluation have as many steps: they are compiled once.
@functools.lru_cache(maxsize=1)
def _compiled(plan: _Plan) -> tuple[Callable, Callable, Any]:
  """Step and place, as `train_step.data_parallel`, and the optimiser."""
  lr_schedule, tx = _optimizer(plan)
  make_views = views.make_views(
    plan.input,
    {'global': _view(plan.settings)},
    plan.method.views,
    plan.geometry,
  )
  step_fn = train_step.make_train_step(
    plan.method,
    make_views,
    tx,
    schedules={'lr': lr_schedule},
    # The collapse monitors are for encoders that learn without labels.
    logged=lambda step: step < 0,
    axis_name=train_step.AXIS,
  )
  devices = jax.local_devices()[: plan.num_devices]
  return *train_step.data_parallel(step_fn, devices), tx


def _view(settings: Training) -> views.ViewGroup:
  return views.ViewGroup(
    crop_area=settings.crop_area,
    rotate=settings.rotate,
    flip=settings.flip,
    blur_probability=0.0,
    noise_sigma=(0.0, 0.0),
    gamma=(1.0, 1.0),
    contrast_probability=0.0,
  )


def _optimizer(
  plan: _Plan,
) -> tuple[optax.Schedule, optax.GradientTransformation]:
  """The learning rate of the classifier, and the transformation."""
  settings, optimizer = plan.settings, dict(plan.optimizer)
  peak = schedules.scaled_lr(optimizer['lr'], settings.batch_size)
  if settings.lr_drops:
    lr_schedule = optax.piecewise_constant_schedule(
      peak, {epoch * plan.steps_per_epoch: 0.1 for epoch in settings.lr_drops}
    )
  else:
    lr_schedule = schedules.warmup_cosine(
      peak,
      warmup_steps=settings.warmup_epochs * plan.steps_per_epoch,
      num_steps=plan.num_steps,
      final_fraction=0.0,
    )
  factors = {}
  if plan.method.train_encoder and settings.layer_decay < 1:
    factors = classifier.layer_factors(
      plan.method.encoder, plan.input, settings.layer_decay
    )
  parts = {'optimizer': optimizer, 'constant_lr': (), 'lr_factors': factors}
  return lr_schedule, optimizers.make(parts, lr_schedule, peak=peak)


def _loop(
  step_fn: Callable, found: state.TrainState, batches, num_steps: int
) -> tuple[state.TrainState, dict[str, Any]]:
  """All steps; tells ten times how far it is."""
  began, sent = time.monotonic(), collections.deque()
  for step in range(1, num_steps + 1):
    found, metrics = step_fn(found, next(batches))
    sent.append(metrics)
    # One step is under way while the next is sent, and no more.
    if len(sent) > 2:
      jax.block_until_ready(sent.popleft())
    if progress.due(step, max(num_steps // 10, 1), num_steps):
      loss, accuracy = float(metrics['loss']), float(metrics['accuracy'])
      left = (time.monotonic() - began) / step * (num_steps - step)
      _LOG.info(
        'step %d/%d  ETA %s  loss %.4g  accuracy %.3f (of the batch)',
        *(step, num_steps, progress.duration(left), loss, accuracy),
      )
      if (bad := int(metrics['first_nonfinite_step'])) >= 0:
        raise FloatingPointError(
          f'Loss or parameters are not finite since step {bad}: lower '
          'config.training.optimizer.lr.'
        )
  return found, {'final_loss': loss, 'final_batch_accuracy': accuracy}
