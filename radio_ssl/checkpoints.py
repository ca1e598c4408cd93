"""Checkpoints that are whole or refused; the only file that knows Orbax.

  <directory>/<step>/state/          the arrays, as Orbax writes a nested dict
                    meta.json        config, versions, data set
                    SHA256SUMS.json  size and hash of every file, written last

A step without its sums, or whose files differ from them, is damaged: it is
named in a warning and passed over; it goes when enough good ones are newer. The
format outlives this file: any Orbax reads `state/`, the rest is JSON.
"""

import itertools
import json
import logging
import math
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from radio_ssl.data import manifest
from radio_ssl.train import trees

_LOG = logging.getLogger(__name__)

FORMAT_VERSION = 1

Meta = dict[str, Any]


class Checkpoints:
  """The checkpoints of one run.

  In a run of several processes all call each method; process 0 decides, for
  all, what is whole.

  Args:
    directory: made if it is missing.
    keep: how many of the newest good ones stay.
  """

  def __init__(self, directory: str | pathlib.Path, *, keep: int = 2):
    if keep < 1:
      raise ValueError(f'config.keep is {keep}; wanted 1 or more.')
    self._directory = pathlib.Path(directory).absolute()
    self._directory.mkdir(parents=True, exist_ok=True)
    self._keep = keep

  def save(self, state: Any, meta: Meta) -> None:
    """Writes the state and returns once it is whole on disk.

    A step that is there and whole stays as it is.

    Args:
      state: a pytree dataclass with `step`, equal in all processes.
      meta: JSON-ready; `format_version` is added.
    """
    text = canonical_json({**meta, 'format_version': FORMAT_VERSION})
    folder = self._directory / str(int(state.step))
    if not _decided_by_process_0(lambda: _make_room(folder)):
      return
    with ocp.PyTreeCheckpointer() as checkpointer:
      checkpointer.save(folder / 'state', _to_global(trees.to_tree(state)))
    if jax.process_index() == 0:
      (folder / 'meta.json').write_text(text)
      manifest.write(folder)
      # A step that is known to be whole is there before an older one goes.
      self._prune(saved=folder)
    _barrier('saved')

  def restore(self, template: Any) -> tuple[Any, Meta] | None:
    """The newest good state, on the host; None where nothing was saved.

    Args:
      template: a state with the wanted structure, shapes and dtypes.

    Raises:
      ValueError: all are damaged, or the state is of another architecture.
    """
    step = _decided_by_process_0(lambda: _newest_good(self._directory))
    if step == _NONE:
      return None
    folder = _step_folder(self._directory, step)
    tree, meta = _read(folder)
    try:
      return trees.from_tree(template, tree), meta
    except ValueError as error:
      raise ValueError(
        f'{folder}: checkpoint of another architecture: {error}. Give another '
        '--workdir.'
      ) from error

  def _prune(self, saved: pathlib.Path) -> None:
    """Removes what is older than the newest good ones, but never `saved`."""
    for leftover in self._directory.glob('*.old'):
      shutil.rmtree(leftover)
    good = 0
    for step in sorted(_steps(self._directory), reverse=True):
      folder = self._directory / str(step)
      if good >= self._keep and folder != saved:
        # Under another name first: a kill leaves no step that looks damaged.
        aside = folder.rename(folder.with_name(f'{step}.old'))
        shutil.rmtree(aside)
      elif manifest.damage(folder) is None:
        good += 1


def read(
  path: str | pathlib.Path, step: int | None = None
) -> tuple[dict[str, Any], Meta]:
  """A checkpoint without a template, for evaluators and converters.

  Args:
    path: a run's folder, its `checkpoints`, or one step's folder.
    step: which; None takes the newest good one.

  Returns:
    Nested dict of numpy arrays (`params`, `model_state`, ...) and the meta.

  Raises:
    ValueError: nothing there, damaged, or of another format.
  """
  path = pathlib.Path(path).absolute()
  if (path / 'checkpoints').is_dir():
    path = path / 'checkpoints'
  if any((path / name).exists() for name in ('meta.json', manifest.NAME)):
    return _read(_whole(path))
  steps = _steps(path) if path.is_dir() else []
  if steps and step is not None:
    if step not in steps:
      raise ValueError(f'{path}: no step {step}; there are: {sorted(steps)}.')
    return _read(_whole(path / str(step)))
  newest = _newest_good(path) if steps else _NONE
  if newest == _NONE:
    raise ValueError(
      f'{path}: no checkpoint there. Give the --workdir of a finished '
      'pretraining run.'
    )
  return _read(_step_folder(path, newest))


