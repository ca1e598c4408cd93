"""Options that all builders of labelled images have, and what they record."""

import dataclasses
import hashlib
import json
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from radio_ssl.data import manifest, units
from tfds_builders import build

SPLITS = ('train', 'valid', 'test')


def option(default: Any, help_: str, parse: Any = str) -> Any:
  """A field of `Options`, as `tfds_builders.build` wants it."""
  metadata = {'help': help_, 'parse': parse}
  return dataclasses.field(default=default, metadata=metadata)


def _fractions(text: str) -> tuple[float, ...]:
  """Reads '0.8,0.1,0.1'."""
  return tuple(float(part) for part in text.split(','))


@dataclasses.dataclass(frozen=True)
class Settings:
  """How images are read and split; builders add where they are."""

  size_pix: int | None = option(
    None,
    'side to which images of several sizes are cut or padded round their '
    'centre, in their own pixels',
    int,
  )
  pixel_scale_arcsec: float | None = option(
    None, 'side of a pixel of PNG, JPEG and .npy; FITS tell theirs', float
  )
  beam_arcsec: float | None = option(
    None, 'FWHM of a round beam, taken instead of BMAJ and BMIN', float
  )
  unit: str | None = option(
    None, 'of FITS and float .npy, taken instead of BUNIT: Jy/beam'
  )
  no_flip: bool = option(
    False, 'rows of PNG and JPEG start in the south, as those of FITS do'
  )
  fractions: tuple[float, ...] = option(
    (0.8, 0.1, 0.1),
    'of each class in train,valid,test, where folders do not tell; 0 leaves a '
    'split out',
    _fractions,
  )
  folds: int | None = option(
    None,
    'store this many folds of equal shares, fold_0 and so on, instead of '
    'train, valid and test',
    int,
  )
  seed: int = option(0, 'of the draw of the splits', int)
  group_radius_arcsec: float | None = option(
    None,
    'images closer than this share a split; the diagonal of an image without '
    'it, 60 where nobody knows that',
    float,
  )
  skip_bad: bool = option(False, 'pass over what is bad, and list it')


def shares(options: Settings) -> dict[str, float]:
  """Name of each split that is drawn -> its share of each class."""
  if options.folds:
    return {f'fold_{k}': 1 / options.folds for k in range(options.folds)}
  named = zip(SPLITS, options.fractions, strict=True)
  return {split: share for split, share in named if share}


def check_name(name: str, builder: str) -> None:
  """Refuses a name that no data set of this builder can have.

  Raises:
    ValueError: the name and what was wanted.
  """
  if not re.fullmatch(r'[a-z][a-z0-9_]*', name):
    raise ValueError(f'name {name!r}: wanted lower-case letters, digits and _.')
  if name in set(build.available()) - {builder}:
    raise ValueError(f'name {name!r} is a builder. Choose another.')


def check(options: Settings, name: str, builder: str) -> None:
  """Refuses values that no data set can have.

  Raises:
    ValueError: option, value and what was wanted.
  """
  check_name(name, builder)
  if options.size_pix is not None and options.size_pix < 8:
    raise ValueError(f'size_pix {options.size_pix}: wanted 8 or more.')
  for key in ('pixel_scale_arcsec', 'beam_arcsec', 'group_radius_arcsec'):
    value = getattr(options, key)
    if value is not None and not 0 < value < math.inf:
      raise ValueError(f'{key} {value}: wanted more than 0.')
  _check_fractions(options)
  if options.unit is not None:
    try:
      units.to_jy_beam(options.unit)
    except ValueError as error:
      raise ValueError(
        f'unit: {error}. Wanted Jy/beam, mJy/beam, ...'
      ) from error


def _check_fractions(options: Settings) -> None:
  given = options.fractions
  if (
    len(given) != len(SPLITS)
    or not all(share >= 0 for share in given)
    or not math.isclose(sum(given), 1, abs_tol=1e-6)
  ):
    raise ValueError(
      f'fractions {given}: wanted three of {",".join(SPLITS)} that sum to 1, '
      'such as 0.8,0.1,0.1.'
    )
  if options.folds is not None:
    if options.folds < 2:
      raise ValueError(f'folds {options.folds}: wanted 2 or more.')
    if given != Settings.fractions:
      raise ValueError(
        f'folds {options.folds} and fractions {given}: folds have equal '
        'shares. Leave one of them out.'
      )


def record(
  options: Settings, **inputs: Mapping[str, pathlib.Path]
) -> dict[str, Any]:
  """All values, JSON-ready.

  Args:
    options: of a builder.
    **inputs: for options that name files: name -> file of each; their content
      is what counts.
  """
  values = json.loads(json.dumps(dataclasses.asdict(options)))
  for key, files in inputs.items():
    values[key] = _digest(files) if files else build.MISSING
  return values


def _digest(files: Mapping[str, pathlib.Path]) -> str:
  lines = [f'{name} {manifest.sha256(path)}' for name, path in files.items()]
  return hashlib.sha256('\n'.join(sorted(lines)).encode()).hexdigest()
