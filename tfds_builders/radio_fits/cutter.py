"""What is done with one file or a part of one: the work of one process."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from radio_ssl.data import catalogue as catalogues
from radio_ssl.data import (
  cutouts,
  examples,
  exclusion,
  fits,
  manifest,
  windows,
)
from tfds_builders.radio_fits import assemble, kept, prepare, shapes
from tfds_builders.radio_fits import report as reports

Example = tuple[str, dict[str, Any]]

# Few enough to be held, and to travel between processes, in one piece.
_EXAMPLES_OF_A_TASK = 256
_BYTES_OF_A_TASK = 1 << 24


@dataclasses.dataclass(frozen=True)
class Task:
  """What is to be done with a file.

  Attributes:
    path: the file.
    name: it has this name in keys and reports.
    wanted: first rows of tiles, or numbers of sources to cut around; None for
      all tiles.
    columns: first columns of tiles.
    shared: numbers of sources that other images hold too.
    statistics: of its pixels; None for a file that was not looked at yet.
  """

  path: pathlib.Path
  name: str
  wanted: tuple[int, ...] | None
  columns: tuple[int, ...] = ()
  shared: tuple[int, ...] = ()
  statistics: windows.Statistics | None = None


@dataclasses.dataclass
class Made:
  """What came of a task: examples, and their share of the report."""

  examples: list[Example] = dataclasses.field(default_factory=list)
  report: reports.Report = dataclasses.field(default_factory=reports.Report)


@dataclasses.dataclass(frozen=True)
class Begun:
  """A file that was looked at, and the first part of it cut.

  Attributes:
    made: of the first part.
    judged: the rms around each shared source, or why it cannot be cut.
    statistics: of its pixels.
    rest: tasks that are left to do.
  """

  made: Made
  judged: dict[int, float | str]
  statistics: windows.Statistics
  rest: list[Task]


@dataclasses.dataclass(frozen=True)
class Cutter:
  """All that tasks have in common; is sent to every process once.

  Attributes:
    shape: how to cut.
    sources: to cut around; None for tiles.
    exclusion: what no image may hold.
    steps: what is done with images first.
    overrides: of `fits.opened`, such as 'unit' and 'channel'.
    labelled: examples get the label of the source.
    dtype: of their pixels, as they are stored.
  """

  shape: shapes.Tiles | shapes.Cutouts
  sources: catalogues.Catalogue | None
  exclusion: exclusion.Exclusion | None
  steps: prepare.Steps
  overrides: Mapping[str, Any]
  labelled: bool
  dtype: str

  def find(
    self, path: pathlib.Path
  ) -> list[tuple[int, float]] | fits.FitsError:
    """Sources inside an image and their distance in arcsec from its edge."""
    try:
      header = fits.header(path, **self.overrides)
      prepare.check_beam(header)
      return list(assemble.inside(header, self.sources))
    except fits.FitsError as error:
      return error

  def begin(self, task: Task) -> Begun | fits.FitsError:
    """Looks at all pixels of a file once, and cuts the first part of it."""
    try:
      prepared = kept.opened(task.path, self.steps, **self.overrides)
      seen = prepared.original.statistics
      task = dataclasses.replace(task, statistics=seen)
      if task.wanted is None:
        parts = self._tile_parts(prepared.image, task)
      else:
        parts = self.parts(task)
      made = self._cut(prepared, parts[0]) if parts else Made()
      found = self._describe(prepared)
      if task.wanted is None and not parts:
        found['status'] = 'too small'
      made.report.files[task.name] = found
      judged = dict(self._judged(prepared, task.shared))
      return Begun(made, judged, seen, parts[1:])
    except fits.FitsError as error:
      return error

  def cut(self, task: Task) -> Made:
    """The examples of a task of a file that was looked at."""
    prepared = kept.opened(
      task.path, self.steps, statistics=task.statistics, **self.overrides
    )
    return self._cut(prepared, task)

  def parts(self, task: Task) -> list[Task]:
    """A task in such parts that the examples of one can be held in memory."""
    across = _chunks(task.columns, self._at_once()) or [()]
    down = _chunks(
      task.wanted, max(1, self._at_once() // max(1, len(across[0])))
    )
    return [
      dataclasses.replace(task, wanted=rows, columns=columns, shared=())
      for rows in down
      for columns in across
    ]

  def _at_once(self) -> int:
    size_bytes = 4 * self.shape.size_pix**2
    return max(1, min(_EXAMPLES_OF_A_TASK, _BYTES_OF_A_TASK // size_bytes))

  def _tile_parts(self, image: fits.Image, task: Task) -> list[Task]:
    down, across = (
      tuple(cutouts.tile_corners(n, self.shape.size_pix, self.shape.stride_pix))
      for n in image.pixels_jy_beam.shape
    )
    if not across:
      return []
    return self.parts(dataclasses.replace(task, wanted=down, columns=across))

  def _describe(self, prepared: prepare.Prepared) -> dict[str, Any]:
    path = prepared.original.path
    others = self.steps.companions(path)
    return reports.describe(prepared.original) | {
      field: {'path': str(other), 'sha256': manifest.sha256(other)}
      for field, other in others.items()
    }

  def _cut(self, prepared: prepare.Prepared, task: Task) -> Made:
    made = Made()
    make = self._tiles if self.sources is None else self._cutouts
    for key, example in make(prepared, task, made.report):
      source = key if self.sources is not None else None
      if not example['rms_jy_beam'] > 0:
        made.report.lose(source, 'no_noise')
      elif not self._is_bright(example):
        made.report.lose(source, 'too_faint')
      else:
        made.report.count(example)
        made.examples.append((key, examples.stored(example, self.dtype)))
    return made

  def _is_bright(self, example: Mapping[str, Any]) -> bool:
    least = self.shape.min_snr
    return least is None or assemble.snr(example) >= least

  def _tiles(
    self, prepared: prepare.Prepared, task: Task, report: reports.Report
  ) -> Iterator[Example]:
    shape, image = self.shape, prepared.image
    report.missing = len(task.wanted) * len(task.columns)
    tiles = cutouts.tiles(
      image,
      size=shape.size_pix,
      stride=shape.stride_pix,
      max_missing=shape.max_missing,
      rows=task.wanted,
      columns=task.columns,
    )
    for _, row in itertools.groupby(tiles, lambda tile: tile.corner[0]):
      found = list(row)
      report.missing -= len(found)
      for tile in self._kept(self._good(found, report), report):
        y, x = tile.corner
        name = f'{task.name}#x{x:05d}y{y:05d}'
        yield name, assemble.example(prepared, tile, name)

  def _cutouts(
    self, prepared: prepare.Prepared, task: Task, report: reports.Report
  ) -> Iterator[Example]:
    for source, piece in self._pieces(prepared.image, task.wanted):
      name = str(self.sources.name[source])
      if fault := self._fault(piece):
        report.lose(name, fault)
      elif self._is_excluded([piece])[0]:
        report.lose(name, 'excluded')
      else:
        report.unsized += self._is_unsized(source)
        example = assemble.source_example(prepared, piece, self.sources, source)
        if not self.labelled:
          example.pop('label', None)
        yield example['name'], example

  def _judged(
    self, prepared: prepare.Prepared, shared: tuple[int, ...]
  ) -> Iterator[tuple[int, float | str]]:
    pieces = self._pieces(prepared.image, shared) if shared else ()
    for source, piece in pieces:
      _, rms = assemble.background_and_rms(prepared, piece)
      fault = self._fault(piece) or (None if rms > 0 else 'no_noise')
      yield source, fault or rms

  def _fault(self, piece: cutouts.Cutout) -> str | None:
    """Why a piece cannot be the image of a source."""
    pixels, side = piece.pixels_jy_beam, self.shape.missing_field_arcsec
    if side is not None:
      pixels = cutouts.middle(pixels, side / piece.pixel_scale_arcsec)
    if np.isnan(pixels).mean() > self.shape.max_missing:
      return 'incomplete'
    return None if piece.is_square else 'distorted'

  def _is_unsized(self, source: int) -> bool:
    unknown = np.isnan(self.sources.source_size_arcsec[source])
    return self.shape.source_factor is not None and bool(unknown)

  def _pieces(
    self, image: fits.Image, wanted: tuple[int, ...]
  ) -> Iterator[tuple[int, cutouts.Cutout]]:
    if not self.shape.whole_pixels:
      for source in wanted:
        yield source, self._cut_source(image, source)
    elif wanted:
      crops = cutouts.crops(
        image,
        ra_deg=self.sources.ra_deg[list(wanted)],
        dec_deg=self.sources.dec_deg[list(wanted)],
        size_pix=self.shape.size_pix,
      )
      yield from zip(wanted, crops, strict=True)

  def _good(
    self, pieces: list[cutouts.Cutout], report: reports.Report
  ) -> list[cutouts.Cutout]:
    """Without those whose pixels are not squares on the sky."""
    good = [piece for piece in pieces if piece.is_square]
    report.distorted += len(pieces) - len(good)
    return good

  def _kept(
    self, pieces: list[cutouts.Cutout], report: reports.Report
  ) -> list[cutouts.Cutout]:
    """Without those that hold an excluded source."""
    held = self._is_excluded(pieces)
    report.excluded += int(held.sum())
    return [p for p, out in zip(pieces, held, strict=True) if not out]

  def _is_excluded(self, pieces: list[cutouts.Cutout]) -> np.ndarray:
    """Whether each holds an excluded source."""
    if self.exclusion is None or not pieces:
      return np.zeros(len(pieces), bool)
    return self.exclusion.holds(
      np.array([p.ra_deg for p in pieces]),
      np.array([p.dec_deg for p in pieces]),
      field_arcsec=np.array([p.field_arcsec for p in pieces]),
      rotation_deg=np.array([p.rotation_deg for p in pieces]),
    )

  def _cut_source(self, image: fits.Image, source: int) -> cutouts.Cutout:
    shape, field, sources = self.shape, self.shape.field_arcsec, self.sources
    if shape.source_factor is not None:
      size = sources.source_size_arcsec[source]
      field = np.fmax(shape.source_factor * size, shape.min_field_arcsec)
    pixel = (field or 0) / shape.size_pix
    coarsest = image.beam.minor_arcsec / 2
    if pixel > coarsest * (1 + 1e-6) and not shape.allow_coarse_pixels:
      raise ValueError(
        f'{sources.path}: {sources.name[source]} on {field:.4g} arcsec and '
        f'{shape.size_pix} pixels has pixels of {pixel:.3g} arcsec, larger '
        f'than half the beam ({coarsest:.3g}). Raise --size_pix to '
        f'{int(np.ceil(field / coarsest))}, or set --allow_coarse_pixels.'
      )
    return cutouts.cutout(
      image,
      ra_deg=sources.ra_deg[source],
      dec_deg=sources.dec_deg[source],
      size_pix=shape.size_pix,
      field_arcsec=field,
    )


def _chunks(values: tuple[int, ...], number: int) -> list[tuple[int, ...]]:
  return [values[n : n + number] for n in range(0, len(values), number)]
