"""Pretrains an encoder: python main.py --config=configs/X.py --workdir=DIR.

Exit status: 0 done; 1 bad input or a non-finite loss, told in one line; 75
stopped by SIGTERM with everything saved, the same command goes on.
"""

import pathlib
import sys

import jax
from absl import flags
from jax.experimental import multihost_utils
from ml_collections import config_flags

from configs import base
from radio_ssl import cli, hosts, pretrain
from radio_ssl.data import pipeline, places
from radio_ssl.evaluate import runner
from tfds_builders import build

_CONFIG = config_flags.DEFINE_config_file('config', None, 'A file of configs/.')
_EVAL = config_flags.DEFINE_config_file('eval', None, 'One of configs/eval/.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_MANUAL_DIR = flags.DEFINE_string('manual_dir', None, 'Files got by hand.')
hosts.define_flags()


def _open(data) -> pipeline.DataSet:
  """Opens a data set; process 0 builds it first if it can and must."""
  where = {k: data[k] for k in ('dir', 'name', 'config', 'data_dir')}
  missing = not places.find(**where).joinpath('dataset_info.json').exists()
  ours = not data.dir and data.name in build.available()
  if missing and ours and not jax.process_index():
    options = {k: data[k] or None for k in ('config', 'data_dir')}
    build.build(data.name, manual_dir=_MANUAL_DIR.value, **options)
  multihost_utils.sync_global_devices(f'built {data.name}')
  return pipeline.open_dataset(places.find(**where))


def main() -> int:
  """Builds what is missing, pretrains, evaluates; see the module."""
  config, workdir = _CONFIG.value, pathlib.Path(_WORKDIR.value)
  pretrain.resolve(config, _EVAL.value, workdir, fields=[*base.get_config()])
  hosts.initialize()
  dataset, monitor = _open(config.data), config.monitor
  labelled = _open(monitor) if monitor.dir or monitor.name else None
  if config.eval_after:
    _open(config.eval_after.data)
  try:
    pretrain.run(config, workdir, dataset, labelled)
  except pretrain.Interrupted as stop:
    print(stop, file=sys.stderr)
    return pretrain.EXIT_INTERRUPTED
  if config.eval_after:
    runner.compare(config.eval_after, workdir, config.eval_baselines)
  return 0


if __name__ == '__main__':
  cli.run(main, required=('config', 'workdir'))
