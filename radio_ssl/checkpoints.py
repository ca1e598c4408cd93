"""Checkpoints that are whole or refused; the only file that knows Orbax.

  <directory>/<step>/state/          the arrays, as Orbax writes a nested dict
                    meta.json        config, versions, data set
                    SHA256SUMS.json  size and hash of every file, written last

A step without its sums, or whose files differ from them, is damaged: it is
named in a warning and passed over; it goes when it is old, like any other. The
format outlives this file: any Orbax reads `state/`, the rest is JSON.
"""

import functools
import hashlib
import json
import logging
import os
import pathlib
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import flax.serialization
import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

_LOG = logging.getLogger(__name__)

FORMAT_VERSION = 1
_SUMS = 'SHA256SUMS.json'

Meta = dict[str, Any]


class Checkpoints:
  """The checkpoints of one run.

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

    Args:
      state: a pytree dataclass with `step`, equal in all processes.
      meta: JSON-ready; `format_version` is added.
    """
    folder = self._directory / str(int(state.step))
    if _is_writer() and folder.exists():
      if not damage(folder):
        return
      _set_aside(folder)
    _barrier('set_aside')
    with ocp.PyTreeCheckpointer() as checkpointer:
      checkpointer.save(folder / 'state', _to_global(_to_tree(state)))
    if _is_writer():
      meta = {**meta, 'format_version': FORMAT_VERSION}
      (folder / 'meta.json').write_text(canonical_json(meta))
      _write_sums(folder)
      # A step that is known to be whole is there before an older one goes.
      for old in sorted(_steps(self._directory))[: -self._keep]:
        shutil.rmtree(self._directory / str(old))
    _barrier('saved')

  def restore(self, template: Any) -> tuple[Any, Meta] | None:
    """The newest good state, on the host; None where nothing was saved.

    Args:
      template: a state with the wanted structure, shapes and dtypes.

    Raises:
      ValueError: all are damaged, or the state is of another architecture.
    """
    if not _steps(self._directory, finished=False):
      return None
    folder = _newest_good(self._directory)
    tree, meta = _read(folder)
    return _from_tree(template, tree, folder), meta


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
  if (path / 'meta.json').exists():
    folder = path
  elif step is not None:
    folder = path / str(step)
  elif path.is_dir() and _steps(path, finished=False):
    folder = _newest_good(path)
  else:
    raise ValueError(
      f'{path}: no checkpoint there. Give the --workdir of a finished '
      'pretraining run.'
    )
  if reason := damage(folder):
    raise ValueError(f'{folder}: damaged checkpoint: {reason}.')
  return _read(folder)


def damage(folder: pathlib.Path) -> str | None:
  """What is wrong with the files of a step; None if it is whole."""
  try:
    sums = json.loads((folder / _SUMS).read_text())
  except FileNotFoundError:
    return f'{_SUMS} is missing: it was not written to the end'
  except (ValueError, OSError) as error:
    return f'{_SUMS}: {error}'
  for name, (size, digest) in sums.items():
    file = folder / name
    if not file.is_file():
      return f'{name} is missing'
    if file.stat().st_size != size:
      return f'{name} has {file.stat().st_size} bytes; wanted {size}'
    if _sha256(file) != digest:
      return f'{name} differs from its SHA-256'
  return None


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
        found.append(f'{path}: {old.get(key)} -> {new.get(key)}')
      else:
        found += differences(old[key], new[key], path)
    return found
  return [] if old == new else [f'{name}: {old} -> {new}']


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


def _barrier(name: str) -> None:
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(f'checkpoint_{name}')


def _steps(directory: pathlib.Path, *, finished: bool = True) -> list[int]:
  """Steps that have a folder; `finished` ones have their sums."""
  return [
    int(folder.name)
    for folder in directory.iterdir()
    if folder.name.isdigit() and (not finished or (folder / _SUMS).exists())
  ]


def _newest_good(directory: pathlib.Path) -> pathlib.Path:
  for step in sorted(_steps(directory, finished=False), reverse=True):
    folder = directory / str(step)
    reason = damage(folder)
    if reason is None:
      return folder
    _LOG.warning('%s: damaged checkpoint, passed over: %s.', folder, reason)
  raise ValueError(
    f'{directory}: every checkpoint is damaged. Start again in another '
    '--workdir, or restore the files from a copy.'
  )


def _set_aside(folder: pathlib.Path) -> None:
  for number in range(1000):
    target = folder.with_name(f'{folder.name}.damaged{number}')
    if not target.exists():
      folder.rename(target)
      return


def _write_sums(folder: pathlib.Path) -> None:
  """The manifest, in one step: a kill leaves all of it or nothing."""
  sums = {}
  for file in sorted(p for p in folder.rglob('*') if p.is_file()):
    with file.open('rb') as handle:
      os.fsync(handle.fileno())
    name = file.relative_to(folder).as_posix()
    sums[name] = [file.stat().st_size, _sha256(file)]
  temporary = folder.with_name(f'{folder.name}.{_SUMS}')
  with temporary.open('w') as handle:
    handle.write(json.dumps(sums, indent=1))
    handle.flush()
    os.fsync(handle.fileno())
  temporary.replace(folder / _SUMS)


def _sha256(file: pathlib.Path) -> str:
  with file.open('rb') as handle:
    return hashlib.file_digest(handle, 'sha256').hexdigest()


def _to_tree(state: Any) -> dict[str, Any]:
  """Nested dicts of plain arrays; typed keys as their data."""

  def plain(leaf):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      return jax.random.key_data(leaf)
    return leaf

  nested = flax.serialization.to_state_dict(jax.tree.map(plain, state))
  # Orbax keeps no empty branches, such as optax.EmptyState.
  return flax.traverse_util.unflatten_dict(
    flax.traverse_util.flatten_dict(nested)
  )


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


def _from_tree(template: Any, tree: Mapping, folder: pathlib.Path) -> Any:
  """The template's structure with the arrays of `tree`."""
  flatten = functools.partial(flax.traverse_util.flatten_dict, sep='/')
  wanted, found = flatten(_to_tree(template)), flatten(tree)
  for name in sorted({*wanted, *found}):
    shapes = [
      None if name not in flat else (flat[name].shape, str(flat[name].dtype))
      for flat in (wanted, found)
    ]
    if shapes[0] != shapes[1]:
      raise ValueError(
        f'{folder}: checkpoint of another architecture: {name} is '
        f'{shapes[1]}, wanted {shapes[0]}. Give another --workdir.'
      )

  def typed(old, new):
    if jax.dtypes.issubdtype(old.dtype, jax.dtypes.prng_key):
      return jax.random.wrap_key_data(new, impl=jax.random.key_impl(old))
    return new

  nested = flax.serialization.to_state_dict(template)
  full = flax.traverse_util.flatten_dict(nested, keep_empty_nodes=True)
  full |= {tuple(name.split('/')): leaf for name, leaf in found.items()}
  restored = flax.serialization.from_state_dict(
    template, flax.traverse_util.unflatten_dict(full)
  )
  return jax.tree.map(typed, template, restored)
