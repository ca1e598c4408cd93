"""The official FR-DEEP batches: pictures, classes and split.

Tang et al. 2019, https://doi.org/10.1093/mnras/stz1883. Eleven pickled batches
of 50 pictures to train on and one to test on, for each of two surveys.
"""

import dataclasses
import pathlib
import pickle
import re
import tarfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from radio_ssl.data import unpickle

# In the order of the labels in the batches.
CLASSES = ('FRI', 'FRII')
SIZE_PIX = 150
# FIRST: 141_FRICAT_FR1_example.png, and 5_example.png for both classes.
# NVSS: 141_FRICAT_FR1_.png, 5_CoNFIG_FR1_.png and, in class II, 5a.png.
_FILE = re.compile(
  r'(?P<number>\d+)'
  r'(?:_(?P<catalogue>FRICAT|CoNFIG)_FR1_(?:example)?|_example|(?P<second>a))'
  r'\.png'
)


@dataclasses.dataclass(frozen=True)
class Picture:
  """One labelled galaxy.

  Attributes:
    name: catalogue, class and number in it, such as CoNFIG_FRII_5: the same
      source has the same name in both surveys.
    file_name: as published; not unique.
    label: one of `CLASSES`.
    split: 'train' or 'test'.
    pixels: uint8 [150, 150]. The batches keep the row order of FITS (row 0 is
      south, east is left), so nothing is flipped. What is below 3 sigma is 0,
      the largest pixel 255.
  """

  name: str
  file_name: str
  label: str
  split: str
  pixels: np.ndarray = dataclasses.field(repr=False, compare=False)


def parse_name(file_name: str, label: str) -> str:
  """The name of a source, from its file and its class.

  Raises:
    ValueError: another form of file name, or one of the other class.
  """
  match = _FILE.fullmatch(file_name)
  if match is None:
    raise ValueError(
      f'{file_name!r} is not an FR-DEEP name; wanted such as '
      '141_FRICAT_FR1_.png, 5_example.png or 5a.png'
    )
  if (match['catalogue'] and label != 'FRI') or (
    match['second'] and label != 'FRII'
  ):
    raise ValueError(f'{file_name!r} has the label {label} of the other class')
  return f'{match["catalogue"] or "CoNFIG"}_{label}_{match["number"]}'


def read(path: str | pathlib.Path) -> list[Picture]:
  """All pictures of a published archive, by split and name.

  Raises:
    ValueError: no such archive, more in it than arrays and containers, classes
      in another order, lists of different lengths, a picture of another size,
      a name that disagrees with its label, or a source that comes twice.
  """
  try:
    members = dict(unpickle.read_batches(path))
  # gzip and tarfile fail in many ways.
  except (pickle.UnpicklingError, tarfile.TarError, OSError, EOFError) as error:
    reason = ' '.join(str(error).split())
    raise ValueError(
      f'{path}: not the published batches ({reason}). Fetch it again.'
    ) from error
  classes = members.pop('batches.meta', {}).get('label_names')
  if classes != list(CLASSES):
    raise ValueError(
      f'{path}: batches.meta: label_names is {classes}; wanted '
      f'{list(CLASSES)}. Fetch it again.'
    )
  pictures = []
  for member, batch in members.items():
    split = 'test' if member == 'test_batch' else 'train'
    try:
      pictures += _pictures(batch, split)
    except (ValueError, KeyError, TypeError) as error:
      raise ValueError(
        f'{path}: {member}: {error}. Not as published: fetch it again.'
      ) from error
  if len({p.name for p in pictures}) != len(pictures):
    raise ValueError(f'{path}: a source comes twice. Fetch it again.')
  return sorted(pictures, key=lambda p: (p.split, p.name))


def _pictures(batch: Mapping[str, Any], split: str) -> list[Picture]:
  rows = zip(batch['filenames'], batch['labels'], batch['data'], strict=True)
  return [
    _picture(str(file_name), label, pixels, split)
    for file_name, label, pixels in rows
  ]


def _picture(
  file_name: str, label: int, pixels: np.ndarray, split: str
) -> Picture:
  if label not in range(len(CLASSES)):
    raise ValueError(f'{file_name!r} has the label {label}; wanted 0 or 1')
  pixels = np.asarray(pixels)
  if pixels.shape != (SIZE_PIX**2,) or pixels.dtype != np.uint8:
    raise ValueError(
      f'{file_name!r} is {pixels.dtype} {pixels.shape}; wanted uint8 '
      f'({SIZE_PIX**2},)'
    )
  return Picture(
    name=parse_name(file_name, CLASSES[label]),
    file_name=file_name,
    label=CLASSES[label],
    split=split,
    pixels=pixels.reshape(SIZE_PIX, SIZE_PIX),
  )
