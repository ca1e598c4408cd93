"""Any radio FITS images, cut into tiles or around catalogued sources."""

import contextlib
import importlib
import json
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from radio_ssl.data import catalogue as catalogues
from radio_ssl.data import examples
from tfds_builders.radio_fits import convert, options
from tfds_builders.radio_fits import order as orders
from tfds_builders.radio_fits import report as reports

Options = options.Options
# What became of every file; of a build that made nothing, beside its folder.
_REPORT = 'ingest_report.json'


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
      sources = orders.with_labels(self._catalogue())
      labels = sorted(set(sources.label))
    size = self.options.size_pix
    return self.dataset_info_from_configs(
      features=examples.features(
        size, size, dtype=self.options.dtype, label_names=labels
      ),
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

  def _generate_examples(self) -> Any:
    if self.options.beam_runner is None:
      return self._here()
    return _distribute().Examples(self._order(), self._report_file())

  def _download_and_prepare(self, dl_manager, download_config) -> None:
    asked, prepare = self.options, super()._download_and_prepare
    if asked.beam_runner is None:
      prepare(dl_manager, download_config)
      return
    beam = _distribute()
    settings = beam.settings(asked.beam_runner, asked.beam_options)
    with self._or_nothing(self._written), beam.errors_of_steps():
      # TFDS takes runner and options from here alone.
      prepare(dl_manager, download_config.replace(**settings))

  def _written(self) -> reports.Report | None:
    """What the pipeline has written, once it has counted."""
    file = self._report_file()
    return (
      reports.loaded(json.loads(file.read_text())) if file.exists() else None
    )

  def _process_pipeline_result(self, pipeline_result: Any) -> None:
    self._tell(self._written())

  @contextlib.contextmanager
  def _or_nothing(
    self, counted: Callable[[], reports.Report | None]
  ) -> Iterator[None]:
    """Keeps the report of a conversion that made no example."""
    # TFDS removes the folder of a data set that could not be made.
    beside = pathlib.Path(self.data_dir).parent / _REPORT
    beside.unlink(missing_ok=True)
    try:
      yield
    except ValueError as error:
      report = counted()
      # Beam makes a plain ValueError of every error.
      if report is None or 'no example to make' not in str(error):
        raise
      report.write(beside)
      raise reports.NoExamplesError(f'{error} See {beside}.') from error

  def _here(self) -> Iterator[tuple[str, dict[str, Any]]]:
    report = reports.Report()
    with self._or_nothing(lambda: report):
      yield from convert.convert(
        self._order(),
        workers=self.options.workers,
        report=report,
        progress=lambda line: print(line, file=sys.stderr),
      )
    self._tell(report)

  def _order(self) -> orders.Order:
    asked = self.options
    paths = asked.paths()
    if not paths:
      raise ValueError(
        f'images={asked.images!r}: no such files. Give --images a pattern.'
      )
    return orders.order(
      paths,
      asked.shape(self.builder_config.name),
      steps=asked.steps(self.builder_config.name),
      catalogue=self._catalogue(),
      exclude=self._excluded(),
      skip_bad=asked.skip_bad,
      labelled=asked.labelled,
      dtype=asked.dtype,
      unit=asked.unit,
      beam_arcsec=asked.beam_arcsec,
      channel=asked.channel,
      stokes=asked.stokes,
    )

  def _tell(self, report: reports.Report) -> None:
    """Puts it on the screen, in the metadata and into a file of the set."""
    self.info.metadata.update(report.metadata())
    for path, reason in report.rejected.items():
      print(f'skipped {path}: {reason}', file=sys.stderr)
    report.write(self._report_file())
    print(report.summary(), file=sys.stderr)

  def _report_file(self) -> pathlib.Path:
    return pathlib.Path(self.data_dir) / _REPORT


def _distribute() -> types.ModuleType:
  try:
    return importlib.import_module('tfds_builders.radio_fits.distribute')
  except ImportError as error:
    raise ValueError(
      f'beam_runner needs Apache Beam ({error}). Run: pip install '
      "'radio_ssl[beam]'"
    ) from error
