"""FRG as TFDS data sets: the published splits, and one without leaks."""

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from radio_ssl.data import examples
from tfds_builders import download, first_survey
from tfds_builders.frg import clean, pictures
from tfds_builders.mirabest import batches

# Of the images, by the survey's own words on its cutouts.
LICENCE = 'FIRST survey: scholarly, educational and private non-commercial use'
_RECORD = 'https://zenodo.org/records/7689127/files/'
_OFFICIAL = ('galaxy_data_h5.zip',)
# Sources of each class, in the order of `pictures.CLASSES`.
_COUNTS = {
  'official': {
    'train': (395, 824, 291, 248),
    'valid': (50, 50, 50, 50),
    'test': (50, 50, 50, 50),
  },
  'clean': {
    'train': (396, 739, 313, 278),
    'valid': (50, 93, 39, 35),
    'test': (49, 92, 39, 35),
  },
}
for _fold in range(4):
  _COUNTS[f'crossvalid_{_fold}'] = {
    'train': (316, 659, 232, 198),
    'valid': (79, 165, 59, 50),
    'test': (100, 100, 100, 100),
  }
_COUNTS['crossvalid_4'] = {
  'train': (316, 660, 236, 200),
  'valid': (79, 164, 55, 48),
  'test': (100, 100, 100, 100),
}


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
  """One way to split FRG.

  Attributes:
    files: zips that together hold its pictures.
  """

  files: Sequence[str] = _OFFICIAL


class Builder(tfds.core.GeneratorBasedBuilder):
  """Radio galaxies of the FIRST survey: FRI, FRII, compact and bent."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES: ClassVar = {'1.0.0': 'First version.'}
  BUILDER_CONFIGS: ClassVar = [
    Config(name='official', description='The published split.'),
    *(
      Config(
        name=f'crossvalid_{fold}',
        description=f'Published fold {fold} of 5, and the test of all folds.',
        files=(
          f'galaxy_data_crossvalid_{fold}_h5.zip',
          'galaxy_data_crossvalid_test_h5.zip',
        ),
      )
      for fold in range(5)
    ),
    Config(
      name='clean',
      description='Split by sky, with the test sources of MiraBest in test.',
    ),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Without a network: put the zips of HDF5 files ({_RECORD})
    into MANUAL_DIR or MANUAL_DIR/griese/ and, for the config `clean`,
    MiraBest_F_batches.tar.gz ({batches.URL})
    into MANUAL_DIR or MANUAL_DIR/mirabest/.
    """

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=examples.features(
        pictures.SIZE_PIX,
        pictures.SIZE_PIX,
        dtype=np.uint8,
        label_names=pictures.CLASSES,
      ),
      metadata=tfds.core.MetadataDict(
        survey=first_survey.NAME,
        pixel_scale_arcsec=first_survey.PIXEL_SCALE_ARCSEC,
        # It depends on the declination: see `first_survey`.
        beam_major_arcsec=None,
      ),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    members = [
      picture
      for name in self.builder_config.files
      for picture in pictures.read(
        download.fetch(self, dl_manager, _RECORD + name)
      )
    ]
    if self.builder_config.name == 'clean':
      sources = batches.read(download.fetch(self, dl_manager, batches.URL))
      held_out = [s for s in sources if s.split == 'test']
      members = clean.split(members, held_out)
    self._check_counts(members)
    return {
      split: self._generate_examples([p for p in members if p.split == split])
      for split in pictures.SPLITS
    }

  def _check_counts(self, members: Sequence[pictures.Picture]) -> None:
    found = collections.Counter((p.split, p.label) for p in members)
    counts = {
      split: tuple(found[split, label] for label in pictures.CLASSES)
      for split in pictures.SPLITS
    }
    wanted = _COUNTS[self.builder_config.name]
    if counts != wanted:
      raise ValueError(
        f'{", ".join(self.builder_config.files)}: config '
        f'{self.builder_config.name!r} has {counts} of '
        f'{", ".join(pictures.CLASSES)}; wanted {wanted}. The files are not '
        f'the published ones: fetch them from {_RECORD}.'
      )

  def _generate_examples(
    self, members: Sequence[pictures.Picture]
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    for picture in members:
      yield picture.name, example(picture)


def example(picture: pictures.Picture) -> dict[str, Any]:
  """An example in uint8; size, redshift, flux and noise are NaN."""
  beam = first_survey.beam(picture.dec_deg)
  return examples.example(
    picture.pixels,
    name=picture.name,
    source_file=f'{picture.name}.png',
    ra_deg=picture.ra_deg,
    dec_deg=picture.dec_deg,
    label=picture.label,
    pixel_scale_arcsec=first_survey.PIXEL_SCALE_ARCSEC,
    rotation_deg=0.0,
    beam_major_arcsec=beam.major_arcsec,
    beam_minor_arcsec=beam.minor_arcsec,
    beam_pa_deg=beam.pa_deg,
  )
