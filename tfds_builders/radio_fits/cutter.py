"""What is done with one file or a part of one: the work of one process."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from radio_ssl.data import catalogue as catalogues
from radio_ssl.data import cutouts, exclusion, fits, records, windows
from tfds_builders.radio_fits import assemble
from tfds_builders.radio_fits import report as reports

Example = tuple[str, dict[str, Any]]

# Few enough to be held, and to travel between processes, in one piece.
_EXAMPLES_OF_A_TASK = 256
_BYTES_OF_A_TASK = 1 << 26
# A packed file is unpacked for every task: fewer and larger ones.
_PACKED_TASKS_ARE_LARGER = 4


@dataclasses.dataclass(frozen=True)
class Tiles:
  """Sliding-window tiles in the image's own pixels."""

  size_pix: int = 150
  stride_pix: int = 75
  max_missing: float = 0.1


@dataclasses.dataclass(frozen=True)
class Cutouts:
  """Squares around catalogued sources, [size_pix, size_pix].

  Attributes:
    size_pix: side in pixels.
    field_arcsec: the same angle for all; None, with `source_factor` None too,
      keeps the size of the image's pixels.
    source_factor: the field is this many times the source's size (the paper:
      2.5), but never less than `min_field_arcsec`.
    min_field_arcsec: see `source_factor`; also for sources of unknown size.
    max_missing: cutouts with a larger fraction of NaN pixels are left out.
    allow_coarse_pixels: permits pixels larger than half the beam.
    whole_pixels: copies the image's own pixels, in its orientation; the source
      is off the centre by half a pixel at most. Else they are north up and
      centred, by interpolation.
  """

  size_pix: int = 150
  field_arcsec: float | None = None
  source_factor: float | None = None
  min_field_arcsec: float = 60.0
  max_missing: float = 0.1
  allow_coarse_pixels: bool = False
  whole_pixels: bool = False


@dataclasses.dataclass(frozen=True)
class Task:
  """A part of a file to cut.

  Attributes:
    path: the file.
    name: it has this name in keys and reports.
    wanted: first rows of tiles, or numbers of sources; None for all tiles.
    statistics: of its pixels; None for a file that was not looked at yet.
  """

  path: pathlib.Path
  name: str
  wanted: tuple[int, ...] | None
  statistics: windows.Statistics | None = None


@dataclasses.dataclass
class Made:
  """What came of a task.

  Attributes:
    examples: (key, example) each.
    excluded: dropped for an excluded source in them.
    missing: tiles dropped for their NaN pixels.
    done: sources that have pixels here.
    unsized: sources of unknown size that got min_field_arcsec.
  """

  examples: list[Example] = dataclasses.field(default_factory=list)
  excluded: int = 0
  missing: int = 0
  done: list[int] = dataclasses.field(default_factory=list)
  unsized: int = 0


@dataclasses.dataclass(frozen=True)
class Begun:
  """A file that was looked at, and the first part of it cut.

  Attributes:
    file: what the report tells of it.
    statistics: of its pixels.
    made: of the first part.
    rest: tasks that are left to do.
  """

  file: dict[str, Any]
  statistics: windows.Statistics
  made: Made
  rest: list[Task]


