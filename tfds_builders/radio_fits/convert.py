"""From radio FITS images to examples: the way every survey goes in.

`convert` is a generator of plain Python: builders of simulated or downloaded
surveys call it on the files that they made.
"""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from radio_ssl.data import catalogue as catalogues
from radio_ssl.data import cutouts, exclusion, fits
from tfds_builders.radio_fits import assemble
from tfds_builders.radio_fits import report as reports

_SECONDS_BETWEEN_LINES = 10.0


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
      keeps the pixels of the image.
    source_factor: the field is this many times the source's size (the paper:
      2.5), but never less than `min_field_arcsec`.
    min_field_arcsec: see `source_factor`; also for sources of unknown size.
    max_missing: cutouts with a larger fraction of NaN pixels are left out.
    allow_coarse_pixels: permits pixels larger than half the beam.
  """

  size_pix: int = 150
  field_arcsec: float | None = None
  source_factor: float | None = None
  min_field_arcsec: float = 60.0
  max_missing: float = 0.1
  allow_coarse_pixels: bool = False


def convert(
  paths: Sequence[str | pathlib.Path],
  shape: Tiles | Cutouts,
  *,
  catalogue: catalogues.Catalogue | None = None,
  exclude: catalogues.Catalogue | None = None,
  unit: str | None = None,
  beam_arcsec: float | None = None,
  skip_bad: bool = False,
  labelled: bool = False,
  report: reports.Report | None = None,
  progress: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
  """Examples of images, one at a time.

  A source in several images is cut from the one in which it lies farthest from
  the edge, and from the next one where that has too many missing pixels.

  Args:
    paths: the FITS files.
    shape: how to cut.
    catalogue: the sources of `Cutouts`; not used by `Tiles`.
    exclude: sources that no footprint may hold (`exclusion`).
    unit: taken instead of BUNIT.
    beam_arcsec: taken instead of BMAJ, BMIN, BPA.
    skip_bad: notes bad files in the report instead of stopping at the first.
    labelled: adds the catalogue's `label` to each example; sources without
      one are left out.
    report: filled in; complete once the generator has ended.
    progress: called with a line now and then.

  Yields:
    (key, example): keys are unique, examples fit `examples.features`. Fluxes,
    sizes and redshifts are the catalogue's; without a catalogue flux `flux_jy`
    is what stands 3 rms above the background (`noise.flux_jy`).

  Raises:
    ValueError: one line, for a bad file, no source in any image, pixels larger
      than half the beam, or no example at all.
  """
  if not paths:
    raise ValueError('no FITS files. Check the pattern of --images.')
  job = _Job(
    paths=[pathlib.Path(p) for p in paths],
    shape=shape,
    exclusion=None if exclude is None else _exclusion(exclude),
    overrides={'unit': unit, 'beam_arcsec': beam_arcsec},
    skip_bad=skip_bad,
    labelled=labelled,
    report=report if report is not None else reports.Report(),
    progress=progress or (lambda line: None),
  )
  if exclude is not None:
    job.report.excluded_unsized = int(
      np.isnan(exclude.source_size_arcsec).sum()
    )
  yield from job.examples(catalogue)


def with_labels(sources: catalogues.Catalogue) -> catalogues.Catalogue:
  """The sources that have a label.

  Raises:
    ValueError: none has.
  """
  if sources.label is None or not (sources.label != '').any():
    raise ValueError(
      f'{sources.path}: no label column, or an empty one. Name it with '
      '--columns label=NAME, or leave out --labelled.'
    )
  return sources.take(sources.label != '')


def _check_beam(image: fits.Image | fits.Header) -> None:
  if image.beam is None:
    raise fits.FitsError(
      f'{image.path}: no beam in the header. Set beam_arcsec (--beam_arcsec).',
      'beam',
    )


def _exclusion(sources: catalogues.Catalogue) -> exclusion.Exclusion:
  return exclusion.Exclusion(
    sources.ra_deg, sources.dec_deg, sources.source_size_arcsec
  )


@dataclasses.dataclass
class _Job:
  """The arguments of `convert`, and the loops over its images."""

  paths: list[pathlib.Path]
  shape: Tiles | Cutouts
  exclusion: exclusion.Exclusion | None
  overrides: dict[str, Any]
  skip_bad: bool
  labelled: bool
  report: reports.Report
  progress: Callable[[str], None]

  def __post_init__(self):
    common = os.path.commonpath([p.resolve().parent for p in self.paths])
    # Keys decide the order of records: they must not hold where the files lie.
    self.names = {
      p: os.path.relpath(p.resolve().parent / p.name, common)
      for p in self.paths
    }

  def examples(
    self, catalogue: catalogues.Catalogue | None
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, example) of the wanted shape, counted in the report."""
    if isinstance(self.shape, Tiles):
      found = self._from_tiles()
    elif catalogue is None:
      raise ValueError('cutouts need a catalogue. Set --catalogue.')
    else:
      found = self._from_sources(catalogue)
    for key, example in found:
      self.report.count(example)
      yield key, example
    if not self.report.examples:
      raise ValueError(
        f'{self.paths[0] if self.paths else "all files"} ...: no example to '
        f'make. {self.report.summary()} Check size, catalogue and exclusion.'
      )

  def _from_tiles(self) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in self._timed(self.paths):
      with self._image(path) as image:
        for row in self._rows_of_tiles(image) if image else []:
          for tile in self._kept(row):
            y, x = tile.corner
            name = f'{self.names[path]}#x{x:05d}y{y:05d}'
            yield name, assemble.example(image, tile, name)

  def _rows_of_tiles(self, image: fits.Image) -> Iterator[list[cutouts.Cutout]]:
    """Tiles at the same height together; counts those that have no pixels."""
    shape = self.shape
    down, across = (
      len(cutouts.tile_corners(n, shape.size_pix, shape.stride_pix))
      for n in image.pixels_jy_beam.shape
    )
    self.report.missing += down * across
    tiles = cutouts.tiles(
      image,
      size=shape.size_pix,
      stride=shape.stride_pix,
      max_missing=shape.max_missing,
    )
    for _, row in itertools.groupby(tiles, lambda tile: tile.corner[0]):
      found = list(row)
      self.report.missing -= len(found)
      yield found

  def _kept(self, pieces: list[cutouts.Cutout]) -> list[cutouts.Cutout]:
    """Without those that hold an excluded source."""
    if self.exclusion is None or not pieces:
      return pieces
    held = self.exclusion.holds(
      np.array([p.ra_deg for p in pieces]),
      np.array([p.dec_deg for p in pieces]),
      field_arcsec=np.array([p.field_arcsec for p in pieces]),
      rotation_deg=np.array([p.rotation_deg for p in pieces]),
    )
    self.report.excluded += int(held.sum())
    return [p for p, out in zip(pieces, held, strict=True) if not out]

  def _from_sources(
    self, sources: catalogues.Catalogue
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    if self.labelled:
      self.report.unlabelled = len(sources)
      sources = with_labels(sources)
      self.report.unlabelled -= len(sources)
    left: dict[int, list[pathlib.Path] | None] = self._images_of(sources)
    while left:
      # The first round takes the best image of every source; later ones are
      # for sources whose image has no pixels there.
      by_path: dict[pathlib.Path, list[int]] = {}
      for source, paths in left.items():
        by_path.setdefault(paths.pop(0), []).append(source)
      for path in self._timed([p for p in self.paths if p in by_path]):
        with self._image(path) as image:
          wanted = by_path[path] if image else []
          for source, piece in self._pieces(image, sources, wanted):
            left[source] = None
            if self._kept([piece]):
              example = assemble.source_example(image, piece, sources, source)
              if not self.labelled:
                example.pop('label', None)
              yield example['name'], example
      self.report.missing += sum(paths == [] for paths in left.values())
      left = {source: paths for source, paths in left.items() if paths}

  def _pieces(
    self, image: fits.Image, sources: catalogues.Catalogue, wanted: list[int]
  ) -> Iterator[tuple[int, cutouts.Cutout]]:
    """The wanted sources that have pixels in this image."""
    for source in wanted:
      piece = self._cut_source(image, sources, source)
      if np.isnan(piece.pixels_jy_beam).mean() <= self.shape.max_missing:
        yield source, piece

  def _images_of(
    self, sources: catalogues.Catalogue
  ) -> dict[int, list[pathlib.Path]]:
    """For each source in any image, its images, the most central one first."""
    found: list[tuple[int, float, pathlib.Path]] = []
    self.progress(
      f'looking for {len(sources)} sources in {len(self.paths)} images'
    )
    for path in self.paths:
      header = self._header(path)
      if header is not None:
        found += [
          (s, -edge, path) for s, edge in assemble.inside(header, sources)
        ]
    images: dict[int, list[pathlib.Path]] = {}
    for source, _, path in sorted(found, key=lambda item: item[:2]):
      images.setdefault(source, []).append(path)
    self.report.outside += len(sources) - len(images)
    rejected = self.report.rejected
    self.paths = [p for p in self.paths if self.names[p] not in rejected]
    for path in self.paths:
      self.report.files[self.names[path]] = {'status': 'not needed'}
    return images

  def _cut_source(
    self, image: fits.Image, sources: catalogues.Catalogue, source: int
  ) -> cutouts.Cutout:
    shape, field = self.shape, self.shape.field_arcsec
    if shape.source_factor is not None:
      size = sources.source_size_arcsec[source]
      self.report.unsized += bool(np.isnan(size))
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

  @contextlib.contextmanager
  def _image(self, path: pathlib.Path) -> Iterator[fits.Image | None]:
    """An open image; None for a bad one that is passed over."""
    with contextlib.ExitStack() as files:
      try:
        image = files.enter_context(fits.opened(path, **self.overrides))
        _check_beam(image)
        self.report.accept(self.names[path], image)
      except fits.FitsError as error:
        image = self._passed_over(path, error)
      yield image

  def _header(self, path: pathlib.Path) -> fits.Header | None:
    try:
      header = fits.header(path, **self.overrides)
      _check_beam(header)
      return header
    except fits.FitsError as error:
      return self._passed_over(path, error)

  def _passed_over(self, path: pathlib.Path, error: fits.FitsError) -> None:
    if not self.skip_bad:
      raise error
    reason = str(error).removeprefix(f'{path}: ')
    self.report.reject(self.names[path], error.kind, reason)

  def _timed(self, paths: Sequence[pathlib.Path]) -> Iterator[pathlib.Path]:
    """The paths, with a line of progress every few seconds."""
    start = said = time.monotonic()
    for done, path in enumerate(paths):
      now = time.monotonic()
      if done and now - said > _SECONDS_BETWEEN_LINES:
        said = now
        left = (now - start) / done * (len(paths) - done)
        self.progress(
          f'{done}/{len(paths)} images, {self.report.examples} examples, '
          f'{left:.0f} s left'
        )
      yield path
