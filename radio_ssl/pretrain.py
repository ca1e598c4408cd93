"""The training loop: joins data, views, objective, step, checkpoints, log."""

import dataclasses
import json
import logging
import pathlib
import signal
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
from clu import parameter_overview
from jax.experimental import multihost_utils

import radio_ssl
from radio_ssl import checkpoints, progress, start
from radio_ssl.augment import inputs, views
from radio_ssl.data import pipeline, provenance
from radio_ssl.evaluate import checks, features, online
from radio_ssl.models import base as models
from radio_ssl.objectives import base as objectives
from radio_ssl.train import memory, optimizers, schedules
from radio_ssl.train import step as train_step

_LOG = logging.getLogger(__name__)

# EX_TEMPFAIL of sysexits.h: stopped by SIGTERM with everything saved; the same
# command goes on.
EXIT_INTERRUPTED = 75

# Fields that may change when a run goes on: they do not change its result. The
# data set is compared by its fingerprint and its split.
_FREE_FIELDS = (
  'data',
  'log_every',
  'save_every',
  'keep',
  'monitor',
  'eval_after',
  'eval_baselines',
)


class Interrupted(Exception):
  """SIGTERM came; the state was saved."""


@dataclasses.dataclass(frozen=True)
class Run:
  """All that follows from a config and a data set, before any compile."""

  objective: Any
  make_views: Callable
  tx: Any
  schedules: Mapping[str, Callable]
  num_steps: int
  steps_per_epoch: int


def resolve(
  config, evaluation, workdir: pathlib.Path, *, fields: Collection[str]
) -> None:
  """Completes a config in place, and refuses what no data need be read for.

  Args:
    config: of the run.
    evaluation: becomes `config.eval_after` unless it is None.
    workdir: of the run.
    fields: that a config may have.

  Raises:
    ValueError: one line that names field, value and remedy.
  """
  if 'objective' not in config:
    raise ValueError('config has no field "objective"; take one of configs/.')
  if unknown := sorted(set(config) - set(fields)):
    raise ValueError(
      f'config has no field {unknown[0]!r}; configs/base.py has all there are.'
    )
  if workdir.is_file():
    raise ValueError(f'{workdir}: a file; wanted a folder for --workdir.')
  method, _ = objectives.parse(config.objective)
  objectives.check_encoder(method, models.make_encoder(config.encoder))
  optimizers.parse(config.optimizer)
  start.read(config)
  if evaluation is not None:
    config.eval_after = evaluation
  labelled = [config.monitor]
  if config.eval_after:
    # What cannot be evaluated should not first be trained for hours.
    for baseline in (None, *config.eval_baselines):
      checks.settings(config.eval_after, workdir, baseline)
    labelled.append(config.eval_after.data)
  for data in labelled:
    data.data_dir = data.data_dir or config.data.data_dir


def plan(config, dataset: pipeline.DataSet, *, axis_name: str | None) -> Run:
  """Builds the parts of a run; every bad field is refused here.

  Args:
    config: as `configs/base.py` documents it.
    dataset: of the images.
    axis_name: the mapped axis, or None.

  Raises:
    ValueError: one line that names field, value and remedy.
  """
  if config.batch_size < 1:
    raise ValueError(
      f'config.batch_size is {config.batch_size}; wanted 1 or more.'
    )
  num_examples = len(dataset.source(config.data.split))
  steps_per_epoch = num_examples // config.batch_size
  if not steps_per_epoch:
    raise ValueError(
      f'{dataset.directory}: {num_examples} images are fewer than '
      f'config.batch_size = {config.batch_size}; lower it.'
    )
  num_steps = config.num_steps or config.num_epochs * steps_per_epoch
  moving = schedules.of_run(config, steps_per_epoch, num_steps)
  encoder = models.make_encoder(config.encoder, axis_name=axis_name)
  objective = objectives.make(
    config.objective,
    encoder=encoder,
    axis_name=axis_name,
    num_steps=num_steps,
    steps_per_epoch=steps_per_epoch,
    num_examples=num_examples,
    batch_size=config.batch_size,
  )
  objectives.check_labels(objectives.module(config.objective.name), dataset)
  fixed = config.final_decay_factor == 1
  return Run(
    objective=objective,
    make_views=_views(config, encoder, objective, dataset),
    tx=optimizers.make(
      config,
      moving['lr'],
      peak=schedules.scaled_lr(config.optimizer.lr, config.batch_size),
      weight_decay=None if fixed else moving['weight_decay'],
    ),
    schedules=moving,
    num_steps=num_steps,
    steps_per_epoch=steps_per_epoch,
  )


