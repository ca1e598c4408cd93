"""Pretrains an encoder: python main.py --config=configs/X.py --workdir=DIR.

Exit status: 0 done; 1 bad input or a non-finite loss, told in one line; 75
stopped by SIGTERM with everything saved, the same command goes on.
"""

import logging
import pathlib
import sys

import jax
from absl import app, flags
from jax.experimental import multihost_utils
from ml_collections import config_flags

from radio_ssl import hosts, pretrain
from radio_ssl.data import pipeline
from radio_ssl.evaluate import runner
from tfds_builders import build

_CONFIG = config_flags.DEFINE_config_file('config', None, 'A file of configs/.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_MANUAL_DIR = flags.DEFINE_string('manual_dir', None, 'Files got by hand.')
hosts.define_flags()


def _open(data) -> pipeline.DataSet:
  """Opens a data set; process 0 builds it first if it can and must."""
  where = {k: data[k] for k in ('dir', 'name', 'config', 'data_dir')}
  missing = not pipeline.find(**where).joinpath('dataset_info.json').exists()
  if missing and data.name in build.available() and not jax.process_index():
    options = {k: data[k] or None for k in ('config', 'data_dir')}
    build.build(data.name, manual_dir=_MANUAL_DIR.value, **options)
  multihost_utils.sync_global_devices(f'built {data.name}')
  return pipeline.open_dataset(pipeline.find(**where))


def main(argv) -> None:
  """Builds what is missing, pretrains, evaluates; see the module."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown argument {argv[1]!r}.')
  # Ours alone: what the libraries tell besides warnings helps nobody here.
  logging.getLogger('radio_ssl').setLevel(logging.INFO)
  config, workdir = _CONFIG.value, pathlib.Path(_WORKDIR.value)
  try:
    hosts.initialize()
    labelled = _open(config.monitor) if config.monitor.name else None
    pretrain.run(config, workdir, _open(config.data), labelled)
    if 'protocol' in config.eval_after:
      _open(config.eval_after.data)
      runner.compare(config.eval_after, workdir, config.eval_baselines)
  except (ValueError, FloatingPointError, pretrain.Interrupted) as error:
    print(f'error: {error}', file=sys.stderr)
    interrupted = isinstance(error, pretrain.Interrupted)
    sys.exit(pretrain.EXIT_INTERRUPTED if interrupted else 1)


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'workdir'])
  app.run(main)
