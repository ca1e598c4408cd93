"""The image that was used last stays open: tasks of one file come in a row.

A packed file would have to be unpacked for each of them.
"""

import contextlib
import pathlib
import threading
from typing import Any

from radio_ssl.data import windows
from tfds_builders.radio_fits import prepare

# Beam runs several threads in a process, and a file is read by one.
_last = threading.local()


def opened(
  path: pathlib.Path,
  steps: prepare.Steps,
  *,
  statistics: windows.Statistics | None = None,
  **overrides: Any,
) -> prepare.Prepared:
  """As `prepare.opened`; good until the next call, or `close`."""
  found = path.stat() if path.is_file() else None
  key = (
    path,
    found and (found.st_ino, found.st_size, found.st_mtime_ns),
    steps,
    *sorted(overrides.items()),
  )
  if statistics is not None and getattr(_last, 'key', None) == key:
    return _last.prepared
  close()
  with contextlib.ExitStack() as files:
    prepared = files.enter_context(
      prepare.opened(path, steps, statistics=statistics, **overrides)
    )
    _last.files = files.pop_all()
  _last.key, _last.prepared = key, prepared
  return prepared


def close() -> None:
  """Closes this thread's image, if there is one."""
  if getattr(_last, 'key', None) is not None:
    _last.key = _last.prepared = None
    _last.files.close()