def _views(config, encoder, objective, dataset) -> Callable:
  given, wanted = set(config.views), set(objective.views)
  if given != wanted:
    raise ValueError(
      f'config.views has the groups {sorted(given)}; '
      f'{config.objective.name} wants {sorted(wanted)}.'
    )
  image_input = inputs.parse(config.input)
  groups = {k: views.parse(v, k) for k, v in config.views.items()}
  models.check_size(encoder, image_input.size_pix, 'input.size_pix')
  for name, group in groups.items():
    models.check_size(encoder, group.size_pix, f'views.{name}.size_pix')
  return views.make_views(
    image_input, groups, objective.views, dataset.geometry
  )


def run(
  config,
  workdir: pathlib.Path,
  dataset: pipeline.DataSet,
  labelled: pipeline.DataSet | None = None,
) -> None:
  """Trains until the end, from the newest good checkpoint if there is one.

  Args:
    config: an `ml_collections.ConfigDict`, as `configs/base.py` documents it.
    workdir: of the run; `config.json`, `metrics.jsonl` and `checkpoints/`.
    dataset: of the images.
    labelled: set for the online score; None for none.

  Raises:
    ValueError: a bad field, or a workdir of another run.
    FloatingPointError: a loss or parameter is not finite; names the step.
    Interrupted: SIGTERM came and the state was saved.
  """
  memory.keep_freed()
  devices = jax.local_devices()
  if config.batch_size % jax.device_count():
    raise ValueError(
      f'config.batch_size = {config.batch_size} does not divide over '
      f'{jax.device_count()} devices; take a multiple of that.'
    )
  parts = plan(config, dataset, axis_name=train_step.AXIS)
  if labelled is not None:
    online.check(config.monitor, labelled, inputs.parse(config.input))
  step_fn, place = train_step.data_parallel(
    train_step.make_train_step(
      parts.objective,
      parts.make_views,
      parts.tx,
      schedules=parts.schedules,
      logged=lambda step: _logged(config, parts.num_steps, step),
      axis_name=train_step.AXIS,
    ),
    devices,
  )
  begun, meta = start.read(config), describe(config, dataset)
  state = start.initial_state(parts, dataset.geometry, begun, seed=config.seed)
  if begun is not None:
    meta['start'] = dict(begun.meta)
  # Nothing is written before the config has been found good.
  saved = checkpoints.Checkpoints(workdir / 'checkpoints', keep=config.keep)
  restored = saved.restore(state)
  if restored is not None:
    state, old_meta = restored
    _check_same_run(old_meta, meta, workdir)
  elif jax.process_index() == 0:
    (workdir / 'config.json').write_text(json.dumps(meta, indent=2) + '\n')
  _announce(config, parts, dataset, state, restored is not None)
  loop = _Loop(config, parts, saved, meta, labelled)
  loop(place(state), step_fn, dataset, workdir)


def describe(config, dataset: pipeline.DataSet) -> dict[str, Any]:
  """What is saved with every checkpoint, ready for JSON."""
  return {
    'config': json.loads(config.to_json_best_effort()),
    'package_version': radio_ssl.__version__,
    'commit': provenance.commit(),
    'dataset': {
      'directory': str(dataset.directory),
      'fingerprint': dataset.fingerprint,
      'geometry': dataclasses.asdict(dataset.geometry),
    },
  }


def _check_same_run(old: Mapping, new: Mapping, workdir) -> None:
  def binding(meta):
    config = {k: v for k, v in meta['config'].items() if k not in _FREE_FIELDS}
    return config | {
      'dataset': meta['dataset']['fingerprint'],
      'data.split': meta['config']['data']['split'],
    }

  changed = checkpoints.differences(binding(old), binding(new))
  if changed:
    raise ValueError(
      f'{workdir} holds a run of another config ({"; ".join(changed)}): '
      'give a new --workdir, or set the fields back.'
    )


