"""From radio FITS images to examples: the way every survey goes in.

`convert` is a generator of plain Python: builders of simulated or downloaded
surveys call it on the files that they made.
"""

import dataclasses
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
  used: set[pathlib.Path] = dataclasses.field(default_factory=set)

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
      image = self._image(path)
      if image is None:
        continue
      for tile in self._kept(self._cut_tiles(image)):
        y, x = tile.corner
        name = f'{self.names[path]}#x{x:05d}y{y:05d}'
        yield name, assemble.example(image, tile, name)

  def _cut_tiles(self, image: fits.Image) -> list[cutouts.Cutout]:
    height, width = image.pixels_jy_beam.shape
    shape = self.shape
    corners = [
      len(cutouts.tile_corners(n, shape.size_pix, shape.stride_pix))
      for n in (height, width)
    ]
    found = list(
      cutouts.tiles(
        image,
        size=shape.size_pix,
        stride=shape.stride_pix,
        max_missing=shape.max_missing,
      )
    )
    self.report.missing += corners[0] * corners[1] - len(found)
    return found

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
        image = self._image(path)
        for source in by_path[path] if image else []:
          piece = self._cut_source(image, sources, source)
          missing = np.isnan(piece.pixels_jy_beam).mean()
          if missing > self.shape.max_missing:
            continue
          left[source] = None
          if self._kept([piece]):
            example = assemble.source_example(image, piece, sources, source)
            if not self.labelled:
              example.pop('label', None)
            yield example['name'], example
      self.report.missing += sum(paths == [] for paths in left.values())
      left = {source: paths for source, paths in left.items() if paths}

  def _images_of(
    self, sources: catalogues.Catalogue
  ) -> dict[int, list[pathlib.Path]]:
    """For each source in any image, its images, the most central one first."""
    found: list[tuple[int, float, pathlib.Path]] = []
    self.progress(
      f'looking for {len(sources)} sources in {len(self.paths)} images'
    )
    for path in self.paths:
      header = self._open(fits.header, path)
      if header is not None:
        found += [
          (s, -edge, path) for s, edge in assemble.inside(header, sources)
        ]
    images: dict[int, list[pathlib.Path]] = {}
    for source, _, path in sorted(found, key=lambda item: item[:2]):
      images.setdefault(source, []).append(path)
    self.report.outside += len(sources) - len(images)
    self.paths = [
      p for p in self.paths if self.names[p] not in self.report.skipped
    ]
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

  def _image(self, path: pathlib.Path) -> fits.Image | None:
    image = self._open(fits.read, path)
    if image is not None:
      self.used.add(path)
      self.report.images = len(self.used)
    return image

  def _open(self, reader: Callable[..., Any], path: pathlib.Path) -> Any:
    """A file's image or header; None for a bad one that is passed over."""
    try:
      opened = reader(path, **self.overrides)
      if opened.beam is None:
        raise fits.FitsError(
          f'{path}: no BMAJ in the header. Set beam_arcsec (--beam_arcsec).'
        )
      return opened
    except fits.FitsError as error:
      if not self.skip_bad:
        raise
      self.report.skipped[self.names[path]] = str(error).removeprefix(
        f'{path}: '
      )
      return None

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
