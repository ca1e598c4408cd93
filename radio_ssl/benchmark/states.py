"""How far each cell is, from the marks in the folders."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from radio_ssl import checkpoints, progress
from radio_ssl.benchmark import choice, marks, plan, settings, sources

# 'diverged': its loss was not finite, or it would score such an encoder.
STATES = ('done', 'running', 'ready', 'waiting', 'failed', 'diverged')


@dataclasses.dataclass(frozen=True)
class Seen:
  """A cell at some time.

  Attributes:
    cell: as far as it is known.
    state: one of STATES.
    why: of those that run, wait, failed or diverged.
    seconds: that it took; None unless it is done, and was not interrupted.
  """

  cell: plan.Cell
  state: str
  why: str = ''
  seconds: float | None = None


def look(config, workdir: pathlib.Path) -> list[Seen]:
  """All cells, in the order of `plan.cells`."""
  choices = choice.made(config, workdir)
  lrs = {key: it.lr for key, it in choices.items()}
  rankings = choice.rankings(config, choices)
  found: dict[str, Seen] = {}
  result = []
  for cell in plan.cells(config):
    cell = plan.known(cell, lrs, rankings)
    seen = _seen(config, workdir, cell, found)
    result.append(seen)
    found[cell.name] = seen
  return result


def _seen(
  config, workdir: pathlib.Path, cell: plan.Cell, found: Mapping[str, Seen]
) -> Seen:
  if not cell.is_known:
    return Seen(cell, 'waiting', _unknown(config, workdir, cell))
  folder = workdir / cell.name
  done = marks.read(folder / marks.DONE)
  if done is not None:
    return Seen(cell, 'done', '', None if done['resumed'] else done['seconds'])
  if (owner := marks.owner(folder)) is not None:
    return Seen(cell, 'running', owner)
  needs = cell.pretraining
  if needs and (made := found[needs]).state != 'done':
    state = 'diverged' if made.state == 'diverged' else 'waiting'
    return Seen(cell, state, f'{needs} ({made.state})')
  failed = marks.read(folder / marks.FAILED)
  if failed is not None:
    state = 'diverged' if failed['diverged'] else 'failed'
    return Seen(cell, state, failed['why'])
  return Seen(cell, 'ready')


def _unknown(config, workdir: pathlib.Path, cell: plan.Cell) -> str:
  if not cell.method:
    return f'the ranking of the methods with {cell.encoder}'
  what = f'the learning rate of {cell.method} with {cell.encoder}'
  found = choice.accuracies(config, workdir, cell.method, cell.encoder)
  rates = plan.learning_rates(config, cell.method)
  if [found.get(lr, 0) for lr in rates] == [None] * len(rates):
    return f'{what}: all diverged, give lower ones'
  return what


def check_unchanged(config, workdir: pathlib.Path, seen: Sequence[Seen]):
  """Refuses a workdir whose cells were made by other settings or data.

  Args:
    config: of the benchmark.
    workdir: of it.
    seen: cells, those that have not begun among them.

  Raises:
    ValueError: names the cell and what differs.
  """
  for it in seen:
    stored = marks.read(workdir / it.cell.name / marks.CELL)
    if stored is None:
      continue
    changed = checkpoints.differences(
      {key: stored[key] for key in ('settings', 'contents')},
      {
        'settings': settings.compared(config, it.cell),
        'contents': sources.contents(config, it.cell),
      },
    )
    if changed:
      raise ValueError(
        f'{workdir / it.cell.name} was made by other settings '
        f'({"; ".join(changed)}): set them back, give a new --workdir, or '
        'remove that folder.'
      )


def share(seen: Sequence[Seen], shard: tuple[int, int]) -> list[Seen]:
  """The cells of a machine, of n: an encoder's are on one of them.

  Args:
    seen: as `look` gives them.
    shard: (i, n), i in 1 .. n.
  """
  i, n = shard
  encoders = {it.cell.of_encoder: None for it in seen}
  place = {key: number % n for number, key in enumerate(encoders)}
  return [it for it in seen if place[it.cell.of_encoder] == i - 1]


def table(seen: Sequence[Seen]) -> str:
  """Counts by stage and state, an ETA, and what failed, in markdown."""
  lines = [
    f'| stage | {" | ".join(STATES)} |',
    '| --- ' * (1 + len(STATES)) + '|',
  ]
  for stage in (*plan.STAGES, 'all'):
    its = [it.state for it in seen if stage in (it.cell.stage, 'all')]
    if its:
      counts = ' | '.join(str(its.count(state)) for state in STATES)
      lines.append(f'| {stage.replace("_", " ")} | {counts} |')
  lines += ['', eta(seen)]
  for state in ('running', 'failed', 'diverged'):
    lines += [
      f'{state}: {it.cell.name}: {it.why}' for it in seen if it.state == state
    ]
  return '\n'.join(lines)


def eta(seen: Sequence[Seen]) -> str:
  """How long one machine needs for what is left; from what it took so far."""
  times: dict[str, list[float]] = {}
  for it in seen:
    if it.seconds is not None:
      times.setdefault(_kind(it.cell), []).append(it.seconds)
  left = [it for it in seen if it.state in ('running', 'ready', 'waiting')]
  unknown = sum(_kind(it.cell) not in times for it in left)
  seconds = sum(
    sum(its) / len(its)
    for it in left
    if (its := times.get(_kind(it.cell))) is not None
  )
  told = f'{len(left)} of {len(seen)} cells left; ETA of one machine '
  told += progress.duration(seconds)
  if unknown:
    told += f' and {unknown} of kinds that none has been finished of yet'
  return told + '.'


def _kind(cell: plan.Cell) -> str:
  """What takes about as long: pretraining by an encoder, or a protocol."""
  return f'pretraining {cell.encoder}' if cell.pretrains else cell.protocol
