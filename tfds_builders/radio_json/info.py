"""The entries of an info.json: paths, classes, surveys, positions.

The form of the data of Cecconello et al. 2024, https://arxiv.org/abs/2411.14078:
a list, or {'data': list}, of objects with `target_path`, `source_type`,
`survey`, `telescope`. Entries are counted from 1.
"""

import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import astropy.coordinates

from tfds_builders.image_folder import folders, images

# Names of keys, compared in lower case.
_RA = ('ra', 'ra_deg', 'raj2000')
_DEC = ('dec', 'dec_deg', 'dej2000', 'decj2000')
# What stands for nothing.
_EMPTY = (None, '', [])


def path_of(given: str | pathlib.Path) -> pathlib.Path:
  """The file itself, where its folder was named."""
  path = pathlib.Path(given)
  return path / 'info.json' if path.is_dir() else path


def find(path: str | pathlib.Path, *, label: str, key: str) -> folders.Found:
  """The images that an info.json names; none is read.

  Args:
    path: the file, or its folder.
    label: key of the class.
    key: key of the path.

  Returns:
    Images with split ''; notes count images of the folder that no entry names,
    and paths of other machines that were found below the folder by their end.

  Raises:
    ValueError: no such file, or no list of objects.
  """
  path = path_of(path)
  entries, folder = _entries(path), path.parent
  rejected: dict[str, tuple[str, str]] = {}
  found: dict[int, folders.Labelled] = {}
  named: set[pathlib.Path] = set()
  moved = 0
  for number, entry in enumerate(entries, start=1):
    try:
      file = _file(entry, key, folder)
      named.add(file.resolve())
      moved += file != folder / entry[key]
      found[number] = folders.Labelled(
        path=file,
        name=pathlib.PurePath(os.path.relpath(file, folder)).as_posix(),
        label=_label(entry, label, file),
        known=_position(entry, file),
        tags={
          'surveys': _tag(entry.get('survey')),
          'telescopes': _tag(entry.get('telescope')),
        },
        where=f'entry {number}: ',
      )
    except images.ImageError as error:
      rejected[f'entry {number}'] = error.kind, str(error)
  _leave_out_copies(found, rejected)
  here = {p.resolve() for p in folder.rglob('*') if images.is_image(p)}
  notes = {
    'unlisted': len(here - named),
    'paths_of_elsewhere': moved,
  }
  return folders.Found(path, list(found.values()), rejected, notes)


def _entries(path: pathlib.Path) -> list[Any]:
  if not path.is_file():
    raise ValueError(f'{path}: no such file. Correct --info.')
  try:
    content = json.loads(path.read_text(encoding='utf-8-sig'))
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{path}: not JSON ({error}). Correct it.') from error
  if isinstance(content, dict):
    content = content.get('data')
  if not isinstance(content, list) or not content:
    raise ValueError(
      f"{path}: wanted a list of entries, or {{'data': a list}}, of one or "
      'more. Correct it.'
    )
  return content


def _file(entry: Any, key: str, folder: pathlib.Path) -> pathlib.Path:
  """The image of an entry; of an absolute path, what is found of its end."""
  if not isinstance(entry, dict):
    raise images.ImageError(
      f'is {json.dumps(entry)[:60]}; wanted an object with {key!r}.', 'entry'
    )
  given = entry.get(key)
  if not isinstance(given, str) or not given.strip():
    raise images.ImageError(
      f'{key} is {json.dumps(given)[:60]}; wanted the path of an image. Add '
      f'it, or name its key with --path: there are {_keys(entry)}.',
      'no path',
    )
  parts = pathlib.PurePath(given).parts
  places = [folder / given]
  if folder / given == pathlib.Path(given):
    places += [folder.joinpath(*parts[n:]) for n in range(1, len(parts))]
  file = next((place for place in places if place.is_file()), None)
  if file is None:
    raise images.ImageError(
      f'{given}: no such file, nor below {folder}. Fetch it, or remove the '
      'entry.',
      'no file',
    )
  images.kind(file)
  return file


def _label(entry: Mapping[str, Any], key: str, file: pathlib.Path) -> str:
  value = entry.get(key)
  if isinstance(value, list) and len(value) == 1:
    value = value[0]
  if isinstance(value, list) and value:
    raise images.ImageError(
      f'{file}: {key} has {len(value)} classes, {json.dumps(value)[:80]}; a '
      'source has one here. Choose one, or name a key of single classes with '
      '--label.',
      'several labels',
    )
  text = value.strip() if isinstance(value, str) else value
  if text in _EMPTY:
    raise images.ImageError(
      f'{file}: no class in {key}. Add it, or name its key with --label: there '
      f'are {_keys(entry)}.',
      'no label',
    )
  if isinstance(text, bool) or not isinstance(text, str | int):
    raise images.ImageError(
      f'{file}: {key} is {json.dumps(value)[:60]}; wanted the name of a class.',
      'label',
    )
  return str(text)


def _position(entry: Mapping[str, Any], file: pathlib.Path) -> dict[str, float]:
  """ICRS degrees, or {} where the entry has none."""
  lower = {name.lower(): value for name, value in entry.items()}
  ra, dec = (
    next((lower[n] for n in names if lower.get(n) is not None), None)
    for names in (_RA, _DEC)
  )
  if ra is None and dec is None:
    return {}
  try:
    position = float(ra), float(dec)
  except (TypeError, ValueError):
    position = _sexagesimal(ra, dec)
  ra_deg, dec_deg = position
  if not (math.isfinite(ra_deg) and abs(dec_deg) <= 90):
    raise images.ImageError(
      f'{file}: is at RA {ra!r}, Dec {dec!r}; wanted degrees, or hh:mm:ss and '
      'dd:mm:ss. Correct or remove them.',
      'position',
    )
  return {'ra_deg': ra_deg % 360, 'dec_deg': dec_deg}


def _sexagesimal(ra: Any, dec: Any) -> tuple[float, float]:
  try:
    sky = astropy.coordinates.SkyCoord(ra, dec, unit=('hourangle', 'deg'))
    return float(sky.ra.deg), float(sky.dec.deg)
  except Exception:  # Whatever stands there is no position.
    return math.nan, math.nan


def _leave_out_copies(
  found: dict[int, folders.Labelled], rejected: dict[str, tuple[str, str]]
) -> None:
  """Of entries of one file the first stays, and none where classes differ."""
  numbers: dict[pathlib.Path, list[int]] = {}
  for number, image in found.items():
    numbers.setdefault(image.path.resolve(), []).append(number)
  for same in numbers.values():
    labels = {found[number].label for number in same}
    for number in same[1:] if len(labels) == 1 else same:
      other = same[0] if number != same[0] else same[1]
      reason = (
        f'{found[number].path}: entry {other} names this file too, as '
        f'{found[other].label}. Keep one of them.'
      )
      rejected[f'entry {number}'] = 'duplicate', reason
    for number in same[1:] if len(labels) == 1 else same:
      del found[number]


def _tag(value: Any) -> str:
  if value in _EMPTY:
    return 'unknown'
  return value if isinstance(value, str) else json.dumps(value)


def _keys(entry: Mapping[str, Any]) -> str:
  return ', '.join(entry)[:200] or 'none'
