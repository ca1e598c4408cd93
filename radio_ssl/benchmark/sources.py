"""The data sets that cells read, and what is in them."""

import functools
import pathlib

from radio_ssl.benchmark import plan, settings
from radio_ssl.data import manifest, pipeline, places
from radio_ssl.evaluate import holdout


def opened(data) -> pipeline.DataSet:
  """The data set that a config's `data` or `monitor` names.

  Raises:
    ValueError: none is there.
  """
  where = {k: data[k] for k in ('dir', 'name', 'config', 'data_dir')}
  return _opened(places.find(**where))


@functools.cache
def _opened(directory: pathlib.Path) -> pipeline.DataSet:
  return pipeline.open_dataset(directory)


@functools.cache
def _holdout(path: str) -> str:
  return holdout.read(path).sha256


def contents(config, cell: plan.Cell) -> dict[str, str]:
  """Hashes of what a known cell reads, by what it is to it.

  Args:
    config: of the benchmark.
    cell: known.

  Raises:
    ValueError: something is not there.
  """
  found = {}
  if cell.source == 'method':
    data = settings.pretraining(config, cell).data
    found['pretraining set'] = opened(data).fingerprint
  if not cell.pretrains:
    data = settings.evaluation(config, cell).data
    found['labelled set'] = opened(data).fingerprint
    found['hold-out'] = _holdout(data.holdout) if data.holdout else ''
  if cell.source == 'checkpoint':
    sums = pathlib.Path(config.checkpoints[cell.method].path, manifest.NAME)
    # An exported encoder has them; a run goes by its path.
    found['checkpoint'] = manifest.sha256(sums) if sums.is_file() else ''
  return found
