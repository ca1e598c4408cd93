"""The labelled images that an info.json lists, as a data set."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from tfds_builders.image_folder import collection, folders, gather, settings
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


class Builder(tfds.core.GeneratorBasedBuilder):
  """Labelled images of one kind, with sky position and noise where known."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES: ClassVar = {'1.0.0': 'First version.'}

  def __init__(self, *, options: Options | None = None, **how):
    self.options = options or Options()
    # The place of the data, and the name in dataset_info.json.
    self.name = self.options.name
    super().__init__(**how)

  @functools.cached_property
  def _images(self) -> collection.Collection:
    return gather.gather(self.options.found(), self.options)

  def _info(self) -> tfds.core.DatasetInfo:
    stored = collection.stored_features(self.data_dir)
    return self.dataset_info_from_configs(
      features=stored or self._images.features(),
      metadata=tfds.core.MetadataDict(
        {} if stored else self._images.metadata()
      ),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager  # Nothing is downloaded.
    self._images.tell(self.data_dir)
    return {s: self._generate_examples(s) for s in self._images.splits()}

  def _generate_examples(
    self, split: str
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from self._images.examples(split)
