"""The published HDF5 files of FRG: pictures, classes, positions and splits.

Griese et al. 2023, https://doi.org/10.1016/j.dib.2023.108974. A zip holds one
HDF5 file, with one group a source.
"""

import dataclasses
import io
import pathlib
import re
import zipfile
from collections.abc import Iterator

import h5py
import numpy as np

# In the order of the labels in the files.
CLASSES = ('FRI', 'FRII', 'Compact', 'Bent')
SPLITS = ('train', 'valid', 'test')
SIZE_PIX = 300
# The largest published file, unpacked, has 201 MB.
_LARGEST_BYTES = 1 << 28
# Such as FRI/225.298_9.597_0_Capetti2017a.png.
_FILE = re.compile(
  r'(?P<folder>\w+)/(?P<name>(?P<ra>[\d.]+)_(?P<dec>-?[\d.]+)'
  r'_(?P<label>\d)_(?P<catalogue>\w+))\.png'
)


@dataclasses.dataclass(frozen=True)
class Picture:
  """One labelled galaxy.

  Attributes:
    name: file name without folder and ending; unique.
    label: one of `CLASSES`.
    split: one of `SPLITS`.
    ra_deg: J2000, to 0.001 degree.
    dec_deg: J2000, to 0.001 degree.
    pixels: uint8 [300, 300]. The files keep the row order of FITS (row 0 is
      south, east is left), so nothing is flipped. What is below 3 sigma is 0,
      the largest pixel 255.
  """

  name: str
  label: str
  split: str
  ra_deg: float
  dec_deg: float
  pixels: np.ndarray = dataclasses.field(repr=False, compare=False)


def read(path: str | pathlib.Path) -> list[Picture]:
  """All pictures of a published zip, by split and name.

  Nothing is written to disk, and no link out of the file is followed.

  Raises:
    ValueError: not such a zip, or a group that is not as published: file,
      group, value and remedy in one line.
  """
  try:
    with (
      io.BytesIO(_unpacked(path)) as data,
      h5py.File(data, mode='r') as file,
    ):
      pictures = list(_pictures(path, file))
  # h5py raises RuntimeError and KeyError too for damaged bytes.
  except (zipfile.BadZipFile, OSError, RuntimeError, KeyError) as error:
    raise ValueError(
      f'{path}: not a zip with a readable HDF5 file ({error}). Fetch it again.'
    ) from error
  if len({p.name for p in pictures}) != len(pictures):
    raise ValueError(f'{path}: a source comes twice. Fetch it again.')
  return sorted(pictures, key=lambda p: (p.split, p.name))


def _unpacked(path: str | pathlib.Path) -> bytes:
  with zipfile.ZipFile(path) as archive:
    members = archive.infolist()
    sizes = {m.filename: m.file_size for m in members}
    if (
      len(members) != 1
      or not members[0].filename.endswith('.h5')
      or members[0].file_size > _LARGEST_BYTES
    ):
      raise ValueError(
        f'{path}: holds {sizes} (bytes); wanted one .h5 of at most '
        f'{_LARGEST_BYTES}. Fetch it again.'
      )
    return archive.read(members[0])


def _pictures(path: str | pathlib.Path, file: h5py.File) -> Iterator[Picture]:
  for key in file:
    try:
      yield _picture(file, key)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      raise ValueError(
        f'{path}: group {key}: {error}. Not as published: fetch it again.'
      ) from error


def _picture(file: h5py.File, key: str) -> Picture:
  image = _own(file, f'{key}/Img')
  label = _own(file, f'{key}/Label_literature')[()]
  split = _own(file, f'{key}/Split_literature').asstr()[()]
  name = image.attrs['Filepath_literature']
  match = _FILE.fullmatch(name)
  if match is None:
    raise ValueError(f'Filepath_literature is {name!r}')
  if label not in range(len(CLASSES)):
    raise ValueError(f'Label_literature is {label}')
  if match['folder'] != CLASSES[int(label)] or int(match['label']) != label:
    raise ValueError(f'label {label} disagrees with the file name {name}')
  if split not in SPLITS:
    raise ValueError(f'Split_literature is {split!r}')
  if image.shape != (SIZE_PIX, SIZE_PIX) or image.dtype != np.uint8:
    raise ValueError(f'Img is {image.dtype} {image.shape}')
  ra_deg, dec_deg = float(image.attrs['RA']), float(image.attrs['DEC'])
  named = float(match['ra']), float(match['dec'])
  if not np.allclose([ra_deg, dec_deg], named, rtol=0, atol=1e-3):
    raise ValueError(
      f'position ({ra_deg}, {dec_deg}) disagrees with the file name {name}'
    )
  return Picture(
    name=match['name'],
    label=CLASSES[int(label)],
    split=split,
    ra_deg=ra_deg,
    dec_deg=dec_deg,
    pixels=image[()],
  )


def _own(file: h5py.File, name: str) -> h5py.Dataset:
  """A dataset whose bytes are in the file itself.

  HDF5 can name other files of the disk: in links, as raw storage, as parts of
  a virtual dataset.
  """
  for part in (name.split('/')[0], name):
    if not isinstance(file.get(part, getlink=True), h5py.HardLink):
      raise ValueError(f'{part} is a link')
  dataset = file[name]
  if dataset.external or dataset.is_virtual:
    raise ValueError(f'{name} is stored in another file')
  return dataset
