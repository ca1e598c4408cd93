"""FR-DEEP as TFDS data sets, one for each of its two surveys."""

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from radio_ssl.data import examples
from tfds_builders import download, first_survey
from tfds_builders.fr_deep import batches

_FOLDER = 'http://www.jb.man.ac.uk/research/ascaife/'
# The published counts of FRI and FRII, the same for both surveys.
_COUNTS = {'train': (242, 308), 'test': (22, 28)}


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
  """One survey.

  Attributes:
    survey: its name.
    file: archive of its batches.
    pixel_scale_arcsec: side of a pixel.
    beam_arcsec: of a round beam, None where it depends on the position.
  """

  survey: str
  file: str
  pixel_scale_arcsec: float
  beam_arcsec: float | None


class Builder(tfds.core.GeneratorBasedBuilder):
  """Radio galaxies of Fanaroff-Riley class I and II in FIRST and in NVSS."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES: ClassVar = {'1.0.0': 'First version.'}
  BUILDER_CONFIGS: ClassVar = [
    Config(
      name='first',
      description='As the VLA FIRST survey shows them.',
      survey=first_survey.NAME,
      file='FIRST_PNG_dataset.tar.gz',
      pixel_scale_arcsec=first_survey.PIXEL_SCALE_ARCSEC,
      beam_arcsec=None,
    ),
    Config(
      name='nvss',
      description='As the NRAO VLA Sky Survey shows them.',
      survey='NRAO VLA Sky Survey, 1.4 GHz',
      file='NVSS_PNG_dataset.tar.gz',
      pixel_scale_arcsec=15.0,
      # Condon et al. 1998, https://doi.org/10.1086/300337.
      beam_arcsec=45.0,
    ),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Without a network: put FIRST_PNG_dataset.tar.gz or NVSS_PNG_dataset.tar.gz
    ({_FOLDER}) into MANUAL_DIR or MANUAL_DIR/frdeep/.
    """

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=examples.features(
        batches.SIZE_PIX,
        batches.SIZE_PIX,
        dtype=np.uint8,
        label_names=batches.CLASSES,
      ),
      metadata=tfds.core.MetadataDict(
        survey=self.builder_config.survey,
        pixel_scale_arcsec=self.builder_config.pixel_scale_arcsec,
        beam_major_arcsec=self.builder_config.beam_arcsec,
        beam_minor_arcsec=self.builder_config.beam_arcsec,
        # Without positions no other set can be kept apart from this one.
        overlap='unknown',
      ),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    name = self.builder_config.file
    pictures = batches.read(download.fetch(self, dl_manager, _FOLDER + name))
    found = collections.Counter((p.split, p.label) for p in pictures)
    counts = {
      split: tuple(found[split, label] for label in batches.CLASSES)
      for split in _COUNTS
    }
    if counts != _COUNTS:
      raise ValueError(
        f'{name}: has {counts} of {", ".join(batches.CLASSES)}; wanted '
        f'{_COUNTS}. The file is not the published one: fetch it from '
        f'{_FOLDER}.'
      )
    return {
      split: self._generate_examples([p for p in pictures if p.split == split])
      for split in _COUNTS
    }

  def _generate_examples(
    self, pictures: Sequence[batches.Picture]
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    config = self.builder_config
    beam = {}
    if config.beam_arcsec is not None:
      beam = {
        'beam_major_arcsec': config.beam_arcsec,
        'beam_minor_arcsec': config.beam_arcsec,
        'beam_pa_deg': 0.0,
      }
    for picture in pictures:
      yield (
        picture.name,
        examples.example(
          picture.pixels,
          name=picture.name,
          source_file=picture.file_name,
          ra_deg=np.nan,
          dec_deg=np.nan,
          label=picture.label,
          pixel_scale_arcsec=config.pixel_scale_arcsec,
          rotation_deg=0.0,
          **beam,
        ),
      )
