"""What a conversion is to do: checked, and the same for every way to run it."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radio_ssl.data import catalogue as catalogues
from radio_ssl.data import exclusion, fits
from tfds_builders.radio_fits import cutter, prepare, shapes
from tfds_builders.radio_fits import report as reports


@dataclasses.dataclass(frozen=True)
class Order:
  """Images, and what is to be done with them.

  Attributes:
    files: the images by name; keys of examples hold the name, and decide the
      order of records, so it does not tell where the files lie.
    work: done with each.
    skip_bad: bad files are noted in the report instead of ending the work.
    report: what is known before it begins.
  """

  files: Mapping[str, pathlib.Path]
  work: cutter.Cutter
  skip_bad: bool
  report: reports.Report

  def rejection(self, name: str, error: fits.FitsError) -> reports.Report:
    """The report of a bad file.

    Raises:
      fits.FitsError: the error, where none is to be passed over.
    """
    if not self.skip_bad:
      raise error
    report = reports.Report()
    reason = str(error).removeprefix(f'{self.files[name]}: ')
    report.reject(name, error.kind, reason)
    return report


def order(
  paths: Sequence[str | pathlib.Path],
  shape: shapes.Tiles | shapes.Cutouts,
  *,
  steps: prepare.Steps | None = None,
  catalogue: catalogues.Catalogue | None = None,
  exclude: catalogues.Catalogue | None = None,
  skip_bad: bool = False,
  labelled: bool = False,
  dtype: str = 'float32',
  **overrides: Any,
) -> Order:
  """Checks what is asked for.

  Args:
    paths: the FITS files; companions among them (`prepare.Steps`) are no images
      to cut.
    shape: how to cut.
    steps: what is done with every image first; nothing without it.
    catalogue: the sources of `shapes.Cutouts`; not used by `shapes.Tiles`.
    exclude: sources that no footprint may hold (`exclusion`).
    skip_bad: notes bad files in the report instead of stopping at the first.
    labelled: adds the catalogue's `label` to each example; sources without
      one are left out.
    dtype: of the pixels in the examples (`examples.stored`).
    **overrides: of `fits.opened`, such as 'unit' and 'channel'.

  Raises:
    ValueError: one line; no files, one image twice, or no catalogue or labels
      where needed.
  """
  if not paths:
    raise ValueError('no FITS files. Check the pattern of --images.')
  report, steps = reports.Report(), steps or prepare.Steps()
  files = _named([pathlib.Path(p) for p in paths], report)
  if isinstance(shape, shapes.Tiles):
    catalogue = None
  elif catalogue is None:
    raise ValueError('cutouts need a catalogue. Set --catalogue.')
  elif labelled:
    report.unlabelled = len(catalogue)
    catalogue = with_labels(catalogue)
    report.unlabelled -= len(catalogue)
  companions = {
    other.resolve()
    for path in files.values()
    for other in steps.companions(path).values()
  }
  for name in [n for n, path in files.items() if path.resolve() in companions]:
    del files[name]
    report.files[name] = {'status': 'companion'}
  if not files:
    raise ValueError(f'{paths[0]} ...: all files are companions of others.')
  excluded = _exclusion(exclude, report)
  work = cutter.Cutter(
    shape, catalogue, excluded, steps, overrides, labelled, dtype
  )
  return Order(files, work, skip_bad, report)


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


def _named(
  paths: Sequence[pathlib.Path], report: reports.Report
) -> dict[str, pathlib.Path]:
  """By name relative to the folder that all have in common.

  Raises:
    ValueError: an image is there packed and unpacked.
  """
  common = os.path.commonpath([p.resolve().parent for p in paths])
  files: dict[str, pathlib.Path] = {}
  real: dict[pathlib.Path, str] = {}
  for path in paths:
    name = os.path.relpath(path.resolve().parent / path.name, common)
    first = real.setdefault(path.resolve(), name)
    if first == name and name not in files:
      files[name] = path
    else:
      # Links lead to one file by several ways.
      report.files[str(path)] = {'status': 'same file', 'as': first}
  for name in files:
    plain = name.removesuffix('.gz').removesuffix('.fz').removesuffix('.bz2')
    if plain != name and plain in files:
      raise ValueError(
        f'{files[plain]} and {files[name]}: one image, plain and packed? Leave '
        'out one, or give it another name.'
      )
  return files


def _exclusion(
  sources: catalogues.Catalogue | None, report: reports.Report
) -> exclusion.Exclusion | None:
  if sources is None:
    return None
  sizes = sources.source_size_arcsec
  report.excluded_unsized = int(np.isnan(sizes).sum())
  return exclusion.Exclusion(sources.ra_deg, sources.dec_deg, sizes)
