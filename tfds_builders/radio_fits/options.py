"""What shapes the data; the flags of the builder."""

import dataclasses
import hashlib
import json
import pathlib
import re
from typing import Any

from radio_ssl.data import places
from tfds_builders import build
from tfds_builders.radio_fits import prepare, shapes

# Parts of a file that tell it from another of its name and size.
_SAMPLES = 64
_SAMPLE_BYTES = 1 << 14


def _option(default: Any, help_: str, parse: Any = str) -> Any:
  metadata = {'help': help_, 'parse': parse}
  return dataclasses.field(default=default, metadata=metadata)


def parse_columns(text: str) -> tuple[tuple[str, str], ...]:
  """Reads 'ra_deg=RA_OBS,label=CLASS'."""
  pairs = [item.partition('=') for item in text.split(',')]
  if not all(ours and theirs for ours, _, theirs in pairs):
    raise ValueError(text)
  return tuple((ours.strip(), theirs.strip()) for ours, _, theirs in pairs)


def _names(text: str) -> tuple[str, ...]:
  return tuple(filter(None, (item.strip() for item in text.split(','))))


@dataclasses.dataclass(frozen=True)
class Options:
  """What shapes the data; each field is a flag of `tfds_builders.build`."""

  images: str | None = _option(
    None, "the FITS files: a folder, or a pattern in quotes: 'dir/**/*.fits*'"
  )
  name: str = _option('radio_fits', 'what the data set is to be called')
  survey: str | None = _option(
    None, "name of the survey, for the data card: 'EMU pilot, 944 MHz'"
  )
  catalogue: str | None = _option(
    None, 'cutouts: the sources; VOTable, FITS, ECSV or text: CSV, TSV, PyBDSF'
  )
  columns: tuple[tuple[str, str], ...] = _option(
    (),
    "catalogue columns of unusual names: 'ra_deg=X,label=Y'; with their unit, "
    "'source_size_arcsec=LAS[deg]'; 'frame=galactic', fk4 or fk5 of positions",
    parse_columns,
  )
  labelled: bool = _option(
    False, 'cutouts: keep the label column of the catalogue as class'
  )
  exclude: str | None = _option(
    None,
    'catalogue of evaluation sources; no image may hold one, nor come closer '
    'than 30 arcsec or half its size',
  )
  exclude_columns: tuple[tuple[str, str], ...] = _option(
    (), 'as --columns, for the catalogue of --exclude', parse_columns
  )
  size_pix: int = _option(150, 'side of the images in pixels', int)
  stride_pix: int | None = _option(
    None, 'tiles: step in pixels; half of size_pix without it', int
  )
  field_arcsec: float | None = _option(
    None, 'side on the sky; the pixels of the FITS are kept without it', float
  )
  pixel_scale_arcsec: float | None = _option(
    None, 'resample to this pixel scale; another way to say field_arcsec', float
  )
  target_beam_arcsec: float | None = _option(
    None, 'smooth every image to this round beam (FWHM) first', float
  )
  source_factor: float | None = _option(
    None, "cutouts: side on the sky in units of the source's size", float
  )
  min_field_arcsec: float = _option(
    60.0, 'cutouts: least side on the sky with source_factor', float
  )
  max_missing: float = _option(
    0.1, 'leave out images with a larger fraction of missing pixels', float
  )
  missing_field_arcsec: float | None = _option(
    None,
    'cutouts: max_missing counts within this central side on the sky alone',
    float,
  )
  allow_coarse_pixels: bool = _option(
    False, 'permit pixels larger than half the beam'
  )
  allow_positive: bool = _option(
    False, 'permit images without a negative pixel, as maps of the rms are'
  )
  whole_pixels: bool = _option(
    False, "cutouts: copy the image's own pixels, nothing is interpolated"
  )
  overlap: str = _option(
    'deepest',
    'cutouts: of several images that hold a source take the one with the least '
    "noise around it, or, with 'central', where it is farthest from the edge",
  )
  min_snr: float | None = _option(
    None,
    'leave out images whose brightest pixel, in cutouts within the source, is '
    'not this many rms above the background',
    float,
  )
  rms_image: str | None = _option(
    None,
    "image of the local rms that belongs to each image: '{folder}/{stem}_rms."
    "fits', its folder and its name without .fits; tells the rms of examples",
  )
  primary_beam_image: str | None = _option(
    None, "image of the primary beam's response, named like rms_image"
  )
  min_response: float | None = _option(
    None,
    'pixels of a lower response of the primary beam are missing; 0.3 without '
    'it',
    float,
  )
  dtype: str = _option(
    'float32',
    'of the stored pixels; float16, in units of the rms, takes half the room',
  )
  unit: str | None = _option(None, 'taken instead of BUNIT, such as Jy/beam')
  beam_arcsec: float | None = _option(
    None, 'FWHM of a round beam, taken instead of BMAJ and BMIN', float
  )
  channel: int | None = _option(
    None,
    'plane of a spectral axis, from 0; without it cubes are refused, but for '
    'those of MeerKAT (SPECLNMF), whose first plane has all channels',
    int,
  )
  stokes: str | None = _option(None, 'Q, U or V of a Stokes axis; I without it')
  skip_bad: bool = _option(False, 'pass over bad files, and list them')
  workers: int = _option(1, 'processes that read and cut', int)
  beam_runner: str | None = _option(
    None,
    'convert as an Apache Beam pipeline, on DirectRunner, FlinkRunner, '
    'SparkRunner, DataflowRunner; images and data_dir must lie where all '
    'machines see them',
  )
  beam_options: tuple[str, ...] = _option(
    (), "of the pipeline: 'flink_master=host:8081,parallelism=64'", _names
  )

  def __post_init__(self):
    # A mapping is welcome too, and the order of columns means nothing.
    for key in ('columns', 'exclude_columns'):
      pairs = tuple(sorted(dict(getattr(self, key)).items()))
      object.__setattr__(self, key, pairs)
    if not re.fullmatch(r'[a-z][a-z0-9_]*', self.name):
      raise ValueError(
        f'name {self.name!r}: wanted lower-case letters, digits and _.'
      )
    builders = {p.name for p in pathlib.Path(__file__).parents[1].glob('*/')}
    if self.name in builders - {'radio_fits'}:
      raise ValueError(f'name {self.name!r} is a builder. Choose another.')
    if self.size_pix < 8:
      raise ValueError(f'size_pix {self.size_pix}: wanted 8 or more.')
    if self.workers < 1:
      raise ValueError(f'workers {self.workers}: wanted 1 or more.')
    if not 0 <= self.max_missing < 1:
      raise ValueError(f'max_missing {self.max_missing}: wanted 0 to 1.')
    for key in (
      'stride_pix field_arcsec source_factor min_field_arcsec beam_arcsec '
      'min_snr pixel_scale_arcsec target_beam_arcsec min_response '
      'missing_field_arcsec'
    ).split():
      value = getattr(self, key)
      if value is not None and not value > 0:
        raise ValueError(f'{key} {value}: wanted more than 0.')
    if self.stokes not in (None, 'I', 'Q', 'U', 'V'):
      raise ValueError(f'stokes {self.stokes!r}: wanted I, Q, U or V.')
    if self.dtype not in ('float32', 'float16'):
      raise ValueError(f'dtype {self.dtype!r}: wanted float32 or float16.')
    if self.overlap not in ('deepest', 'central'):
      raise ValueError(f'overlap {self.overlap!r}: wanted deepest or central.')
    resized = 'field_arcsec source_factor pixel_scale_arcsec'.split()
    given = [key for key in resized if getattr(self, key)]
    if len(given) > 1:
      raise ValueError(f'give {given[0]} or {given[1]}, not both.')
    if self.whole_pixels and given:
      raise ValueError(
        f'whole_pixels keeps the pixels of the image: leave out {given[0]}.'
      )
    if self.target_beam_arcsec and self.rms_image:
      raise ValueError(
        'rms_image does not tell the rms of images smoothed to '
        'target_beam_arcsec: leave out one.'
      )
    if self.beam_runner and self.workers > 1:
      raise ValueError(
        f'workers {self.workers}: the machines of beam_runner are set by '
        'beam_options.'
      )
    if self.beam_options and not self.beam_runner:
      raise ValueError('beam_options need beam_runner.')
    if self.min_response and not self.primary_beam_image:
      raise ValueError('min_response needs primary_beam_image.')

  def paths(self) -> list[pathlib.Path]:
    """The files that `images` stands for, companions among them."""
    return places.fits_files(self.images or '')

  def record(self) -> dict[str, Any]:
    """All values; of catalogues the content, of images name and ends."""
    values = json.loads(json.dumps(dataclasses.asdict(self)))
    for key in ('workers', 'beam_runner', 'beam_options'):
      del values[key]  # The data are the same.
    # What sets from before there was a choice have.
    for key, default in (
      ('dtype', 'float32'),
      ('stokes', None),
      ('survey', None),
      ('missing_field_arcsec', None),
    ):
      if values[key] == default:
        del values[key]
    for key in ('images', 'catalogue', 'exclude'):
      if values[key] is None:
        continue
      if key == 'images':
        stamps = sorted(map(_stamp, self._with_companions()))
        content = '\n'.join(stamps).encode()
      else:
        file = pathlib.Path(values[key])
        content = file.read_bytes() if file.is_file() else b''
      values[key] = build.MISSING
      if content:
        values[key] = hashlib.sha256(content).hexdigest()
    return values

  def _with_companions(self) -> set[pathlib.Path]:
    paths = self.paths()
    companions = self.steps('tiles').companions
    return {*paths, *(c for p in paths for c in companions(p).values())}

  def steps(self, config: str) -> prepare.Steps:
    """What is done with images before they are cut."""
    scale = None
    if config == 'tiles':
      scale = self._field_arcsec() and self._field_arcsec() / self.size_pix
    return prepare.Steps(
      primary_beam_image=self.primary_beam_image,
      min_response=self.min_response or prepare.Steps.min_response,
      target_beam_arcsec=self.target_beam_arcsec,
      pixel_scale_arcsec=scale,
      allow_coarse_pixels=self.allow_coarse_pixels,
      rms_image=self.rms_image,
      allow_positive=self.allow_positive,
    )

  def _field_arcsec(self) -> float | None:
    if self.pixel_scale_arcsec is not None:
      return self.pixel_scale_arcsec * self.size_pix
    return self.field_arcsec

  def shape(self, config: str) -> shapes.Tiles | shapes.Cutouts:
    """How to cut.

    Raises:
      ValueError: an option that the config does not have.
    """
    other = {
      'tiles': (
        'catalogue columns labelled source_factor whole_pixels '
        'missing_field_arcsec'
      ).split(),
      'cutouts': ['stride_pix'],
    }[config]
    for key in other:
      if getattr(self, key):
        raise ValueError(f'config {config!r} has no option {key!r}.')
    if config == 'tiles':
      stride = self.stride_pix or max(1, self.size_pix // 2)
      return shapes.Tiles(self.size_pix, stride, self.max_missing, self.min_snr)
    names = [f.name for f in dataclasses.fields(shapes.Cutouts)]
    values = {name: getattr(self, name) for name in names}
    return shapes.Cutouts(**(values | {'field_arcsec': self._field_arcsec()}))


def _stamp(path: pathlib.Path) -> str:
  """Name, size, and a hash of parts: mosaics have gigabytes."""
  if not path.is_file():
    return f'{path.name} {build.MISSING}'
  size = path.stat().st_size
  digest = hashlib.sha256()
  with path.open('rb') as file:
    for part in range(_SAMPLES + 1):
      file.seek(max(0, size - _SAMPLE_BYTES) * part // _SAMPLES)
      digest.update(file.read(_SAMPLE_BYTES))
  return f'{path.name} {size} {digest.hexdigest()}'
