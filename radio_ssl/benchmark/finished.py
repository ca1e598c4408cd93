"""What the report is made of: the results of the cells that are done."""

import pathlib
from collections.abc import Sequence

from radio_ssl.benchmark import choice, plan, states
from radio_ssl.benchmark.report import data, page


def report(config, workdir: pathlib.Path) -> str:
  """Writes <workdir>/report of all that is finished by now.

  Returns:
    What to tell of it.

  Raises:
    ValueError: nothing is finished yet.
  """
  seen = states.look(config, workdir)
  found = results(workdir, seen)
  if not found:
    raise ValueError(
      f'{workdir}: no evaluation is finished yet; nothing to report.'
    )
  pairs = [tuple(pair.split(':')) for pair in config.comparisons]
  output = workdir / 'report'
  page.write(
    found,
    searched(config, workdir),
    pairs,
    output,
    title=config.title,
    missing=[
      f'{it.cell.name} ({it.state})'
      for it in seen
      if it.cell.stage == 'evaluate' and it.state != 'done'
    ],
    left_out=plan.left_out(config),
  )
  return f'{output / "report.html"}: {len(found)} evaluations'


def results(
  workdir: pathlib.Path, seen: Sequence[states.Seen]
) -> list[data.Result]:
  """The finished evaluations, those of the search left out."""
  found = []
  for it in seen:
    cell = it.cell
    if cell.stage != 'evaluate' or it.state != 'done':
      continue
    found.append(
      data.Result(
        method=cell.method,
        encoder=cell.encoder,
        corpus=cell.corpus,
        seed=cell.seed,
        label_set=cell.label_set,
        protocol=cell.protocol,
        folder=workdir / cell.name,
        run=workdir / cell.pretraining if cell.pretraining else None,
      )
    )
  return found


def searched(config, workdir: pathlib.Path) -> list[data.SearchRow]:
  """All learning rates that were tried, with those that were chosen."""
  if not plan.searches(config):
    return []
  choices = choice.made(config, workdir)
  found = []
  for encoder in config.encoders:
    for method in config.methods:
      made = choices.get((method, encoder))
      accuracies = choice.accuracies(config, workdir, method, encoder)
      found += [
        data.SearchRow(
          method=method,
          encoder=encoder,
          lr=lr,
          accuracy=accuracy,
          chosen=made is not None and lr == made.lr,
        )
        for lr, accuracy in accuracies.items()
      ]
  return found
