"""The official MiraBest batches: sources, classes and split.

Porter & Scaife 2023, https://doi.org/10.1093/rasti/rzad017. Eight pickled
batches of 157 pictures, seven to train on and one to test on.
"""

import dataclasses
import pathlib
import re

import numpy as np

from radio_ssl.data import unpickle

URL = (
  'http://www.jb.man.ac.uk/research/MiraBest/MiraBest_F/'
  'MiraBest_F_batches.tar.gz'
)
# Below --manual_dir.
ARCHIVE = 'mirabest/MiraBest_F_batches.tar.gz'
# In the order of the labels in the batches. First digit: 1 FRI, 2 FRII, 3
# hybrid; second: 0 confident, 1 uncertain; third: 0 standard, 1 double-double,
# 2 wide-angle tail, 4 head-tail.
NAMES_OF_CODES = {
  '100': 'fri',
  '102': 'fri_wide_angle_tail',
  '104': 'fri_head_tail',
  '110': 'fri_uncertain',
  '112': 'fri_wide_angle_tail_uncertain',
  '200': 'frii',
  '201': 'frii_double_double',
  '210': 'frii_uncertain',
  '300': 'hybrid',
  '310': 'hybrid_uncertain',
}
# MiraBest Confident: hybrids and uncertain classifications left out.
CONFIDENT = {'100': 'FRI', '102': 'FRI', '104': 'FRI'} | {
  '200': 'FRII',
  '201': 'FRII',
}

_NAME = re.compile(
  r'(?P<code>\d{3})_(?P<ra>\d{3}\.\d+)(?P<dec>[+-]\d{3}\.\d+)'
  r'_(?P<redshift>\d\.\d+)_(?P<size>\d{4}\.\d+)'
)


@dataclasses.dataclass(frozen=True)
class Source:
  """One labelled galaxy; all but picture and split come from its file name.

  Attributes:
    name: file name without folder and ending.
    code: three digits, see `NAMES_OF_CODES`.
    split: 'train' or 'test'.
    ra_deg: J2000, to 0.001 degree.
    dec_deg: J2000, to 0.001 degree.
    redshift: of the host galaxy.
    size_arcsec: largest angular size.
    picture: uint8 [150, 150]. The batches keep the row order of FITS (row 0 is
      south): each equals rows and columns 75 to 224 of the 300-pixel FIRST
      image of its source, without any flip. Clipped at 3 sigma, masked around
      the source and scaled to its own maximum.
  """

  name: str
  code: str
  split: str
  ra_deg: float
  dec_deg: float
  redshift: float
  size_arcsec: float
  picture: np.ndarray = dataclasses.field(repr=False, compare=False)


def parse_name(path: str, *, split: str, picture: np.ndarray) -> Source:
  """Reads class, position, redshift and size out of a file name.

  Raises:
    ValueError: for another form of name, or an unknown class.
  """
  name = pathlib.PurePosixPath(str(path)).name.removesuffix('.png')
  match = _NAME.fullmatch(name)
  if not match or match['code'] not in NAMES_OF_CODES:
    raise ValueError(
      f'{name!r} is not a MiraBest name; wanted CODE_RA+DEC_REDSHIFT_SIZE '
      f'with CODE one of {", ".join(NAMES_OF_CODES)}.'
    )
  return Source(
    name=name,
    code=match['code'],
    split=split,
    ra_deg=float(match['ra']),
    dec_deg=float(match['dec']),
    redshift=float(match['redshift']),
    size_arcsec=float(match['size']),
    picture=picture,
  )


def read(path: str | pathlib.Path) -> list[Source]:
  """All sources of `MiraBest_F_batches.tar.gz`, by split and name.

  Raises:
    ValueError: a batch whose lists differ in length, a label that disagrees
      with the name of its file, or a source that comes twice.
  """
  sources = []
  codes = list(NAMES_OF_CODES)
  for member, batch in unpickle.read_batches(path):
    if 'filenames' not in batch:
      continue
    split = 'test' if member == 'test_batch' else 'train'
    rows = zip(batch['filenames'], batch['labels'], batch['data'], strict=True)
    for file_name, label, picture in rows:
      source = parse_name(
        file_name, split=split, picture=np.asarray(picture, np.uint8)
      )
      if codes[label] != source.code:
        raise ValueError(
          f'{path}: {member}: label {label} means class {codes[label]}, but '
          f'the file is named {source.name}.'
        )
      sources.append(source)
  if len({s.name for s in sources}) != len(sources):
    raise ValueError(f'{path}: a source comes twice.')
  return sorted(sources, key=lambda s: (s.split, s.name))
