"""Reads a data set again and tells what is wrong with it, and what leaks.

  python -m tfds_builders.check DIR [--against DIR2 ...]

Every file is compared with its SHA-256, every record is decoded and looked at.
Sources that two splits share are listed, and with `--against` those that two
data sets share, by footprint; where positions are unknown, images that look the
same. With `--images` positions are held against the FITS files. Exit status: 0
sound; 1 damaged; 2 sound, but something is shared; 3 sound, but nobody can know
what is shared.
"""

import argparse
import dataclasses
import functools
import itertools
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from radio_ssl.data import exclusion, manifest, pipeline
from tfds_builders import arguments, round_trip

SOUND, DAMAGED, SHARED, UNKNOWN = range(4)
_SHOWN = 20
# Correlation above which two images are taken for copies; shifted ones are not
# found.
_SAME = 0.98
_THUMB_PIX = 48
_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class Split:
  """What the records of a split hold.

  Attributes:
    title: data set and split.
    names: of the sources or tiles.
    sky: [N, 5] RA, Dec, side of the footprint in arcsec, its rotation in
      degrees, size of the source in arcsec; NaN where unknown.
    source: the records.
    numbers: [N] which of them these are.
  """

  title: str
  names: list[str]
  sky: np.ndarray
  source: Sequence[Any]
  numbers: np.ndarray

  @functools.cached_property
  def thumbs(self) -> np.ndarray:
    """[N, T] unit vectors of the images' shapes; 0 of an empty one."""
    records = (self.source[int(n)] for n in self.numbers)
    return np.array([_thumb(record['image'][..., 0]) for record in records])

  def by_place(self) -> tuple['Split', 'Split']:
    """Those with a position and a footprint, and those without."""
    placed = np.isfinite(self.sky[:, :3]).all(axis=1)
    return self._take(placed), self._take(~placed)

  def _take(self, wanted: np.ndarray) -> 'Split':
    numbers = np.flatnonzero(wanted)
    return Split(
      self.title,
      [self.names[n] for n in numbers],
      self.sky[numbers],
      self.source,
      self.numbers[numbers],
    )


def damage(dataset: pipeline.DataSet) -> Iterator[str]:
  """A line for each thing that is wrong with the files of a data set."""
  folder = dataset.directory
  if not (folder / manifest.NAME).exists():
    yield f'no {manifest.NAME}: its files cannot be verified'
  elif reason := manifest.damage(folder):
    yield reason


def read(dataset: pipeline.DataSet, split: str, problems: list[str]) -> Split:
  """Decodes every record of a split; appends a line for each kind of fault."""
  faults: dict[str, list[str]] = {}
  names, sky = [], []
  side_pix = max(dataset.geometry.height, dataset.geometry.width)
  source = dataset.source(split)
  for record in source:
    name = record['name'].decode()
    for fault in _faults(record, dataset):
      faults.setdefault(fault, []).append(name)
    names.append(name)
    sky.append(
      (
        record['ra_deg'],
        record['dec_deg'],
        record['pixel_scale_arcsec'] * side_pix,
        np.nan_to_num(record['rotation_deg']),
        record['source_size_arcsec'],
      )
    )
  wanted = dataset.num_examples[split]
  if len(names) != wanted:
    problems.append(f'{split}: {len(names)} records; wanted {wanted}')
  if len(set(names)) < len(names):
    twice = next(b for a, b in itertools.pairwise(sorted(names)) if a == b)
    problems.append(f'{split}: a name comes twice, such as {twice}')
  problems += [
    f'{split}: {len(of)} images with {fault}, such as {of[0]}'
    for fault, of in faults.items()
  ]
  table = np.array(sky, np.float64).reshape(-1, 5)
  title = f'{"/".join(dataset.directory.parts[-3:-1])} {split}'
  return Split(title, names, table, source, np.arange(len(names)))


def _faults(record, dataset: pipeline.DataSet) -> Iterator[str]:
  image = record['image']
  if image.dtype != np.uint8:
    if not np.isfinite(image).any():
      yield 'no finite pixel'
    if np.isinf(image).any():
      yield 'infinite pixels'
    if not (record['rms_jy_beam'] > 0 and np.isfinite(record['rms_jy_beam'])):
      yield 'no noise level'
    if not np.isfinite(record['background_jy_beam']):
      yield 'no background'
  ra, dec = record['ra_deg'], record['dec_deg']
  if np.isfinite(ra) != np.isfinite(dec):
    yield 'half a position'
  if not (np.isnan(ra) or (0 <= ra < 360 and -90 <= dec <= 90)):
    yield 'a position off the sky'
  if dataset.label_names is not None:
    if not 0 <= record['label'] < len(dataset.label_names):
      yield 'a label that has no name'


