"""What all builders of labelled images have in common."""

import functools
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from tfds_builders.image_folder import collection, gather


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Labelled images of one kind, with sky position and noise where known.

  A builder names its `Options`: `settings.Settings` with a `name`, and
  `found()`, the images that it asks for.
  """

  OPTIONS: ClassVar[type]
  RELEASE_NOTES: ClassVar = {'1.0.0': 'First version.'}

  def __init__(self, *, options: Any = None, **how):
    self.options = options or self.OPTIONS()
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
