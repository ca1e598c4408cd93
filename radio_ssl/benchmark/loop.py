"""Runs the cells of a shard, in processes of their own, one at a time."""

import logging
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from radio_ssl import pretrain
from radio_ssl.benchmark import marks, states

_LOG = logging.getLogger(__name__)

# Between two looks at what the other machines have done.
_PAUSE_S = 10.0
# Evaluations in one process.
_MOST = 20


def run(
  config,
  workdir: pathlib.Path,
  shard: tuple[int, int],
  *,
  command: Callable[[Sequence[str]], Sequence[str]],
  pause_s: float = _PAUSE_S,
) -> int:
  """Runs all that can be run; waits while another machine runs what is needed.

  Args:
    config: of the benchmark, checked.
    workdir: of it.
    shard: (i, n), i in 1 .. n.
    command: of names of cells.
    pause_s: between two looks while there is nothing to do but wait.

  Returns:
    0; 1 where cells failed; 75 after SIGTERM, or where cells are left that wait
    for a shard which does not run now.
  """
  with _Child() as child:
    tried: set[str] = set()
    while True:
      seen = states.look(config, workdir)
      mine = states.share(seen, shard)
      if names := _next(mine, tried):
        _LOG.info('%s (%s)', ', '.join(names), states.eta(seen))
        tried |= _run(names, workdir, command(names), child)
      elif _may_go_on(seen, mine):
        time.sleep(pause_s)
      else:
        return _status(mine)
      if child.stopped:
        _LOG.warning('SIGTERM: stopped; the same command goes on.')
        return pretrain.EXIT_INTERRUPTED


def _next(mine: Sequence[states.Seen], tried: set[str]) -> list[str]:
  """A pretraining, or what can be evaluated of one encoder.

  What failed in an earlier run of this program is tried again, once.
  """
  ready = [
    it.cell
    for it in mine
    if it.state in ('ready', 'failed') and it.cell.name not in tried
  ]
  if not ready or ready[0].pretrains:
    return [cell.name for cell in ready[:1]]
  together = [
    cell.name
    for cell in ready
    if not cell.pretrains and cell.of_encoder == ready[0].of_encoder
  ]
  return together[:_MOST]


def _may_go_on(
  seen: Sequence[states.Seen], mine: Sequence[states.Seen]
) -> bool:
  waits = any(it.state in ('waiting', 'running') for it in mine)
  return waits and any(it.state == 'running' for it in seen)


def _status(mine: Sequence[states.Seen]) -> int:
  found = {it.state for it in mine}
  if found & {'failed', 'diverged'}:
    return 1
  return 0 if found <= {'done'} else pretrain.EXIT_INTERRUPTED


def _run(
  names: Sequence[str], workdir: pathlib.Path, command: Sequence[str], child
) -> set[str]:
  """The cells that failed."""
  begun = time.time()
  status = child(command, workdir)
  failed = set()
  for name in names:
    folder = workdir / name
    if (folder / marks.DONE).exists():
      continue
    if not _has_failed(folder, begun):
      if not status or child.stopped:
        # Another process runs it, or the user stopped this one.
        continue
      _mark_death(folder, status)
      # Those after it have not begun.
      status = 0
    why = marks.read(folder / marks.FAILED)['why']
    _LOG.error('%s failed: %s (%s)', folder, why, folder / marks.LOG)
    failed.add(name)
  return failed


def _has_failed(folder: pathlib.Path, begun: float) -> bool:
  mark = folder / marks.FAILED
  return mark.exists() and mark.stat().st_mtime >= begun


def _mark_death(folder: pathlib.Path, status: int) -> None:
  """Of a process that told nothing of it: no memory, or a fault of ours."""
  how = f'signal {-status}' if status < 0 else f'exit status {status}'
  why = f'{how}: {marks.last_line(folder / marks.LOG)}'
  marks.write(folder / marks.FAILED, {'why': why, 'diverged': False})


class _Child:
  """The process of the cell that runs now; hears of SIGTERM too."""

  def __init__(self):
    self.stopped = False
    self._process = None

  def __enter__(self):
    self._before = signal.signal(signal.SIGTERM, self._stop)
    return self

  def __exit__(self, *error):
    signal.signal(signal.SIGTERM, self._before)

  def _stop(self, signum, frame):
    del signum, frame
    self.stopped = True
    if self._process is not None:
      self._process.terminate()

  def __call__(self, command, workdir: pathlib.Path) -> int:
    # Many cells compile the same programs.
    cache = str(workdir.resolve() / 'compiled')
    environment = {'JAX_COMPILATION_CACHE_DIR': cache} | os.environ
    self._process = subprocess.Popen(command, env=environment)
    try:
      if self.stopped:
        self._process.terminate()
      return self._process.wait()
    except BaseException:
      # Ctrl-C reaches the child as well.
      self._process.wait()
      raise
    finally:
      self._process = None
