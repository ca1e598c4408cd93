"""Anyone's labelled images, one folder a class, as a data set."""

import dataclasses
import pathlib
from typing import Any

import tensorflow_datasets as tfds

from tfds_builders.image_folder import folders, labelled, positions, settings


def _columns(text: str) -> dict[str, str]:
  """Reads 'name=FILE,ra_deg=RA_OBS'."""
  return dict(part.strip().split('=') for part in text.split(','))


@dataclasses.dataclass(frozen=True)
class Options(settings.Settings):
  """What shapes the data; each field is a flag of `tfds_builders.build`."""

  folder: str | None = settings.option(
    None, 'holds CLASS/file, or SPLIT/CLASS/file'
  )
  name: str = settings.option('image_folder', 'what the data set is called')
  positions: str | None = settings.option(
    None,
    'catalogue with name (of the file), ra and dec, for images that tell no '
    'position; VOTable, FITS, CSV or ECSV',
  )
  columns: tuple[tuple[str, str], ...] = settings.option(
    (), "its columns of unusual names: 'name=FILE,ra_deg=X'", _columns
  )

  def __post_init__(self):
    pairs = tuple(sorted(dict(self.columns).items()))
    object.__setattr__(self, 'columns', pairs)
    settings.check(self, self.name, 'image_folder')

  def found(self) -> folders.Found:
    """The images of the folder, with what the catalogue tells of them.

    Raises:
      ValueError: no folder, or a catalogue that is not sure.
    """
    if self.folder is None:
      raise ValueError('no folder. Set --folder.')
    found = folders.find(self.folder, other=[self.positions])
    if self.positions is None:
      return found
    return positions.place(found, self.positions, dict(self.columns))

  def record(self) -> dict[str, Any]:
    """All values; of the folder and the catalogue, the content."""
    inputs = {}
    if self.folder is not None:
      found = []
      if pathlib.Path(self.folder).is_dir():
        found = folders.find(self.folder, other=[self.positions]).images
      inputs['folder'] = {image.name: image.path for image in found}
    if self.positions is not None:
      path = pathlib.Path(self.positions)
      inputs['positions'] = {'': path} if path.is_file() else {}
    return settings.record(self, **inputs)


class Builder(labelled.Builder):
  """Labelled images of one kind, with sky position and noise where known."""

  VERSION = tfds.core.Version('1.0.0')
  OPTIONS = Options
