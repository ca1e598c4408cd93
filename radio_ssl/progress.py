"""What a run tells: progress and ETA for people, JSON lines for machines."""

import json
import logging
import math
import pathlib
import time
from collections.abc import Mapping

_LOG = logging.getLogger(__name__)


def due(step, every: int, last: int):
  """Whether a clock of period `every` fires at `step`, in 1 .. `last`.

  The last step always fires; `every` = 0 means at the last step alone. `step`
  may be a traced array.
  """
  return (step == last) | (step % (every or last) == 0)


def duration(seconds: float) -> str:
  """1:02:03, or 2:03."""
  hours, rest = divmod(round(seconds), 3600)
  minutes, seconds = divmod(rest, 60)
  if hours:
    return f'{hours}:{minutes:02}:{seconds:02}'
  return f'{minutes}:{seconds:02}'


class MetricsLog:
  """`metrics.jsonl`, TensorBoard where it is installed, and a line to read.

  Args:
    workdir: of the run.
    first_step: rows after it come from a run that was killed and are dropped:
      the steps are done again.
    num_steps: for the ETA.
    writer: whether this process writes; the others do nothing.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    *,
    first_step: int,
    num_steps: int,
    writer: bool = True,
  ):
    self._num_steps = num_steps
    self._file = self._tensorboard = None
    # (time, step) after the first step of this process, which compiles.
    self._clock: tuple[float, int] | None = None
    if not writer:
      return
    path = workdir / 'metrics.jsonl'
    kept = _rows_until(path, first_step)
    temporary = path.with_suffix('.tmp')
    temporary.write_text(''.join(kept))
    temporary.replace(path)
    self._file = path.open('a')
    try:
      import tensorboardX
    except ImportError:
      return
    self._tensorboard = tensorboardX.SummaryWriter(
      str(workdir / 'tensorboard'), purge_step=first_step + 1
    )

  def start_clock(self, step: int) -> None:
    """Speed and ETA count from here, after `step` steps."""
    self._clock = (time.monotonic(), step)

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """One row; values that are NaN are left out."""
    if self._file is None:
      return
    values = {k: v for k, v in values.items() if not math.isnan(v)}
    eta = {}
    if self._clock is not None and step > self._clock[1]:
      seconds = (time.monotonic() - self._clock[0]) / (step - self._clock[1])
      eta = {'seconds_per_step': seconds}
    row = {'step': step, **values, **eta}
    self._file.write(json.dumps(row) + '\n')
    self._file.flush()
    if self._tensorboard is not None:
      for name, value in (values | eta).items():
        self._tensorboard.add_scalar(name, value, step)
    self._say(step, values, eta)

  def _say(self, step, values, eta) -> None:
    numbers = '  '.join(f'{k} {v:.4g}' for k, v in values.items())
    left = ''
    if eta:
      remaining = (self._num_steps - step) * eta['seconds_per_step']
      left = f'  ETA {duration(remaining)}'
    _LOG.info('step %d/%d%s  %s', step, self._num_steps, left, numbers)

  def close(self) -> None:
    """Flushes and closes the files."""
    if self._file is not None:
      self._file.close()
    if self._tensorboard is not None:
      self._tensorboard.close()


def _rows_until(path: pathlib.Path, last_step: int) -> list[str]:
  """The whole rows of an earlier run up to `last_step`."""
  kept = []
  if path.exists():
    for line in path.read_text().splitlines(keepends=True):
      # A kill can leave half a line; it is one of those to be done again.
      if not line.endswith('\n') or json.loads(line)['step'] > last_step:
        break
      kept.append(line)
  return kept
