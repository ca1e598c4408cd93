"""The data sets that are joined: found, opened, and fit for one another."""

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence

from radio_ssl.data import pipeline

JY_BEAM = 'Jy/beam'
_SPLIT = r'[^:/\\+\[\]]+(\[[^\]]*\])?'
# Splits have no slash, so that the colon of a drive or a slice is no end.
_SET = re.compile(rf'(?P<directory>.+?):(?P<splits>{_SPLIT}(\+{_SPLIT})*)')


@dataclasses.dataclass(frozen=True)
class Member:
  """One of the data sets.

  Attributes:
    dataset: opened.
    splits: of it, in the order in which they are read.
    title: its name and config, with a number where another has the same.
  """

  dataset: pipeline.DataSet
  splits: tuple[str, ...]
  title: str

  @property
  def pictures(self) -> bool:
    """Whether pixels are counts from 0 to 255, without a noise level."""
    return self.dataset.geometry.dtype == 'uint8'

  @property
  def side_pix(self) -> int:
    """The shorter side of its images."""
    return min(self.dataset.geometry.height, self.dataset.geometry.width)

  @property
  def unit(self) -> str:
    """Of its pixels, as they are joined with float ones."""
    if self.pictures:
      return 'counts'
    path = self.dataset.directory / 'metadata.json'
    told = json.loads(path.read_text()) if path.is_file() else {}
    return told.get('unit', JY_BEAM)


def parse(text: str) -> tuple[str, tuple[str, ...]]:
  """Reads 'DIR:train+valid': the folder, and the splits.

  Raises:
    ValueError: not of that form, or a split that comes twice.
  """
  match = _SET.fullmatch(text)
  if match is None:
    raise ValueError(
      f'--sets {text!r}: wanted the folder of a data set and its splits, such '
      'as DIR:train or DIR:train+valid.'
    )
  splits = tuple(match['splits'].split('+'))
  names = [split.split('[')[0] for split in splits]
  if twice := {name for name in names if names.count(name) > 1}:
    raise ValueError(
      f'--sets {text!r}: the split {min(twice)!r} comes twice. Name it once.'
    )
  return match['directory'], splits


def opened(sets: Sequence[str]) -> list[Member]:
  """Opens the data sets, in the order of `sets`.

  Args:
    sets: 'DIR:SPLIT+SPLIT' of each.

  Raises:
    ValueError: none is named; one is not there, lacks a split, or comes twice,
      be it as a copy.
  """
  if not sets:
    raise ValueError('no data sets. Set --sets DIR:SPLIT,DIR:SPLIT.')
  made: list[Member] = []
  for directory, splits in map(parse, sets):
    dataset = pipeline.open_dataset(directory)
    for split in splits:
      dataset.source(split)
    for other in made:
      if other.dataset.fingerprint == dataset.fingerprint:
        raise ValueError(
          f'{directory}: is the same data set as {other.dataset.directory}. '
          'Name it once, its splits with + between them.'
        )
    made.append(Member(dataset, splits, _title(dataset, made)))
  return made


def _title(dataset: pipeline.DataSet, before: Sequence[Member]) -> str:
  number = 1 + sum(m.dataset.title == dataset.title for m in before)
  return dataset.title if number == 1 else f'{dataset.title}#{number}'


def side_pix(members: Sequence[Member], asked: int | None) -> int:
  """The side to which all images are cut.

  Args:
    members: at least one.
    asked: None for the smallest side among the sets.

  Raises:
    ValueError: a set has smaller images than those asked for.
  """
  smallest = min(members, key=lambda m: m.side_pix)
  if asked is not None and smallest.side_pix < asked:
    height, width = (
      smallest.dataset.geometry.height,
      smallest.dataset.geometry.width,
    )
    raise ValueError(
      f'{smallest.dataset.directory}: has images of {height} x {width} pixels, '
      f'--size_pix is {asked}, and nothing is padded. Lower it to '
      f'{smallest.side_pix}, or leave the set out.'
    )
  return smallest.side_pix if asked is None else asked


def dtype(members: Sequence[Member], asked: str) -> str:
  """Of the stored pixels: uint8 where all sets are of 8-bit pictures.

  Raises:
    ValueError: float16 of nothing but pictures.
  """
  if not all(member.pictures for member in members):
    return asked
  if asked == 'float16':
    raise ValueError(
      f'--dtype float16: {members[0].dataset.directory} and all others are of '
      '8-bit pictures, and stay uint8. Leave the flag out.'
    )
  return 'uint8'


def records(member: Member) -> Iterator[tuple[str, dict]]:
  """(split, record) of all its splits, one after the other."""
  for split in member.splits:
    for record in member.dataset.source(split):
      yield split, record
