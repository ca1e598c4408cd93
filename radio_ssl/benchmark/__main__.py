"""Runs a matrix of pretrainings and evaluations, cell by cell.

  python -m radio_ssl.benchmark --config=configs/benchmark_small.py \
    --workdir=runs/benchmark

Each cell has a folder and a process of its own. The same command goes on where
a run was stopped. Several machines share a work by `--shard=1/4` ... `4/4` on
one file system. At the end, or by `--report`, the report is written.

Exit status: 0, all cells of this shard are done; 1, bad input, or cells that
failed (the same command tries them again); 75, stopped by SIGTERM, or cells
left that wait for other shards: give the same command again.
"""

import os
import pathlib
import sys
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from radio_ssl import cli
from radio_ssl.benchmark import cells, checks, finished, loop, states

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'As configs/benchmark_small.py.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of all the cells.')
_SHARD = flags.DEFINE_string('shard', '1/1', 'i/n: the i-th of n machines.')
_STATUS = flags.DEFINE_bool('status', False, 'Only tell how far it is.')
_DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Only list the cells.')
_REPORT = flags.DEFINE_bool('report', False, 'Only write the report.')
_CELLS = flags.DEFINE_multi_string(
  'cell', [], 'Run this cell here, by its name; may be given several times.'
)


def main() -> int:
  """Runs what is left, or what a flag asks for; see the module."""
  config, workdir = _CONFIG.value, pathlib.Path(_WORKDIR.value)
  if workdir.is_file():
    raise ValueError(f'{workdir}: a file; wanted a folder for --workdir.')
  shard = _shard(_SHARD.value)
  checks.structure(config)
  seen = states.look(config, workdir)
  if _STATUS.value:
    print(states.table(seen))
    return 0
  if _CELLS.value:
    named = [_named(seen, name) for name in _CELLS.value]
    states.check_unchanged(config, workdir, named)
    return cells.run(config, [it.cell for it in named], workdir)
  states.check_unchanged(config, workdir, seen)
  if _REPORT.value:
    print(finished.report(config, workdir))
    return 0
  checks.parts(config, workdir)
  if _DRY_RUN.value:
    for it in states.share(seen, shard):
      print(f'{it.state:8} {it.cell.name}')
    print(states.eta(seen))
    return 0
  status = loop.run(config, workdir, shard, command=_child)
  print(states.table(states.look(config, workdir)))
  if not status:
    print(finished.report(config, workdir))
  return status


def _shard(text: str) -> tuple[int, int]:
  i, _, n = text.partition('/')
  if not (i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
    raise ValueError(f'--shard={text}: wanted i/n with 1 <= i <= n, as 1/4.')
  return int(i), int(n)


def _named(seen, name: str) -> states.Seen:
  for it in seen:
    if it.cell.name == name:
      if it.state == 'waiting':
        raise ValueError(f'--cell={name}: it waits for {it.why}.')
      return it
  raise ValueError(f'--cell={name}: no such cell; --dry_run lists them all.')


def _child(names: Sequence[str]) -> list[str]:
  """The command that runs cells, with the same config."""
  return [
    sys.executable,
    *('-m', 'radio_ssl.benchmark'),
    *(arg for arg in sys.argv[1:] if not arg.startswith('--shard')),
    *(f'--cell={name}' for name in names),
  ]


if __name__ == '__main__':
  os.environ.setdefault('PYTHONUNBUFFERED', '1')
  cli.run(main, required=('config', 'workdir'))
