"""Several data sets that were built before, as one without labels."""

import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from radio_ssl.data import catalogue as catalogues
from radio_ssl.data import examples, exclusion
from tfds_builders.image_folder import collection
from tfds_builders.joined import join, members, options
from tfds_builders.joined import report as reports

Options = options.Options


class Builder(tfds.core.GeneratorBasedBuilder):
  """Images of several data sets, cut to one size, each source once."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES: ClassVar = {'1.0.0': 'First version.'}

  def __init__(self, *, options: Options | None = None, **how):
    self.options = options or Options()
    # The place of the data, and the name in dataset_info.json.
    self.name = self.options.name
    super().__init__(**how)

  def _info(self) -> tfds.core.DatasetInfo:
    stored = collection.stored_features(self.data_dir)
    if stored is None:
      asked, found = self.options, members.opened(self.options.sets)
      size = members.side_pix(found, asked.size_pix)
      stored = examples.features(
        size, size, dtype=members.dtype(found, asked.dtype)
      )
    return self.dataset_info_from_configs(
      features=stored, metadata=tfds.core.MetadataDict()
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager  # Nothing is downloaded.
    return {'train': self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
    asked, found = self.options, members.opened(self.options.sets)
    sources = self._excluded()
    report = reports.Report(found)
    excluded = None
    if sources is not None:
      size = sources.source_size_arcsec
      report.excluded_unsized = int(np.isnan(size).sum())
      excluded = exclusion.Exclusion(sources.ra_deg, sources.dec_deg, size)
    yield from join.Join(
      members=found,
      size_pix=members.side_pix(found, asked.size_pix),
      dtype=members.dtype(found, asked.dtype),
      full_scale_sigma=asked.full_scale_sigma,
      same_arcsec=asked.same_arcsec,
      exclusion=excluded,
    ).examples(report)
    self._tell(report)

  def _excluded(self) -> catalogues.Catalogue | None:
    if self.options.exclude is None:
      return None
    return catalogues.read(
      self.options.exclude,
      columns=dict(self.options.exclude_columns),
      flag='--exclude_columns',
    )

  def _tell(self, report: reports.Report) -> None:
    """Puts it on the screen, in the metadata and into a file of the set."""
    self.info.metadata.update(report.metadata())
    record = json.dumps(report.record(), indent=1)
    path = pathlib.Path(self.data_dir) / 'ingest_report.json'
    path.write_text(f'{record}\n')
    print(report.summary(), file=sys.stderr)