def _announce(config, parts: Run, dataset, state, resumed: bool) -> None:
  _LOG.info(
    'Parameters:\n%s', parameter_overview.get_parameter_overview(state.params)
  )
  _LOG.info(
    '%s %d steps of %d images, %d steps an epoch; %s, lr up to %.3g after %d '
    'steps; on %d devices of %d processes; data %s %s.',
    f'Going on after step {int(state.step)} of' if resumed else 'Training',
    parts.num_steps,
    config.batch_size,
    parts.steps_per_epoch,
    config.optimizer.name,
    schedules.scaled_lr(config.optimizer.lr, config.batch_size),
    config.warmup_epochs * parts.steps_per_epoch,
    jax.device_count(),
    jax.process_count(),
    dataset.directory,
    dict(dataset.num_examples),
  )


def _logged(config, last: int, step):
  """Whether a step is logged: at its clock, the first and the last."""
  return (step == 1) | progress.due(step, config.log_every, last)


class _Loop:
  """The steps of one process, with their clocks."""

  def __init__(self, config, parts, saved, meta, labelled):
    self._config = config
    self._last = parts.num_steps
    self._saved = saved
    self._meta = meta
    self._labelled = labelled
    self._terminated = False

  def __call__(self, state, step_fn, dataset, workdir) -> None:
    first_step = int(state.step)
    log = progress.MetricsLog(
      workdir,
      first_step=first_step,
      num_steps=self._last,
      writer=jax.process_index() == 0,
    )
    batches = pipeline.train_batches(
      dataset,
      self._config.data.split,
      batch_size=self._config.batch_size,
      seed=self._config.seed,
      first_step=first_step,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
      num_threads=self._config.data.num_threads,
      num_workers=self._config.data.num_workers,
    )
    before = None
    if jax.process_count() == 1:
      # Across processes JAX's own coordination service listens to SIGTERM.
      before = signal.signal(signal.SIGTERM, self._on_sigterm)
    try:
      self._steps(state, step_fn, batches, log, first_step)
    finally:
      batches.close()
      if before is not None:
        signal.signal(signal.SIGTERM, before)
      log.close()

  def _on_sigterm(self, signum, frame) -> None:
    del signum, frame
    self._terminated = True

  def _steps(self, state, step_fn, batches, log, first_step) -> None:
    sent = None
    for step in range(first_step + 1, self._last + 1):
      state, metrics = step_fn(state, next(batches))
      # While this step runs, the one before is logged: the loop never waits
      # for what it just sent, and never runs further ahead than that.
      self._log(log, sent)
      if step == first_step + 1:
        jax.block_until_ready(metrics)
        log.start_clock(step)
      sent = step, metrics
      stop = self._must_stop(step)
      # Before the save: a run that goes on starts after this step.
      if not stop and progress.due(
        step, self._config.monitor.every, self._last
      ):
        self._score(log, step, state)
      if stop or progress.due(step, self._config.save_every, self._last):
        self._log(log, sent)
        sent = None
        self._saved.save(state, self._meta)
      if stop and step < self._last:
        raise Interrupted(f'SIGTERM: saved after step {step}.')

  def _log(self, log, sent) -> None:
    """Waits for a step that was sent; writes its metrics if they are due."""
    if sent is None:
      return
    step, metrics = sent
    bad = int(metrics['first_nonfinite_step'])
    if bad >= 0:
      raise FloatingPointError(
        f'Loss or parameters are not finite since step {bad}: lower '
        'config.optimizer.lr, or look at the images of that step.'
      )
    if _logged(self._config, self._last, step):
      values = {k: float(v) for k, v in metrics.items()}
      del values['first_nonfinite_step']
      log.write(step, values)

  def _score(self, log, step, state) -> None:
    if self._labelled is None or jax.process_index():
      return
    frozen = features.FrozenEncoder(
      models.make_encoder(self._config.encoder),
      objectives.encoder_variables(state.params, state.model_state),
      features.shown(self._config, ()),
      {},
    )
    score = online.accuracy(frozen, self._labelled, self._config.monitor)
    log.write(step, {'knn_accuracy': score})

  def _must_stop(self, step: int) -> bool:
    if jax.process_count() == 1:
      return self._terminated
    # All processes stop after the same step, whoever got the signal first.
    return multihost_utils.reached_preemption_sync_point(step)
