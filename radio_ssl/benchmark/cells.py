"""Runs cells one after the other, in this process.

XLA keeps memory maps for every program that it has compiled: of hundreds of
cells in one process they would come to more than Linux allows
(vm.max_map_count). Those of one encoder are few, and share their programs.
"""

import contextlib
import os
import pathlib
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence

import radio_ssl
from radio_ssl import pretrain
from radio_ssl.benchmark import marks, plan, settings, sources
from radio_ssl.data import provenance
from radio_ssl.evaluate import cache, runner


def run(config, cells: Sequence[plan.Cell], workdir: pathlib.Path) -> int:
  """Runs cells unless they are finished; marks those that fail.

  What a cell prints goes to its log alone.

  Args:
    config: of the benchmark.
    cells: known, and so are their encoders.
    workdir: of the benchmark.

  Returns:
    The exit status: 0, each is done or run by another process; 1, some failed;
    75 (`pretrain.EXIT_INTERRUPTED`) after SIGTERM, which a pretraining survives
    with its state saved.
  """
  # A pretraining listens to it itself while it trains.
  before = signal.signal(signal.SIGTERM, _stop)
  failed, shared = False, cache.Cache()
  try:
    for cell in cells:
      folder = workdir / cell.name
      with contextlib.suppress(marks.Locked), marks.lock(folder):
        if not (folder / marks.DONE).exists():
          with _printing_to(folder / marks.LOG):
            failed |= not _try(config, cell, workdir, folder, shared)
  except pretrain.Interrupted as stop:
    print(stop, file=sys.stderr)
    return pretrain.EXIT_INTERRUPTED
  finally:
    signal.signal(signal.SIGTERM, before)
  return int(failed)


@contextlib.contextmanager
def _printing_to(log: pathlib.Path) -> Iterator[None]:
  """All output of this process, XLA's too, goes to a file meanwhile."""
  kept = [os.dup(number) for number in (1, 2)]
  try:
    with log.open('ab') as file:
      sys.stdout.flush()
      for number in (1, 2):
        os.dup2(file.fileno(), number)
    yield
  except Exception:
    # A fault of ours is told in both places.
    traceback.print_exc()
    raise
  finally:
    sys.stdout.flush()
    for number, own in zip((1, 2), kept, strict=True):
      os.dup2(own, number)
      os.close(own)


def _try(config, cell, workdir, folder: pathlib.Path, shared) -> bool:
  """Whether the cell came to its end."""
  try:
    _run(config, cell, workdir, folder, shared)
  except (ValueError, OSError, FloatingPointError) as error:
    why = ' '.join(str(error).split())
    # The loss would be no other the next time.
    diverged = isinstance(error, FloatingPointError)
    marks.write(folder / marks.FAILED, {'why': why, 'diverged': diverged})
    print(f'error: {why}', file=sys.stderr)
    return False
  return True


def _stop(signum, frame) -> None:
  del signum, frame
  print('SIGTERM: stopped; the cell begins anew.', file=sys.stderr)
  sys.exit(pretrain.EXIT_INTERRUPTED)


def _run(
  config, cell: plan.Cell, workdir, folder: pathlib.Path, shared
) -> None:
  resumed = (folder / marks.CELL).exists()
  marks.write(
    folder / marks.CELL,
    {
      'name': cell.name,
      'settings': settings.compared(config, cell),
      'contents': sources.contents(config, cell),
      'package_version': radio_ssl.__version__,
      'commit': provenance.commit(),
    },
  )
  (folder / marks.FAILED).unlink(missing_ok=True)
  begun = time.monotonic()
  if cell.pretrains:
    _pretrain(config, cell, folder)
  else:
    _evaluate(config, cell, workdir, folder, shared)
  seconds = time.monotonic() - begun
  marks.write(folder / marks.DONE, {'seconds': seconds, 'resumed': resumed})


def _pretrain(config, cell: plan.Cell, folder: pathlib.Path) -> None:
  run = settings.pretraining(config, cell)
  pretrain.resolve(run, None, folder, fields=[*config.base])
  monitor = run.monitor
  labelled = None
  if monitor.dir or monitor.name:
    labelled = sources.opened(monitor)
  pretrain.run(run, folder, sources.opened(run.data), labelled)


def _evaluate(
  config, cell: plan.Cell, workdir, folder: pathlib.Path, shared
) -> None:
  checkpoint = baseline = None
  if cell.source == 'method':
    checkpoint = workdir / cell.pretraining
    if not (checkpoint / marks.DONE).exists():
      raise ValueError(
        f'{cell.name}: its encoder, {cell.pretraining}, is not finished; run '
        'that cell first.'
      )
  elif cell.source == 'checkpoint':
    checkpoint = config.checkpoints[cell.method].path
  else:
    baseline = config.baselines[cell.method].baseline
  run = settings.evaluation(config, cell)
  runner.run(
    run,
    output=folder,
    checkpoint=checkpoint,
    baseline=baseline,
    extract=shared.extract,
  )
