"""Protocols: how a classifier is taught, found by the name of their module.

A protocol is a module of this folder with one of
  predict(train_features, train_labels, features, *, num_classes, num_folds,
    seed, groups) -> (probabilities [N, K], settings it chose, ready for JSON),
    on the features of a frozen encoder;
  fit_images(start, training, config) -> supervised.Fitted.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from radio_ssl import evaluate
from radio_ssl.evaluate import features, selection

Predicted = tuple[np.ndarray, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Part:
  """Some rows of a split.

  Attributes:
    split: of a `selection.Selection`.
    rows: their numbers in it, [N] int.
  """

  split: str
  rows: np.ndarray


def module(name: str):
  """The module of a protocol."""
  return importlib.import_module(f'{evaluate.__name__}.{name}')


def names() -> list[str]:
  """Names that `config.protocol` may take."""
  found = (entry.name for entry in pkgutil.iter_modules(evaluate.__path__))
  return [
    name
    for name in found
    if name != '__main__'
    and (on_images(name) or hasattr(module(name), 'predict'))
  ]


def on_images(name: str) -> bool:
  """Whether a protocol teaches on images, not on features."""
  return hasattr(module(name), 'fit_images')


def predictor(
  config,
  chosen: selection.Selection,
  tables: Mapping[str, features.Table],
  groups: np.ndarray,
  start: features.FrozenEncoder | None,
) -> Callable[[Part, Part], Predicted]:
  """The function (rows to learn from, rows to score) -> probabilities.

  Args:
    config: of the evaluator.
    chosen: labelled rows.
    tables: by split, those of `chosen`.
    groups: of the rows of the training split, as `splits.stratified_folds`
      takes them.
    start: the encoder, for a protocol on images.

  Returns:
    A function whose first part is of the training split; it gives
    probabilities [N, K] of the second part, and the settings that were chosen.
  """
  protocol = module(config.protocol)

  def on_features(training: Part, scored: Part) -> Predicted:
    taught = tables[training.split]
    return protocol.predict(
      taught.features[training.rows],
      taught.labels[training.rows],
      tables[scored.split].features[scored.rows],
      num_classes=len(chosen.label_names),
      num_folds=config.num_folds,
      seed=config.seed,
      groups=groups[training.rows],
    )

  def of_images(training: Part, scored: Part) -> Predicted:
    fitted = protocol.fit_images(
      start, chosen.part(training.split, training.rows), config
    )
    probabilities = fitted.probabilities(
      chosen.part(scored.split, scored.rows), config
    )
    return probabilities, fitted.facts

  return of_images if on_images(config.protocol) else on_features