@dataclasses.dataclass(frozen=True)
class Cutter:
  """All that tasks have in common; is sent to every process once.

  Attributes:
    shape: how to cut.
    sources: to cut around; None for tiles.
    exclusion: what no image may hold.
    overrides: 'unit', 'beam_arcsec', 'channel', as `fits.opened` takes them.
    labelled: examples get the label of the source.
  """

  shape: Tiles | Cutouts
  sources: catalogues.Catalogue | None
  exclusion: exclusion.Exclusion | None
  overrides: Mapping[str, Any]
  labelled: bool

  def find(
    self, path: pathlib.Path
  ) -> list[tuple[int, float]] | fits.FitsError:
    """Sources inside an image and their distance in arcsec from its edge."""
    try:
      header = fits.header(path, **self.overrides)
      _check_beam(header)
      return list(assemble.inside(header, self.sources))
    except fits.FitsError as error:
      return error

  def begin(self, task: Task) -> Begun | fits.FitsError:
    """Looks at all pixels of a file once, and cuts the first part of it."""
    try:
      with fits.opened(task.path, **self.overrides) as image:
        _check_beam(image)
        first, *rest = self._parts(image, task)
        file, made = reports.describe(image), self._cut(image, first)
        return Begun(file, image.statistics, made, rest)
    except fits.FitsError as error:
      return error

  def cut(self, task: Task) -> Made:
    """The examples of a task of a file that was looked at."""
    with fits.opened(
      task.path, statistics=task.statistics, **self.overrides
    ) as image:
      return self._cut(image, task)

  def _parts(self, image: fits.Image, task: Task) -> list[Task]:
    wanted, size_bytes = task.wanted, 4 * self.shape.size_pix**2
    at_once = min(_EXAMPLES_OF_A_TASK, max(1, _BYTES_OF_A_TASK // size_bytes))
    if records.is_packed(task.path):
      at_once *= _PACKED_TASKS_ARE_LARGER
    if wanted is None:
      down, across = (
        cutouts.tile_corners(n, self.shape.size_pix, self.shape.stride_pix)
        for n in image.pixels_jy_beam.shape
      )
      wanted, at_once = tuple(down), max(1, at_once // max(1, len(across)))
    return [
      dataclasses.replace(
        task,
        wanted=wanted[first : first + at_once],
        statistics=image.statistics,
      )
      for first in range(0, max(1, len(wanted)), max(1, at_once))
    ]

  def _cut(self, image: fits.Image, task: Task) -> Made:
    made = Made()
    make = self._tiles if self.sources is None else self._cutouts
    made.examples += make(image, task, made)
    return made

  def _tiles(
    self, image: fits.Image, task: Task, made: Made
  ) -> Iterator[Example]:
    shape, width = self.shape, image.pixels_jy_beam.shape[1]
    across = cutouts.tile_corners(width, shape.size_pix, shape.stride_pix)
    made.missing = len(task.wanted) * len(across)
    tiles = cutouts.tiles(
      image,
      size=shape.size_pix,
      stride=shape.stride_pix,
      max_missing=shape.max_missing,
      rows=task.wanted,
    )
    for _, row in itertools.groupby(tiles, lambda tile: tile.corner[0]):
      found = list(row)
      made.missing -= len(found)
      for tile in self._kept(found, made):
        y, x = tile.corner
        name = f'{task.name}#x{x:05d}y{y:05d}'
        yield name, assemble.example(image, tile, name)

  def _cutouts(
    self, image: fits.Image, task: Task, made: Made
  ) -> Iterator[Example]:
    for source, piece in self._pieces(image, task.wanted, made):
      if np.isnan(piece.pixels_jy_beam).mean() > self.shape.max_missing:
        continue
      made.done.append(source)
      if self._kept([piece], made):
        example = assemble.source_example(image, piece, self.sources, source)
        if not self.labelled:
          example.pop('label', None)
        yield example['name'], example

  def _pieces(
    self, image: fits.Image, wanted: tuple[int, ...], made: Made
  ) -> Iterator[tuple[int, cutouts.Cutout]]:
    if not self.shape.whole_pixels:
      for source in wanted:
        yield source, self._cut_source(image, source, made)
      return
    crops = cutouts.crops(
      image,
      ra_deg=self.sources.ra_deg[list(wanted)],
      dec_deg=self.sources.dec_deg[list(wanted)],
      size_pix=self.shape.size_pix,
    )
    yield from zip(wanted, crops, strict=True)

  def _kept(
    self, pieces: list[cutouts.Cutout], made: Made
  ) -> list[cutouts.Cutout]:
    """Without those that hold an excluded source."""
    if self.exclusion is None or not pieces:
      return pieces
    held = self.exclusion.holds(
      np.array([p.ra_deg for p in pieces]),
      np.array([p.dec_deg for p in pieces]),
      field_arcsec=np.array([p.field_arcsec for p in pieces]),
      rotation_deg=np.array([p.rotation_deg for p in pieces]),
    )
    made.excluded += int(held.sum())
    return [p for p, out in zip(pieces, held, strict=True) if not out]

  def _cut_source(
    self, image: fits.Image, source: int, made: Made
  ) -> cutouts.Cutout:
    shape, field, sources = self.shape, self.shape.field_arcsec, self.sources
    if shape.source_factor is not None:
      size = sources.source_size_arcsec[source]
      made.unsized += bool(np.isnan(size))
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


def _check_beam(image: fits.Image | fits.Header) -> None:
  if image.beam is None:
    raise fits.FitsError(
      f'{image.path}: no beam in the header. Set beam_arcsec (--beam_arcsec).',
      'beam',
    )
