"""The labelled images that an info.json lists, as a data set."""

import dataclasses
from typing import Any

import tensorflow_datasets as tfds

from tfds_builders.image_folder import folders, labelled, settings
from tfds_builders.radio_json import info


@dataclasses.dataclass(frozen=True)
class Options(settings.Settings):
  """What shapes the data; each field is a flag of `tfds_builders.build`."""

  info: str | None = settings.option(None, 'the info.json, or its folder')
  name: str = settings.option('radio_json', 'what the data set is called')
  label: str = settings.option('source_type', 'key of the class in an entry')
  path: str = settings.option('target_path', 'key of the file in an entry')

  def __post_init__(self):
    settings.check(self, self.name, 'radio_json')

  def found(self) -> folders.Found:
    """The images that are listed.

    Raises:
      ValueError: no list, or none that can be read.
    """
    if self.info is None:
      raise ValueError('no list of images. Set --info.')
    return info.find(self.info, label=self.label, key=self.path)

  def record(self) -> dict[str, Any]:
    """All values; of the list its content, and that of the images it names."""
    if self.info is None:
      return settings.record(self)
    path, files = info.path_of(self.info), {}
    if path.is_file():
      files = {image.name: image.path for image in self.found().images}
    return settings.record(self, info=files and {**files, '': path})


class Builder(labelled.Builder):
  """Labelled images of one kind, with sky position and noise where known."""

  VERSION = tfds.core.Version('1.0.0')
  OPTIONS = Options
