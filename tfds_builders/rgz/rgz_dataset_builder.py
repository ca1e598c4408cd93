"""Radio Galaxy Zoo as TFDS data sets, from images that were fetched."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from radio_ssl.data import cutouts, examples, fits, manifest, noise
from tfds_builders import first_survey
from tfds_builders.image_folder import settings
from tfds_builders.rgz import selection, shelf, zoo

# Of the images, by the survey's own words on its cutouts.
LICENCE = 'FIRST survey: scholarly, educational and private non-commercial use'


def _fractions(text: str) -> tuple[float, ...]:
  """Reads '0.8,0.1,0.1'."""
  return tuple(float(part) for part in text.split(','))


@dataclasses.dataclass(frozen=True)
class Options:
  """What shapes the data; each field is a flag of `tfds_builders.build`."""

  size_pix: int = settings.option(150, 'side of the images, of 1.8 arcsec', int)
  fractions: tuple[float, ...] = settings.option(
    (0.8, 0.1, 0.1),
    'of each class in train,valid,test; 0 leaves a split out',
    _fractions,
  )
  seed: int = settings.option(0, 'of the draw of the splits', int)
  allow_incomplete: bool = settings.option(
    False, 'go on without images that were not fetched'
  )

  def __post_init__(self):
    if self.size_pix < 8:
      raise ValueError(f'size_pix {self.size_pix}: wanted 8 or more.')
    shares = self.fractions
    if (
      len(shares) != len(selection.SPLITS)
      or not all(share >= 0 for share in shares)
      or not math.isclose(sum(shares), 1, abs_tol=1e-6)
    ):
      raise ValueError(
        f'fractions {shares}: wanted three of {",".join(selection.SPLITS)} '
        'that sum to 1, such as 0.8,0.1,0.1.'
      )

  def record(self) -> dict[str, Any]:
    """All values."""
    return json.loads(json.dumps(dataclasses.asdict(self)))


class Builder(tfds.core.GeneratorBasedBuilder):
  """Sources of FIRST by the number of their components and peaks."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES: ClassVar = {'1.0.0': 'First version.'}
  BUILDER_CONFIGS: ClassVar = [
    tfds.core.BuilderConfig(
      name='clean',
      description='One row a source, consensus level 0.65 and more.',
    ),
    tfds.core.BuilderConfig(
      name='all', description='Every row of the six classes.'
    ),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
    python -m tfds_builders.rgz.fetch --catalogue FILE --output MANUAL_DIR
    """

  def __init__(self, *, options: Options | None = None, **how):
    self.options = options or Options()
    super().__init__(**how)

  def _info(self) -> tfds.core.DatasetInfo:
    size = self.options.size_pix
    return self.dataset_info_from_configs(
      features=examples.features(size, size, label_names=zoo.CLASSES),
      metadata=tfds.core.MetadataDict(
        survey=first_survey.NAME,
        pixel_scale_arcsec=first_survey.PIXEL_SCALE_ARCSEC,
        # It depends on the declination: see `first_survey`.
        beam_major_arcsec=None,
      ),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    try:
      folder = pathlib.Path(dl_manager.manual_dir)
    except AssertionError as error:  # TFDS's way to say that none was given.
      raise ValueError(
        'no folder of images. Fetch them: python -m tfds_builders.rgz.fetch '
        '--catalogue FILE --output DIR; then give --manual_dir DIR.'
      ) from error
    chosen = selection.select(
      folder,
      clean=self.builder_config.name == 'clean',
      size_pix=self.options.size_pix,
      fractions=self.options.fractions,
      seed=self.options.seed,
      allow_incomplete=self.options.allow_incomplete,
    )
    self.info.metadata.update(chosen.metadata())
    chosen.tell(self.data_dir)
    return {s: self._generate_examples(chosen, s) for s in chosen.counts()}

  def _generate_examples(
    self, chosen: selection.Selection, split: str
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = shelf.settled(chosen.folder)
    for source, own in zip(chosen.sources, chosen.splits, strict=True):
      if own == split:
        path = shelf.image_path(chosen.folder, source.image)
        digest = entries[source.image]['sha256']
        yield source.name, example(source, path, digest, self.options.size_pix)


def example(
  source: zoo.Source, path: pathlib.Path, sha256: str, size_pix: int
) -> dict[str, Any]:
  """The image's own pixels round a source, with noise and flux measured.

  Raises:
    ValueError: the file is not the one that was fetched.
  """
  if manifest.sha256(path) != sha256:
    raise ValueError(
      f'{path}: its SHA-256 is not that of manifest.jsonl. Run the command '
      'that fetched it again: it fetches what is damaged.'
    )
  image = fits.read(path)
  cut = next(
    cutouts.crops(
      image,
      ra_deg=np.array([source.ra_deg]),
      dec_deg=np.array([source.dec_deg]),
      size_pix=size_pix,
      surroundings=False,
    )
  )
  # All that was fetched: more sky than the example, to measure noise on.
  background, rms = noise.background_and_rms(image.pixels_jy_beam)
  beam = first_survey.beam(source.dec_deg)
  return examples.example(
    cut.pixels_jy_beam,
    name=source.name,
    source_file=path.name,
    ra_deg=source.ra_deg,
    dec_deg=source.dec_deg,
    label=source.label,
    # Just west of the north is not nearly a full turn.
    rotation_deg=(cut.rotation_deg + 180) % 360 - 180,
    pixel_scale_arcsec=first_survey.PIXEL_SCALE_ARCSEC,
    beam_major_arcsec=beam.major_arcsec,
    beam_minor_arcsec=beam.minor_arcsec,
    beam_pa_deg=beam.pa_deg,
    background_jy_beam=background,
    rms_jy_beam=rms,
    source_size_arcsec=source.source_size_arcsec,
    flux_jy=_flux_jy(source, cut.pixels_jy_beam, background, rms, beam),
  )


def _flux_jy(
  source: zoo.Source,
  pixels: np.ndarray,
  background: float,
  rms: float,
  beam: fits.Beam,
) -> float:
  """Flux near the source, as for MiraBest; NaN where its size is unknown."""
  if math.isnan(source.source_size_arcsec):
    return math.nan
  # Lobes end beyond the catalogued size, and small sources fill a beam or two.
  radius_arcsec = max(15.0, 0.65 * source.source_size_arcsec)
  return noise.flux_jy(
    pixels,
    background_jy_beam=background,
    rms_jy_beam=rms,
    beam_area_pix=beam.area_arcsec2 / first_survey.PIXEL_SCALE_ARCSEC**2,
    radius_pix=radius_arcsec / first_survey.PIXEL_SCALE_ARCSEC,
  )
