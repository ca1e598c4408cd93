"""Sky positions of images, from a catalogue that names their files."""

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from radio_ssl.data import catalogue as catalogues
from tfds_builders.image_folder import folders, images

_FIELDS = ('ra_deg', 'dec_deg', 'source_size_arcsec', 'flux_jy', 'redshift')


def place(
  found: folders.Found, path: str, columns: Mapping[str, str]
) -> folders.Found:
  """The images with what a catalogue tells of them.

  A row is of the image whose file it names, with or without its folders, with
  or without its ending.

  Args:
    found: the images.
    path: of the catalogue.
    columns: our name -> the catalogue's.

  Returns:
    The images, and in the notes the number of rows that are of none.

  Raises:
    ValueError: no row is of an image, two are of one, or one is of two.
  """
  sources = catalogues.read(path, columns=columns)
  rows = {str(name): row for row, name in enumerate(sources.name)}
  for name in rows:
    # The reader of catalogues numbers names that come again.
    first = re.sub(r'#\d+$', '', name)
    if first != name and first in rows:
      raise ValueError(f'{path}: two rows are of {first}. Remove one.')
  placed, used = [], {}
  for image in found.images:
    names = [image.name, images.bare(image.name)]
    names += [image.path.name, images.bare(image.path.name)]
    row = next((rows[name] for name in names if name in rows), None)
    if row in used:
      raise ValueError(
        f'{path}: row {str(sources.name[row])!r} is of {used[row]} and of '
        f'{image.name}. Name the files there with their folders.'
      )
    if row is not None:
      used[row] = image.name
      image = dataclasses.replace(image, known=_known(sources, row))
    placed.append(image)
  if not used:
    raise ValueError(
      f'{path}: names no image of {found.place}: its first is '
      f'{str(sources.name[0])!r}; wanted file names, such as '
      f'{placed[0].name if placed else "a.fits"!r}. Correct it, or tell its '
      'column with --columns name=NAME.'
    )
  notes = {**found.notes, 'positions_of_no_image': len(rows) - len(used)}
  return dataclasses.replace(found, images=placed, notes=notes)


def _known(sources: catalogues.Catalogue, row: int) -> dict[str, float]:
  values = {field: float(getattr(sources, field)[row]) for field in _FIELDS}
  return {field: value for field, value in values.items() if np.isfinite(value)}
