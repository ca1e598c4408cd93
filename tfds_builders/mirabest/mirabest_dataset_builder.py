"""MiraBest as TFDS data sets, from the official batches or from FIRST FITS."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from radio_ssl.data import examples, fits, noise
from tfds_builders import download, first_survey
from tfds_builders.mirabest import batches

# Of the images, by the survey's own words on its cutouts.
LICENCE = 'FIRST survey: scholarly, educational and private non-commercial use'
# SkyView had no image of it.
WITHOUT_FITS = '200_150.661+012.018_0.2633_0016.53'
_PICTURE_PIX = 150
_FITS_PIX = 300
# The official counts; a data set with others would have other scores.
_COUNTS = {
  'confident': {'train': 729, 'test': 104},
  'full': {'train': 1099, 'test': 157},
}


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
  """One version of MiraBest.

  Attributes:
    size_pix: side of the images.
    label_names: of the classes, in the order of the labels.
    labels: class name of each three-digit code; other codes are left out.
    from_fits: float32 Jy/beam from FITS instead of the uint8 pictures.
  """

  size_pix: int
  label_names: Sequence[str]
  labels: dict[str, str]
  from_fits: bool = False


class Builder(tfds.core.GeneratorBasedBuilder):
  """Radio galaxies of the FIRST survey, classified by eye."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES: ClassVar = {'1.0.0': 'First version.'}
  BUILDER_CONFIGS: ClassVar = [
    Config(
      name='confident',
      description='FRI against FRII, official 8-bit pictures.',
      size_pix=_PICTURE_PIX,
      label_names=('FRI', 'FRII'),
      labels=batches.CONFIDENT,
    ),
    Config(
      name='full',
      description='All ten classes, official 8-bit pictures.',
      size_pix=_PICTURE_PIX,
      label_names=tuple(batches.NAMES_OF_CODES.values()),
      labels=batches.NAMES_OF_CODES,
    ),
    Config(
      name='fits',
      description='The sources of `confident` in Jy/beam, from FIRST FITS.',
      size_pix=_FITS_PIX,
      label_names=('FRI', 'FRII'),
      labels=batches.CONFIDENT,
      from_fits=True,
    ),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Without a network: put MiraBest_F_batches.tar.gz ({batches.URL})
    into MANUAL_DIR or MANUAL_DIR/mirabest/. For the config `fits`, in any case,
    fetch each source from SkyView (survey 'VLA FIRST (1.4 GHz)', 300 x 300
    pixels, 1.8 arcsec a pixel, RA---TAN; astroquery.skyview does it), centred
    at the position in its name, and save it as NAME.fits or .fits.fz in
    MANUAL_DIR/mirabest_fits or MANUAL_DIR, with NAME as in the batches, such as
    100_010.451-009.284_0.0529_0080.60. {WITHOUT_FITS} may be missing.
    """

  def _info(self) -> tfds.core.DatasetInfo:
    size = self.builder_config.size_pix
    dtype = np.float32 if self.builder_config.from_fits else np.uint8
    return self.dataset_info_from_configs(
      features=examples.features(
        size,
        size,
        dtype=dtype,
        label_names=self.builder_config.label_names,
      ),
      metadata=tfds.core.MetadataDict(
        survey=first_survey.NAME,
        pixel_scale_arcsec=first_survey.PIXEL_SCALE_ARCSEC,
        # It depends on the declination: see `first_survey`.
        beam_major_arcsec=None,
      ),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    archive = download.fetch(self, dl_manager, batches.URL)
    sources = [
      source
      for source in batches.read(archive)
      if source.code in self.builder_config.labels
    ]
    splits = {
      split: [s for s in sources if s.split == split]
      for split in ('train', 'test')
    }
    self._check_counts({k: len(v) for k, v in splits.items()})
    paths = None
    if self.builder_config.from_fits:
      paths = find_fits(
        download.manual_dir(dl_manager), [s.name for s in sources]
      )
      download.note(self, {path.name: path for path in paths.values()})
    return {
      split: self._generate_examples(members, paths)
      for split, members in splits.items()
    }

  def _check_counts(self, counts: dict[str, int]) -> None:
    name = 'full' if self.builder_config.name == 'full' else 'confident'
    if counts != _COUNTS[name]:
      raise ValueError(
        f'{batches.URL}: config {self.builder_config.name!r} has {counts}; '
        f'wanted {_COUNTS[name]}. The file is not the published one.'
      )

  def _generate_examples(
    self,
    sources: Sequence[batches.Source],
    paths: dict[str, pathlib.Path] | None,
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    for source in sources:
      label = self.builder_config.labels[source.code]
      if paths is None:
        yield source.name, picture_example(source, label)
      elif source.name in paths:
        yield source.name, fits_example(source, label, paths[source.name])


def find_fits(
  folder: pathlib.Path | None, names: Sequence[str]
) -> dict[str, pathlib.Path]:
  """The FITS file of each source.

  Args:
    folder: holds NAME.fits, or with any further ending (.gz, .fz), or they are
      in `mirabest_fits` below it; None where none was given.
    names: of the sources.

  Raises:
    ValueError: no folder, or a file is missing that is to be had.
  """
  if folder is None:
    raise ValueError(
      'config fits needs FITS files: fetch them from SkyView as the README '
      'tells, and give their folder as --manual_dir.'
    )
  below = folder / 'mirabest_fits'
  folder = below if below.is_dir() else folder
  paths = {
    path.name.split('.fits')[0]: path for path in sorted(folder.glob('*.fits*'))
  }
  missing = [n for n in names if n not in paths and n != WITHOUT_FITS]
  if missing:
    raise ValueError(
      f'{folder}: no FITS file of {len(missing)} of {len(names)} sources, such '
      f'as {missing[0]}.fits. Fetch them from SkyView; see the README.'
    )
  return {name: paths[name] for name in names if name in paths}


def _common(source: batches.Source) -> dict[str, Any]:
  beam = first_survey.beam(source.dec_deg)
  return {
    'name': source.name,
    'ra_deg': source.ra_deg,
    'dec_deg': source.dec_deg,
    'redshift': source.redshift,
    'source_size_arcsec': source.size_arcsec,
    'pixel_scale_arcsec': first_survey.PIXEL_SCALE_ARCSEC,
    'rotation_deg': 0.0,
    'beam_major_arcsec': beam.major_arcsec,
    'beam_minor_arcsec': beam.minor_arcsec,
    'beam_pa_deg': beam.pa_deg,
  }


def picture_example(source: batches.Source, label: str) -> dict[str, Any]:
  """An example in uint8, as published; flux, background and rms are NaN."""
  return examples.example(
    source.picture,
    label=label,
    source_file=f'{source.name}.png',
    **_common(source),
  )


def fits_example(
  source: batches.Source, label: str, path: pathlib.Path
) -> dict[str, Any]:
  """An example in Jy/beam, with flux, background and rms measured.

  Raises:
    ValueError: the image is not 300 x 300 pixels of 1.8 arcsec around the
      source.
  """
  image = fits.read(path, unit='Jy/beam')
  height, width = image.pixels_jy_beam.shape
  x, y = fits.sky_to_pixel(image.wcs, source.ra_deg, source.dec_deg)
  # One official picture, and its FITS, has the source 50 pixels off the centre.
  off_pix = np.hypot(x - (width - 1) / 2, y - (height - 1) / 2)
  if (
    (height, width) != (_FITS_PIX, _FITS_PIX)
    or abs(image.pixel_scale_arcsec / first_survey.PIXEL_SCALE_ARCSEC - 1)
    > 1e-3
    or not off_pix < _PICTURE_PIX / 2
  ):
    raise ValueError(
      f'{path}: {width} x {height} pixels of {image.pixel_scale_arcsec:.3f} '
      f'arcsec with the source at ({x:.1f}, {y:.1f}); wanted 300 x 300 of 1.8 '
      'arcsec with the source in the centre. Fetch it again from SkyView.'
    )
  background, rms = noise.background_and_rms(image.pixels_jy_beam)
  beam = first_survey.beam(source.dec_deg)
  # Lobes end beyond the catalogued size, and small sources fill a beam or two.
  radius_arcsec = max(15.0, 0.65 * source.size_arcsec)
  flux_jy = noise.flux_jy(
    image.pixels_jy_beam,
    background_jy_beam=background,
    rms_jy_beam=rms,
    beam_area_pix=beam.area_arcsec2 / first_survey.PIXEL_SCALE_ARCSEC**2,
    radius_pix=radius_arcsec / first_survey.PIXEL_SCALE_ARCSEC,
  )
  return examples.example(
    image.pixels_jy_beam,
    label=label,
    source_file=path.name,
    background_jy_beam=background,
    rms_jy_beam=rms,
    flux_jy=flux_jy,
    **_common(source),
  )
