"""Any radio FITS images, cut into tiles or around catalogued sources."""

import dataclasses
import glob
import hashlib
import json
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from radio_ssl.data import catalogue as catalogues
from radio_ssl.data import examples
from tfds_builders import build
from tfds_builders.radio_fits import convert, shapes
from tfds_builders.radio_fits import report as reports

# Of a file's content, at either end, that tells it from another of its name.
_END_BYTES = 1 << 18


def _option(default: Any, help_: str, parse: Any = str) -> Any:
  metadata = {'help': help_, 'parse': parse}
  return dataclasses.field(default=default, metadata=metadata)


def _columns(text: str) -> tuple[tuple[str, str], ...]:
  """Reads 'ra_deg=RA_OBS,label=CLASS'."""
  pairs = [item.partition('=') for item in text.split(',')]
  if not all(ours and theirs for ours, _, theirs in pairs):
    raise ValueError(text)
  return tuple((ours.strip(), theirs.strip()) for ours, _, theirs in pairs)


@dataclasses.dataclass(frozen=True)
class Options:
  """What shapes the data; each field is a flag of `tfds_builders.build`."""

  images: str | None = _option(
    None, "the FITS files, a pattern in quotes: 'dir/**/*.fits*'"
  )
  name: str = _option('radio_fits', 'what the data set is to be called')
  catalogue: str | None = _option(
    None, 'cutouts: the sources; VOTable, FITS, CSV or ECSV'
  )
  columns: tuple[tuple[str, str], ...] = _option(
    (), "catalogue columns of unusual names: 'ra_deg=X,label=Y'", _columns
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
    (), 'as --columns, for the catalogue of --exclude', _columns
  )
  size_pix: int = _option(150, 'side of the images in pixels', int)
  stride_pix: int | None = _option(
    None, 'tiles: step in pixels; half of size_pix without it', int
  )
  field_arcsec: float | None = _option(
    None,
    'cutouts: side on the sky; the pixels of the FITS are kept without it',
    float,
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
  allow_coarse_pixels: bool = _option(
    False, 'cutouts: permit pixels larger than half the beam'
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
  unit: str | None = _option(None, 'taken instead of BUNIT, such as Jy/beam')
  beam_arcsec: float | None = _option(
    None, 'FWHM of a round beam, taken instead of BMAJ and BMIN', float
  )
  channel: int | None = _option(
    None, 'plane of a spectral axis, from 0; cubes are refused without it', int
  )
  skip_bad: bool = _option(False, 'pass over bad files, and list them')
  workers: int = _option(1, 'processes that read and cut', int)

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
      'min_snr'
    ).split():
      value = getattr(self, key)
      if value is not None and not value > 0:
        raise ValueError(f'{key} {value}: wanted more than 0.')
    if self.overlap not in ('deepest', 'central'):
      raise ValueError(f'overlap {self.overlap!r}: wanted deepest or central.')
    if self.field_arcsec and self.source_factor:
      raise ValueError('give field_arcsec or source_factor, not both.')
    if self.whole_pixels and (self.field_arcsec or self.source_factor):
      raise ValueError(
        'whole_pixels keeps the pixels of the image: leave out field_arcsec '
        'and source_factor.'
      )

  def paths(self) -> list[pathlib.Path]:
    """The files that `images` stands for."""
    return sorted(
      map(pathlib.Path, glob.glob(self.images or '', recursive=True))
    )

  def record(self) -> dict[str, Any]:
    """All values; of catalogues the content, of images name and ends."""
    values = json.loads(json.dumps(dataclasses.asdict(self)))
    del values['workers']  # The data are the same.
    for key in ('images', 'catalogue', 'exclude'):
      if values[key] is None:
        continue
      if key == 'images':
        content = '\n'.join(sorted(map(_stamp, self.paths()))).encode()
      else:
        file = pathlib.Path(values[key])
        content = file.read_bytes() if file.is_file() else b''
      values[key] = build.MISSING
      if content:
        values[key] = hashlib.sha256(content).hexdigest()
    return values

  def shape(self, config: str) -> shapes.Tiles | shapes.Cutouts:
    """How to cut.

    Raises:
      ValueError: an option that the config does not have.
    """
    other = {
      'tiles': (
        'catalogue labelled field_arcsec source_factor whole_pixels'.split()
      ),
      'cutouts': ['stride_pix'],
    }[config]
    for key in other:
      if getattr(self, key):
        raise ValueError(f'config {config!r} has no option {key!r}.')
    if config == 'tiles':
      stride = self.stride_pix or max(1, self.size_pix // 2)
      return shapes.Tiles(self.size_pix, stride, self.max_missing, self.min_snr)
    names = [f.name for f in dataclasses.fields(shapes.Cutouts)]
    return shapes.Cutouts(**{name: getattr(self, name) for name in names})


def _stamp(path: pathlib.Path) -> str:
  """Name, size, and a hash of both ends: mosaics have gigabytes."""
  size = path.stat().st_size
  with path.open('rb') as file:
    ends = file.read(_END_BYTES)
    file.seek(max(0, size - _END_BYTES))
    ends += file.read()
  return f'{path.name} {size} {hashlib.sha256(ends).hexdigest()}'


class Builder(tfds.core.GeneratorBasedBuilder):
  """Images of a survey in Jy/beam, with sky position, beam and noise."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES: ClassVar = {'1.0.0': 'First version.'}
  BUILDER_CONFIGS: ClassVar = [
    tfds.core.BuilderConfig(
      name='tiles', description='Sliding-window tiles of whole images.'
    ),
    tfds.core.BuilderConfig(
      name='cutouts', description='Squares centred on catalogued sources.'
    ),
  ]

  def __init__(self, *, options: Options | None = None, **settings):
    self.options = options or Options()
    # The place of the data, and the name in dataset_info.json.
    self.name = self.options.name
    super().__init__(**settings)

  def _info(self) -> tfds.core.DatasetInfo:
    labels = None
    if self.options.labelled:
      sources = convert.with_labels(self._catalogue())
      labels = sorted(set(sources.label))
    size = self.options.size_pix
    return self.dataset_info_from_configs(
      features=examples.features(size, size, label_names=labels),
      metadata=tfds.core.MetadataDict(),
    )

  def _catalogue(self) -> catalogues.Catalogue | None:
    if self.options.catalogue is None:
      return None
    return catalogues.read(
      self.options.catalogue, columns=dict(self.options.columns)
    )

  def _excluded(self) -> catalogues.Catalogue | None:
    if self.options.exclude is None:
      return None
    return catalogues.read(
      self.options.exclude,
      columns=dict(self.options.exclude_columns),
      flag='--exclude_columns',
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    return {'train': self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
    options, report = self.options, reports.Report()
    paths = options.paths()
    if not paths:
      raise ValueError(
        f'images={options.images!r}: no such files. Give --images a pattern.'
      )
    yield from convert.convert(
      paths,
      options.shape(self.builder_config.name),
      catalogue=self._catalogue(),
      exclude=self._excluded(),
      unit=options.unit,
      beam_arcsec=options.beam_arcsec,
      channel=options.channel,
      skip_bad=options.skip_bad,
      labelled=options.labelled,
      workers=options.workers,
      report=report,
      progress=lambda line: print(line, file=sys.stderr),
    )
    self.info.metadata.update(report.metadata())
    for path, reason in report.rejected.items():
      print(f'skipped {path}: {reason}', file=sys.stderr)
    written = pathlib.Path(self.data_dir) / 'ingest_report.json'
    written.write_text(json.dumps(report.record(), indent=1) + '\n')
    print(report.summary(), file=sys.stderr)
