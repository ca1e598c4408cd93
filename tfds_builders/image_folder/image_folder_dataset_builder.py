"""Anyone's labelled images, one folder a class, as a data set."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from tfds_builders.image_folder import (
  collection,
  folders,
  gather,
  positions,
  settings,
)


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
    options = self.options
    if options.folder is None:
      raise ValueError('no folder. Set --folder.')
    found = folders.find(options.folder, other=[options.positions])
    if options.positions is not None:
      found = positions.place(found, options.positions, dict(options.columns))
    return gather.gather(found, options)

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
