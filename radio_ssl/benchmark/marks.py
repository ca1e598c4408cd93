"""What the folder of a cell tells of it, to all machines that share it.

<folder>/cell.json      all that shaped it, written when it begins
         done.json      written last: it is finished
         failed.json    how the last try ended, until the next one
         lock           held by the process that runs it now
         log.txt        what its processes printed
"""

import contextlib
import fcntl
import json
import os
import pathlib
import platform
import time
from collections.abc import Iterator, Mapping
from typing import Any

from radio_ssl import checkpoints

CELL, DONE, FAILED, LOG = 'cell.json', 'done.json', 'failed.json', 'log.txt'
_LOCK = 'lock'


class Locked(Exception):
  """Another process runs the cell."""


def write(path: pathlib.Path, value: Mapping[str, Any]) -> None:
  """Writes JSON in one step: a kill leaves the old file or the new one."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'{path.name}.{platform.node()}.{os.getpid()}')
  temporary.write_text(checkpoints.canonical_json(value))
  temporary.replace(path)


def read(path: pathlib.Path) -> dict[str, Any] | None:
  """What `write` wrote; None where there is no such file.

  Raises:
    ValueError: it is not an object of JSON.
  """
  try:
    value = json.loads(path.read_text())
  except FileNotFoundError:
    return None
  except ValueError as error:
    raise ValueError(f'{path}: not JSON: {error}. Remove the file.') from error
  if not isinstance(value, dict):
    raise ValueError(f'{path}: wanted an object of JSON. Remove the file.')
  return value


def last_line(log: pathlib.Path) -> str:
  """The last line of a log that is not empty, or ''."""
  try:
    with log.open('rb') as file:
      file.seek(max(log.stat().st_size - 4096, 0))
      lines = file.read().decode(errors='replace').splitlines()
  except FileNotFoundError:
    return ''
  return next((line.strip() for line in lines[::-1] if line.strip()), '')


@contextlib.contextmanager
def lock(folder: pathlib.Path) -> Iterator[None]:
  """Holds the cell: no other process runs it meanwhile.

  The kernel lets go of it when the process ends, however it ends.

  Raises:
    Locked: another one does; says which.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with (folder / _LOCK).open('a+') as file:
    if not _taken(file, fcntl.LOCK_EX):
      raise Locked(f'{folder}: run by {_told(file)}.')
    file.truncate(0)
    since = time.strftime('%Y-%m-%d %H:%M:%S')
    file.write(f'process {os.getpid()} on {platform.node()} since {since}')
    file.flush()
    yield


def owner(folder: pathlib.Path) -> str | None:
  """Who runs a cell; None where nobody does."""
  try:
    file = (folder / _LOCK).open()
  except FileNotFoundError:
    return None
  with file:
    return None if _taken(file, fcntl.LOCK_SH) else _told(file)


def _taken(file, kind: int) -> bool:
  """Whether the lock could be had; it is given back as the file is closed."""
  try:
    fcntl.flock(file, kind | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError as error:
    raise ValueError(
      f'{file.name}: its file system has no locks ({error}); wanted a '
      '--workdir on one that has, so that no cell is run twice at a time.'
    ) from error
  return True


def _told(file) -> str:
  file.seek(0)
  return file.read() or 'a process that is just beginning'
