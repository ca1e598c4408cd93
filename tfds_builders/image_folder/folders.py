"""Which images lie in which folder of a class, and what else lies there."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from tfds_builders.image_folder import images

# Names of folders of splits, compared in lower case.
_SPLITS = {
  'train': 'train',
  'valid': 'valid',
  'validation': 'valid',
  'val': 'valid',
  'test': 'test',
}
_HIDDEN = 'hidden', 'a hidden file or folder. Remove it.'
_LAYOUTS = 'FOLDER/CLASS/file or FOLDER/SPLIT/CLASS/file'


@dataclasses.dataclass(frozen=True)
class Labelled:
  """An image that was not read yet.

  Attributes:
    path: the file.
    name: what it is called in the data set; unique.
    label: its class.
    split: 'train', 'valid' or 'test'; '' where it is to be drawn.
    known: fields of `radio_ssl.data.examples` that others tell of it.
    tags: more that is told of it and counted, by what is counted.
    where: what names it, for messages: 'entry 3: ' of a list.
  """

  path: pathlib.Path
  name: str
  label: str
  split: str = ''
  known: Mapping[str, float] = dataclasses.field(default_factory=dict)
  tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
  where: str = ''


@dataclasses.dataclass(frozen=True)
class Found:
  """The images of a place.

  Attributes:
    place: the folder or file, for messages.
    images: in the order of their names.
    rejected: name -> (kind, reason) of what cannot be used.
    notes: what else there is to tell of the place, JSON-ready.
  """

  place: pathlib.Path
  images: Sequence[Labelled]
  rejected: Mapping[str, tuple[str, str]]
  notes: Mapping[str, object]


def find(folder: str | pathlib.Path, other: Sequence[str | None] = ()) -> Found:
  """Looks into the folders of classes; no image is read.

  Args:
    folder: holds CLASS/file, or SPLIT/CLASS/file with SPLIT one of train,
      valid (validation, val) and test.
    other: files that may lie there too.

  Raises:
    ValueError: no such folder, no class, or folders of both layouts.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise ValueError(f'{folder}: no such folder. Correct --folder.')
  allowed = {pathlib.Path(path).resolve() for path in other if path}
  rejected: dict[str, tuple[str, str]] = {}
  tops = _folders(folder, folder, allowed, rejected)
  splits = {path: _SPLITS.get(path.name.lower(), '') for path in tops}
  _check_splits(folder, splits)
  found: list[Labelled] = []
  for top, split in splits.items():
    classes = [top]
    if split:
      classes = _folders(folder, top, allowed, rejected)
    for path in classes:
      found += _members(folder, path, split, allowed, rejected)
  layout = 'SPLIT/CLASS/file' if any(splits.values()) else 'CLASS/file'
  return Found(folder, found, rejected, {'layout': layout})


def _check_splits(
  folder: pathlib.Path, splits: Mapping[pathlib.Path, str]
) -> None:
  if not splits:
    raise ValueError(f'{folder}: no folders in it. Wanted {_LAYOUTS}.')
  named = [split for split in splits.values() if split]
  if named and len(named) < len(splits):
    wrong = next(path for path, split in splits.items() if not split)
    raise ValueError(
      f'{folder}: {wrong.name!r} is the folder of a class and '
      f'{named[0]!r} that of a split. Wanted {_LAYOUTS}: move or rename one.'
    )
  if len(set(named)) < len(named):
    names = ', '.join(path.name for path in splits)
    raise ValueError(
      f'{folder}: two folders of one split among {names}. Join them.'
    )


def _folders(
  root: pathlib.Path,
  folder: pathlib.Path,
  allowed: set[pathlib.Path],
  rejected: dict[str, tuple[str, str]],
) -> list[pathlib.Path]:
  """The folders in one; all else there is rejected."""
  kept = []
  for path in sorted(folder.iterdir()):
    name = path.relative_to(root).as_posix()
    if path.name.startswith('.'):
      rejected[name] = _HIDDEN
    elif path.is_dir():
      kept.append(path)
    elif path.resolve() not in allowed:
      reason = f'in no folder of a class; wanted {_LAYOUTS}. Move it elsewhere.'
      rejected[name] = 'no class', reason
  if folder != root and not kept:
    reason = 'no folder of a class in this split. Fill or remove it.'
    rejected[f'{folder.name}/'] = 'empty', reason
  return kept


def _members(
  root: pathlib.Path,
  folder: pathlib.Path,
  split: str,
  allowed: set[pathlib.Path],
  rejected: dict[str, tuple[str, str]],
) -> list[Labelled]:
  """The images in the folder of a class; all else there is rejected."""
  found = []
  for path in sorted(folder.iterdir()):
    name = path.relative_to(root).as_posix()
    if path.name.startswith('.'):
      rejected[name] = _HIDDEN
    elif path.is_dir():
      reason = (
        f'a folder in that of a class; wanted {_LAYOUTS}. Move its files.'
      )
      rejected[f'{name}/'] = 'folder', reason
    elif path.resolve() not in allowed:
      try:
        images.kind(path)
        found.append(Labelled(path, name, folder.name, split))
      except images.ImageError as error:
        rejected[name] = error.kind, str(error).removeprefix(f'{path}: ')
  if not found:
    reason = 'no image of this class. Fill or remove the folder.'
    rejected[f'{folder.relative_to(root).as_posix()}/'] = 'empty', reason
  return found