def _thumb(image: np.ndarray) -> np.ndarray:
  """An image on at most 48 pixels along its shorter side, as a unit vector."""
  image = np.where(np.isfinite(image), image, 0).astype(np.float32)
  step = max(1, -(-min(image.shape) // _THUMB_PIX))
  rows, columns = (n // step * step for n in image.shape)
  blocks = image[:rows, :columns].reshape(rows // step, step, -1, step)
  thumb = blocks.mean(axis=(1, 3)).ravel()
  # A bright core would be all of a correlation.
  thumb = np.arcsinh((thumb - np.median(thumb)) / (thumb.std() / 10 or 1))
  thumb -= thumb.mean()
  norm = np.linalg.norm(thumb)
  return thumb / norm if norm > 0 else thumb


def shared(a: Split, b: Split) -> list[tuple[str, str]]:
  """Pairs (image of `a`, source of `b`) that must not be on two sides.

  By footprint where both positions are known: the image, grown by 30 arcsec or
  half the source's size, holds the source (`radio_ssl.data.exclusion`). Else by
  what the images look like, as far as the two sets have one size.
  """
  (a_placed, a_other), (b_placed, b_other) = a.by_place(), b.by_place()
  return [
    *_by_position(a_placed, b_placed),
    *_by_look(a_other, b),
    *_by_look(a_placed, b_other),
  ]


def _by_position(a: Split, b: Split) -> list[tuple[str, str]]:
  if not (a.names and b.names):
    return []
  ra, dec, _, _, size = b.sky.T
  at, source = exclusion.Exclusion(ra, dec, size).pairs(
    a.sky[:, 0], a.sky[:, 1], field_arcsec=a.sky[:, 2], rotation_deg=a.sky[:, 3]
  )
  return [(a.names[i], b.names[j]) for i, j in zip(at, source, strict=True)]


def _by_look(a: Split, b: Split) -> list[tuple[str, str]]:
  if not (a.names and b.names) or a.thumbs.shape[1] != b.thumbs.shape[1]:
    return []
  found = []
  for first in range(0, len(a.thumbs), _AT_ONCE):
    alike = a.thumbs[first : first + _AT_ONCE] @ b.thumbs.T > _SAME
    found += [(a.names[first + i], b.names[j]) for i, j in np.argwhere(alike)]
  return found


def _tell_shared(a: Split, b: Split) -> int:
  """Prints it; returns the exit status that it asks for."""
  pairs = shared(a, b)
  (a_placed, a_other), (b_placed, b_other) = a.by_place(), b.by_place()
  other = len(a_other.names) + len(b_other.names)
  by_place = ['show a source of'] if a_placed.names and b_placed.names else []
  how = ', or '.join(by_place + (['look like one of'] if other else []))
  images = len({image for image, _ in pairs})
  print(f'{a.title}: {images} of {len(a.names)} images {how} {b.title}')
  for image, source in pairs[:_SHOWN]:
    print(f'  {image}  {source}')
  if len(pairs) > _SHOWN:
    print(f'  ... and {len(pairs) - _SHOWN} more pairs')
  if other and a.thumbs.shape[1] != b.thumbs.shape[1]:
    print(
      f'{a.title}, {b.title}: overlap unknown: {other} images have no '
      'position, and the images of the two are of other sizes'
    )
    return SHARED if pairs else UNKNOWN
  return SHARED if pairs else SOUND


def check(
  directory: pathlib.Path,
  against: Sequence[pathlib.Path] = (),
  images: str | None = None,
) -> int:
  """Prints what is found; returns the exit status.

  Args:
    directory: of a data set.
    against: other data sets, whose sources it should not show.
    images: pattern of the FITS files that it was made of, to compare with.

  Raises:
    ValueError: a folder that is no data set, or files that cannot be compared.
  """
  damaged, groups = False, []
  for folder in (directory, *against):
    dataset = pipeline.open_dataset(folder)
    problems = list(damage(dataset))
    groups.append([read(dataset, s, problems) for s in dataset.num_examples])
    if images is not None and folder == directory:
      problems += round_trip.problems(dataset, images)
    for line in problems:
      print(f'{folder}: {line}')
    damaged |= bool(problems)
    sizes = ', '.join(f'{len(s.names)} {s.title}' for s in groups[-1])
    print(f'{folder}: read {sizes}')
  pairs = list(itertools.permutations(groups[0], 2))
  for other in groups[1:]:
    pairs += itertools.product(groups[0], other)
  found = {_tell_shared(a, b) for a, b in pairs}
  if damaged:
    return DAMAGED
  # A leak that is known is worse than one that may be.
  return next((s for s in (SHARED, UNKNOWN) if s in found), SOUND)


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  parser = arguments.Parser(
    prog='python -m tfds_builders.check',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('directory', type=pathlib.Path, help='of a data set')
  parser.add_argument(
    '--against',
    type=pathlib.Path,
    nargs='+',
    default=(),
    help='other data sets, whose sources it should not show',
  )
  parser.add_argument(
    '--images',
    help="the FITS files that it was made of, 'dir/**/*.fits*': each image is "
    'compared with what its file has at its position',
  )
  args = parser.parse_args(argv)
  try:
    return check(args.directory, args.against, args.images)
  except (ValueError, OSError) as error:
    parser.error(str(error))


if __name__ == '__main__':
  sys.exit(main())
