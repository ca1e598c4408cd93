"""Checkpoints that are whole or refused; the only file that knows Orbax.

  <directory>/<step>/state/          the arrays, as Orbax writes a nested dict
                    meta.json        config, versions, data set
                    SHA256SUMS.json  size and hash of every file, written last

A step without its sums, or whose files differ from them, is damaged: it is
named in a warning, passed over, and never deleted; a later save of the same
step moves it to `<step>.damaged0`. `<step>.old` is on its way out.

The format outlives this file. `orbax.checkpoint.PyTreeCheckpointer().restore(
folder / 'state')` gives the dict, TensorStore one array: driver `zarr`, kvstore
`{'driver': 'ocdbt', 'base': 'file://<folder>/state/', 'path':
'params.<module>.<name>/'}`. The rest is JSON; nothing is ever unpickled.
"""

import functools
import itertools
import json
import logging
import pathlib
import shutil
import subprocess
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

# In place of a step, which is never negative.
_NO_STEP = -1
_ALL_DAMAGED = -2

Meta = dict[str, Any]


class Checkpoints:
  """The checkpoints of one run; nothing stays open between calls.

  With several processes all of them call each method, on one shared folder.

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
    self._good: dict[int, bool] = {}

  def save(self, state: Any, meta: Meta) -> None:
    """Writes the state and returns once it is whole on disk.

    A good checkpoint of this very step is left as it is, with a warning.

    Args:
      state: a pytree dataclass with `step`, equal in all processes.
      meta: JSON-ready; `format_version` is added.
    """
    step = int(state.step)
    folder = self._directory / str(step)
    text = canonical_json({**meta, 'format_version': FORMAT_VERSION})
    if not _decided_by_writer(lambda: _make_room(folder)):
      return
    # Weights hardly compress (8 %), and it doubles the time.
    with ocp.PyTreeCheckpointer(use_compression=False) as checkpointer:
      checkpointer.save(folder / 'state', _to_global(trees.to_tree(state)))
    if _is_writer():
      (folder / 'meta.json').write_text(text)
      manifest.write(folder)
      self._good[step] = True
      self._prune(step)
    if jax.process_count() > 1:
      multihost_utils.sync_global_devices('checkpoint_saved')

  def restore(self, template: Any) -> tuple[Any, Meta] | None:
    """The newest good state, on the host; None where nothing was saved.

    Args:
      template: a state with the wanted structure, shapes and dtypes.

    Raises:
      ValueError: all are damaged, or the state is of another architecture.
    """
    step = _decided_by_writer(lambda: _newest_good(self._directory))
    if step == _NO_STEP:
      return None
    folder = _folder(self._directory, step)
    tree, meta = _read(folder)
    if found := trees.difference(template, tree):
      raise ValueError(
        f'{folder}: checkpoint of another architecture: {found}. '
        'Give another --workdir.'
      )
    return trees.from_tree(template, tree), meta

  def _prune(self, new: int) -> None:
    """Deletes all but the newest good ones; never the one just written."""
    for leftover in self._directory.glob('*.old'):
      shutil.rmtree(leftover)
    good = [step for step in _steps(self._directory) if self._is_good(step)]
    for step in sorted(good)[: -self._keep]:
      if step != new:
        # Renamed first: a kill midway leaves no half of a step.
        folder = self._directory / str(step)
        shutil.rmtree(folder.rename(folder.with_suffix('.old')))

  def _is_good(self, step: int) -> bool:
    if step not in self._good:
      damage = manifest.damage(self._directory / str(step))
      self._good[step] = damage is None
    return self._good[step]


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
  elif step is None and path.name in map(str, _steps(path.parent)):
    path, step = path.parent, int(path.name)
  steps = _steps(path)
  if not steps:
    raise ValueError(
      f'{path}: no checkpoint there. Give the --workdir of a finished '
      'pretraining run.'
    )
  if step is None:
    return _read(_folder(path, _newest_good(path)))
  if step not in steps:
    raise ValueError(f'{path}: no step {step}; there are: {sorted(steps)}.')
  folder = path / str(step)
  if reason := manifest.damage(folder):
    raise ValueError(f'{folder}: damaged checkpoint: {reason}.')
  return _read(folder)


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
      if key in old and key in new:
        found += differences(old[key], new[key], path)
      else:
        pair = old.get(key, 'absent'), new.get(key, 'absent')
        found.append(f'{path}: {pair[0]} -> {pair[1]}')
    return found
  # The text is compared as well: a NaN does not equal itself.
  same = old == new or canonical_json(old) == canonical_json(new)
  return [] if same else [f'{name}: {old} -> {new}']


@functools.cache
def commit() -> str | None:
  """The git commit of this code, with '+' for a changed tree; None outside."""
  here = pathlib.Path(__file__).parent

  def git(*args):
    return subprocess.run(
      ['git', *args], cwd=here, capture_output=True, text=True, check=True
    ).stdout.strip()

  try:
    changed = git('status', '--porcelain', '--untracked-files=no')
    return git('rev-parse', 'HEAD') + ('+' if changed else '')
  except (OSError, subprocess.CalledProcessError):
    return None


def _is_writer() -> bool:
  return jax.process_index() == 0


def _decided_by_writer(decide: Callable[[], int]) -> int:
  """What process 0 finds, in all processes: none goes another way."""
  if jax.process_count() == 1:
    return int(decide())
  found = np.int32(decide() if _is_writer() else 0)
  return int(multihost_utils.broadcast_one_to_all(found))


def _steps(directory: pathlib.Path) -> list[int]:
  """Steps that have a folder, good or not."""
  if not directory.is_dir():
    return []
  folders = [p for p in directory.iterdir() if p.name.isdigit() and p.is_dir()]
  return [int(folder.name) for folder in folders]


def _newest_good(directory: pathlib.Path) -> int:
  steps = sorted(_steps(directory), reverse=True)
  for step in steps:
    folder = directory / str(step)
    reason = manifest.damage(folder)
    if reason is None:
      return step
    _LOG.warning('%s: damaged checkpoint, passed over: %s.', folder, reason)
  return _ALL_DAMAGED if steps else _NO_STEP


def _folder(directory: pathlib.Path, step: int) -> pathlib.Path:
  if step == _ALL_DAMAGED:
    raise ValueError(
      f'{directory}: every checkpoint is damaged. Start again in another '
      '--workdir, or restore the files from a copy.'
    )
  return directory / str(step)


def _make_room(folder: pathlib.Path) -> bool:
  """Moves a damaged step aside; False if a good one is there."""
  if not folder.exists():
    return True
  reason = manifest.damage(folder)
  if reason is None:
    _LOG.warning('%s is there and whole: not saved again.', folder)
    return False
  names = (folder.with_suffix(f'.damaged{i}') for i in itertools.count())
  target = folder.rename(next(name for name in names if not name.exists()))
  _LOG.warning('%s: moved to %s: %s.', folder, target.name, reason)
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
