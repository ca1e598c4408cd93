"""All that shapes a cell: complete configs, and what is compared of them."""

import json
from collections.abc import Mapping
from typing import Any

import ml_collections

from radio_ssl import checkpoints
from radio_ssl.benchmark import plan

# They do not shape a result. Data sets are compared by what is in them, not by
# their place, which may be another one on each machine.
_FREE = ('log_every', 'save_every', 'keep', 'monitor', 'eval_after')
_FREE += ('eval_baselines',)
_PLACES = ('dir', 'data_dir', 'num_threads', 'num_workers')


def pretraining(config, cell: plan.Cell) -> ml_collections.ConfigDict:
  """The config of a pretraining cell, as `configs/base.py` documents it.

  Args:
    config: of the benchmark.
    cell: a known one; of an evaluation, the pretraining of its encoder.

  Raises:
    ValueError: names the field of `corpora` that no pretraining has.
  """
  run = config.methods[cell.method].copy_and_resolve_references()
  run.encoder = config.encoders[cell.encoder].copy_and_resolve_references()
  where = f'config.corpora.{cell.corpus}'
  corpus = dict(config.corpora[cell.corpus])
  override(run.input, corpus.pop('input', {}), f'{where}.input')
  for group, changes in corpus.pop('views', {}).items():
    # The local views of one method are no business of another.
    if not any(group in method.views for method in config.methods.values()):
      raise ValueError(f'{where}.views.{group}: no method has such a group.')
    if group in run.views:
      override(run.views[group], changes, f'{where}.views.{group}')
  override(run.data, corpus, where)
  run.seed = cell.seed
  if cell.lr is not None:
    run.optimizer.lr = cell.lr
  return run


def evaluation(config, cell: plan.Cell) -> ml_collections.ConfigDict:
  """The config of an evaluation cell, as `configs/eval/base.py` documents it.

  The search scores by cross-validation inside the training split, away from
  the hold-out: what is scored at the end chooses nothing.

  Args:
    config: of the benchmark.
    cell: an evaluation.

  Raises:
    ValueError: names the field of `label_sets` that no evaluation has.
  """
  run = config.protocols[cell.protocol].copy_and_resolve_references()
  where = f'config.label_sets.{cell.label_set}'
  label_set = dict(config.label_sets[cell.label_set])
  run.fields_arcsec = label_set.pop('fields_arcsec', run.fields_arcsec)
  override(run.data, label_set, where)
  if cell.stage == 'search':
    run.data.test = ''
    run.data.holdout_use = 'leave_out'
  if cell.source != 'method':
    run.seed = cell.seed
  if cell.source == 'baseline':
    entry = config.baselines[cell.method]
    run.input = _input(config, cell.method)
    override(
      run.input, entry.get('input', {}), f'config.baselines.{cell.method}.input'
    )
    if cell.encoder:
      run.encoder = config.encoders[cell.encoder].copy_and_resolve_references()
  return run


def _input(config, baseline: str) -> ml_collections.ConfigDict:
  """What the methods see of an image of the search's corpus."""
  encoder = next(iter(config.encoders))
  found = {}
  for method in config.methods:
    cell = plan.Cell(
      'pretrain', 'method', method, encoder, config.search.corpus, 0
    )
    seen = pretraining(config, cell).input
    found[checkpoints.canonical_json(json.loads(seen.to_json()))] = seen
  if len(found) > 1 and 'input' not in config.baselines[baseline]:
    raise ValueError(
      f'config.baselines.{baseline} has no field "input", and the methods do '
      f'not agree on one ({"; ".join(_differences(*list(found)[:2]))}): set it.'
    )
  return next(iter(found.values()))


def _differences(first: str, second: str) -> list[str]:
  return checkpoints.differences(json.loads(first), json.loads(second), 'input')


def compared(config, cell: plan.Cell) -> dict[str, Any]:
  """What must not change once a cell is finished, ready for JSON.

  Without what is in the files that it reads.
  """
  if cell.pretrains:
    run = json.loads(pretraining(config, cell).to_json_best_effort())
    return {
      k: _without_places(v) if k == 'data' else v
      for k, v in run.items()
      if k not in _FREE
    }
  run = json.loads(evaluation(config, cell).to_json_best_effort())
  # By its content, like the data sets.
  data = {k: v for k, v in run['data'].items() if k != 'holdout'}
  found = {'evaluation': {**run, 'data': _without_places(data)}}
  if cell.source == 'method':
    found['pretraining'] = compared(config, _pretraining_of(cell))
  elif cell.source == 'baseline':
    found['baseline'] = config.baselines[cell.method].baseline
  else:
    found['checkpoint'] = config.checkpoints[cell.method].path
  return found


def _pretraining_of(cell: plan.Cell) -> plan.Cell:
  return plan.Cell(
    'pretrain',
    'method',
    cell.method,
    cell.encoder,
    cell.corpus,
    cell.seed,
    cell.lr,
  )


def _without_places(data: Mapping[str, Any]) -> dict[str, Any]:
  return {k: v for k, v in data.items() if k not in _PLACES}


def override(
  target: ml_collections.ConfigDict, changes: Mapping[str, Any], where: str
) -> None:
  """Sets fields that `target` has.

  Args:
    target: changed in place.
    changes: its new values; of fields that are groups, some of theirs.
    where: `changes` came from, for messages.

  Raises:
    ValueError: a field that `target` does not have, or a value of another type.
  """
  for name, value in changes.items():
    if name not in target:
      raise ValueError(
        f'{where} has no field {name!r}; there are: {", ".join(target)}.'
      )
    if isinstance(target[name], ml_collections.ConfigDict):
      override(target[name], value, f'{where}.{name}')
      continue
    try:
      target[name] = value
    except TypeError as error:
      raise ValueError(f'{where}.{name} is {value!r}: {error}') from error
