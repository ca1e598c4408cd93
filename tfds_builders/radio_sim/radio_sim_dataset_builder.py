"""The simulated survey as TFDS data sets: simulate, write FITS, convert."""

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from radio_ssl.data import catalogue, examples
from tfds_builders.radio_fits import convert, order, shapes
from tfds_builders.radio_sim import simulate, sources

LICENCE = 'simulated by radio_ssl: CC0'
_SIZE_PIX = 150
_SEED = 0
# Splits are pieces of sky: no source, and no noise, is in two of them.
_MOSAICS = {'train': range(5), 'validation': range(5, 6), 'test': range(6, 8)}


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
  """One way of cutting the survey.

  Attributes:
    shape: how mosaics are cut.
    mosaics: numbers of the mosaics in each split.
    cells: labelled sources along the side of a mosaic.
  """

  shape: shapes.Cutouts | shapes.Tiles
  mosaics: Mapping[str, Sequence[int]]
  cells: int = simulate.Mosaic.cells

  @property
  def labelled(self) -> bool:
    """Whether examples have a class."""
    return isinstance(self.shape, shapes.Cutouts)


class Builder(tfds.core.GeneratorBasedBuilder):
  """Simulated radio sources in five classes, in the manner of FIRST."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES: ClassVar = {'1.0.0': 'First version.'}
  BUILDER_CONFIGS: ClassVar = [
    Config(
      name='cutouts',
      description='Labelled squares around the catalogued sources.',
      shape=shapes.Cutouts(size_pix=_SIZE_PIX),
      mosaics=_MOSAICS,
    ),
    Config(
      name='tiles',
      description='Unlabelled squares side by side, of the training sky.',
      shape=shapes.Tiles(size_pix=_SIZE_PIX, stride_pix=_SIZE_PIX),
      mosaics={'train': _MOSAICS['train']},
    ),
    Config(
      name='tiny',
      description='Cutouts from another, smaller sky, made in a second.',
      shape=shapes.Cutouts(size_pix=_SIZE_PIX),
      mosaics={'train': [20, 21], 'validation': [22], 'test': [23]},
      cells=5,
    ),
  ]

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    return self.dataset_info_from_configs(
      features=examples.features(
        _SIZE_PIX,
        _SIZE_PIX,
        label_names=sources.LABELS if config.labelled else None,
      ),
      metadata=tfds.core.MetadataDict(
        pixel_scale_arcsec=simulate.PIXEL_ARCSEC,
        beam_major_arcsec=simulate.BEAM_ARCSEC,
        beam_minor_arcsec=simulate.BEAM_ARCSEC,
        simulation_seed=_SEED,
      ),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager  # Nothing is downloaded.
    return {
      split: self._generate_examples(numbers)
      for split, numbers in self.builder_config.mosaics.items()
    }

  def _generate_examples(
    self, numbers: Sequence[int]
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    config = self.builder_config
    mosaics = [
      simulate.Mosaic(number, seed=_SEED, cells=config.cells)
      for number in numbers
    ]
    with tempfile.TemporaryDirectory() as folder:
      paths, table = simulate.write(folder, mosaics)
      yield from convert.convert(
        order.order(
          paths,
          config.shape,
          catalogue=catalogue.read(table),
          labelled=config.labelled,
        )
      )