def canonical_json(value: Any) -> str:
  """JSON with sorted keys; tuples become lists."""
  return json.dumps(value, sort_keys=True, indent=2) + '\n'


def differences(old: Any, new: Any, name: str = '') -> list[str]:
  """Where two JSON-ready values differ, like 'optimizer.lr: 0.1 -> 0.2'."""
  old, new = (json.loads(canonical_json(value)) for value in (old, new))
  if isinstance(old, dict) and isinstance(new, dict):
    found = []
    for key in sorted({*old, *new}):
      path = f'{name}.{key}' if name else key
      if key not in old or key not in new:
        before, after = (value.get(key, 'absent') for value in (old, new))
        found.append(f'{path}: {before} -> {after}')
      else:
        found += differences(old[key], new[key], path)
    return found
  both_nan = all(isinstance(v, float) and math.isnan(v) for v in (old, new))
  return [] if old == new or both_nan else [f'{name}: {old} -> {new}']


# What `_newest_good` says in place of a step.
_NONE, _ALL_DAMAGED = -1, -2


def _decided_by_process_0(decide: Callable[[], int]) -> int:
  """The number that process 0 finds, in all processes."""
  if jax.process_count() == 1:
    return decide()
  found = decide() if jax.process_index() == 0 else 0
  return int(multihost_utils.broadcast_one_to_all(np.int32(found)))


def _barrier(name: str) -> None:
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(f'checkpoint_{name}')


def _steps(directory: pathlib.Path) -> list[int]:
  return [int(p.name) for p in directory.iterdir() if p.name.isdigit()]


def _newest_good(directory: pathlib.Path) -> int:
  finished = False
  for step in sorted(_steps(directory), reverse=True):
    folder = directory / str(step)
    reason = manifest.damage(folder)
    if reason is None:
      return step
    finished |= (folder / manifest.NAME).exists()
    _LOG.warning('%s: damaged checkpoint, passed over: %s.', folder, reason)
  # A kill during the first save leaves a step that never was whole.
  return _ALL_DAMAGED if finished else _NONE


def _step_folder(directory: pathlib.Path, step: int) -> pathlib.Path:
  if step == _ALL_DAMAGED:
    raise ValueError(
      f'{directory}: every checkpoint is damaged. Start again in another '
      '--workdir, or restore the files from a copy.'
    )
  return directory / str(step)


def _whole(folder: pathlib.Path) -> pathlib.Path:
  if reason := manifest.damage(folder):
    raise ValueError(
      f'{folder}: damaged checkpoint: {reason}. Take another step, or restore '
      'the files from a copy.'
    )
  return folder


def _make_room(folder: pathlib.Path) -> bool:
  """Whether to save there; a damaged step is moved out of the way."""
  if not folder.exists():
    return True
  if manifest.damage(folder) is None:
    _LOG.warning('%s: whole already, not saved again.', folder)
    return False
  names = (f'{folder.name}.damaged{number}' for number in itertools.count())
  free = next(name for name in names if not (folder.parent / name).exists())
  folder.rename(folder.with_name(free))
  return True


def _to_global(tree: Any) -> Any:
  """Across processes Orbax refuses host-local arrays, which pmap returns."""
  if jax.process_count() == 1:
    return tree
  mesh = jax.sharding.Mesh(np.asarray(jax.devices()), ('all',))
  return multihost_utils.host_local_array_to_global_array(
    jax.tree.map(np.asarray, tree), mesh, jax.sharding.PartitionSpec()
  )


def _read(folder: pathlib.Path) -> tuple[dict[str, Any], Meta]:
  meta = json.loads((folder / 'meta.json').read_text())
  version = meta.get('format_version')
  if version != FORMAT_VERSION:
    raise ValueError(
      f'{folder}: checkpoint format {version}; this version of radio_ssl reads '
      f'{FORMAT_VERSION}.'
    )
  with ocp.PyTreeCheckpointer() as checkpointer:
    structure = checkpointer.metadata(folder / 'state').item_metadata.tree
    arrays = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray), structure
    )
    return checkpointer.restore(folder / 'state', restore_args=arrays), meta
