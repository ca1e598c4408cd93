"""Learning rates and best methods, chosen by validation scores."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping

from radio_ssl.benchmark import marks, plan


@dataclasses.dataclass(frozen=True)
class Choice:
  """The learning rate of a method with an encoder.

  Attributes:
    lr: what was chosen.
    accuracies: cross-validated, in [0, 1], by learning rate; None of a
      pretraining whose loss was not finite.
  """

  lr: float
  accuracies: Mapping[float, float | None]

  @property
  def accuracy(self) -> float:
    """Of the chosen learning rate."""
    return self.accuracies[self.lr]


def made(config, workdir: pathlib.Path) -> dict[tuple[str, str], Choice]:
  """The choices that can be made by now, by (method, encoder)."""
  if not plan.searches(config):
    return {}
  found = {
    (method, encoder): _choice(config, workdir, method, encoder)
    for method in config.methods
    for encoder in config.encoders
  }
  return {key: choice for key, choice in found.items() if choice}


def rankings(
  config, choices: Mapping[tuple[str, str], Choice]
) -> dict[str, list[str]]:
  """Methods of each encoder, best first; of encoders with all choices made."""
  found = {}
  for encoder in config.encoders:
    of_encoder = {m: choices.get((m, encoder)) for m in config.methods}
    if None not in of_encoder.values():
      # Of equals, the first in the config.
      found[encoder] = sorted(of_encoder, key=lambda m: -of_encoder[m].accuracy)
  return found


def diverged(folder: pathlib.Path) -> bool:
  """Whether a pretraining ended in a loss that is not finite."""
  failed = marks.read(folder / marks.FAILED)
  return failed is not None and failed['diverged']


def accuracies(
  config, workdir: pathlib.Path, method: str, encoder: str
) -> dict[float, float | None]:
  """As `Choice.accuracies`, of what has been finished by now."""
  found: dict[float, float | None] = {}
  for lr in plan.learning_rates(config, method):
    scored = workdir / plan.searched(config, method, encoder, lr).name
    trained = workdir / plan.tried(config, method, encoder, lr).name
    if (scored / marks.DONE).exists():
      found[lr] = _accuracy(scored / 'results.json')
    elif diverged(trained):
      found[lr] = None
  return found


def _accuracy(results: pathlib.Path) -> float:
  result = json.loads(results.read_text())
  return result['cross_validation']['scores']['accuracy']


def _choice(
  config, workdir: pathlib.Path, method: str, encoder: str
) -> Choice | None:
  found = accuracies(config, workdir, method, encoder)
  finite = {lr: a for lr, a in found.items() if a is not None}
  if len(found) < len(plan.learning_rates(config, method)) or not finite:
    return None
  # Of equals, the first of the grid.
  return Choice(max(finite, key=finite.__getitem__), found)
