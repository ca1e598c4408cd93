"""The size and SHA-256 of every file of a folder, written last.

A folder is whole if it has a manifest and every file is as the manifest says.
`SHA256SUMS.json` is an object: path below the folder -> [bytes, hex digest].
"""

import hashlib
import json
import os
import pathlib

NAME = 'SHA256SUMS.json'


def write(folder: pathlib.Path) -> None:
  """Writes the manifest in one step: a kill leaves all of it or nothing.

  Every file and directory is on disk before it, and it when this returns.
  """
  sums = {}
  for path in sorted(folder.rglob('*')):
    _sync(path)
    if path.is_file():
      name = path.relative_to(folder).as_posix()
      sums[name] = [path.stat().st_size, sha256(path)]
  _sync(folder)
  temporary = folder.with_name(f'{folder.name}.{NAME}')
  temporary.write_text(json.dumps(sums, indent=1))
  _sync(temporary)
  temporary.replace(folder / NAME)
  _sync(folder)
  _sync(folder.parent)


def damage(folder: pathlib.Path) -> str | None:
  """What is wrong with the files of a folder; None if it is whole."""
  try:
    sums = json.loads((folder / NAME).read_text())
    wanted = {name: (size, digest) for name, (size, digest) in sums.items()}
  except FileNotFoundError:
    return f'{NAME} is missing: it was not written to the end'
  except (AttributeError, OSError, TypeError, ValueError) as error:
    return f'{NAME} cannot be read: {error}'
  if not wanted:
    return f'{NAME} lists no file'
  try:
    reasons = (_damage(folder, name, *wanted[name]) for name in wanted)
    return next(filter(None, reasons), None)
  except OSError as error:  # A bad sector, or no permission.
    return str(error)


def _damage(folder, name, size, digest) -> str | None:
  file = folder / name
  if not file.is_file():
    return f'{name} is missing'
  if file.stat().st_size != size:
    return f'{name} has {file.stat().st_size} bytes; wanted {size}'
  if sha256(file) != digest:
    return f'{name} differs from its SHA-256'
  return None


def sha256(file: pathlib.Path) -> str:
  """Hex digest of a file."""
  with file.open('rb') as handle:
    return hashlib.file_digest(handle, 'sha256').hexdigest()


def _sync(path: pathlib.Path) -> None:
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
