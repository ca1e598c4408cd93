"""What is refused before anything is scored, each in one line."""

import logging
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from radio_ssl.augment import inputs
from radio_ssl.data import pipeline, splits
from radio_ssl.evaluate import (
  baselines,
  features,
  holdout,
  protocols,
  selection,
  supervised,
)

_LOG = logging.getLogger(__name__)

_ENCODERS = ('', 'online', 'ema')
_FIELDS = (
  'protocol', 'data', 'which', 'fields_arcsec', 'rotations', 'num_folds',
  'group_radius_arcsec', 'label_counts', 'label_draws', 'num_bootstrap',
  'seed', 'batch_size', 'pixel_components', 'encoder', 'input', 'training'
)  # fmt: skip
_DATA_FIELDS = (
  'dir', 'name', 'config', 'data_dir', 'train', 'test', 'classes', 'holdout',
  'holdout_use'
)  # fmt: skip


def output(path: str | pathlib.Path) -> None:
  """Refuses a file in the place of the folder that is to be written."""
  if pathlib.Path(path).is_file():
    raise ValueError(f'{path}: a file; wanted a folder for --output.')


def settings(config, checkpoint, baseline: str | None) -> None:
  """Refuses what is known to be wrong before any image is read.

  Args:
    config: of the evaluator.
    checkpoint: path or None.
    baseline: name or None.

  Raises:
    ValueError: names the field, its value and what was wanted.
  """
  if checkpoint is None and baseline is None:
    raise ValueError('Nothing to evaluate: give a checkpoint or a baseline.')
  _fields(config, _FIELDS, 'config')
  _fields(config.data, _DATA_FIELDS, 'config.data')
  if baseline is not None and baseline not in baselines.BASELINES:
    raise ValueError(
      f'No baseline named {baseline!r}; '
      f'there are: {", ".join(baselines.BASELINES)}.'
    )
  _protocol(config, baseline)
  for name, allowed in (('rotations', (1, 4, 8)), ('which', _ENCODERS)):
    if config[name] not in allowed:
      raise ValueError(
        f'config.{name} is {config[name]!r}; '
        f'wanted {" or ".join(map(repr, allowed))}.'
      )
  for name, least in (
    ('num_folds', 2),
    ('batch_size', 1),
    ('num_bootstrap', 1),
    ('label_draws', 2),
  ):
    if config[name] < least:
      raise ValueError(
        f'config.{name} is {config[name]}; wanted {least} or more.'
      )
  if any(not field > 0 for field in config.fields_arcsec):
    raise ValueError(
      f'config.fields_arcsec is {tuple(config.fields_arcsec)}; wanted numbers '
      "above 0, or () for the encoder's own field."
    )
  if config.data.train == config.data.test:
    raise ValueError(
      f'config.data.train and config.data.test are both {config.data.test!r}.'
    )
  if any(count < 1 for count in config.label_counts):
    raise ValueError(
      f'config.label_counts is {tuple(config.label_counts)}; wanted 1 or more '
      'of each.'
    )
  _holdout(config.data)


def _protocol(config, baseline: str | None) -> None:
  if config.protocol not in protocols.names():
    raise ValueError(
      f'No protocol named {config.protocol!r}; '
      f'there are: {", ".join(protocols.names())}.'
    )
  if not protocols.on_images(config.protocol):
    return
  supervised.parse(config.training)
  if baseline not in (None, 'random'):
    raise ValueError(
      f'The protocol {config.protocol!r} teaches on images; the baseline '
      f'{baseline!r} has none. Take the protocol linear, or the baseline '
      'random (with finetune: training from scratch).'
    )
  if len(config.fields_arcsec) > 1:
    raise ValueError(
      f'config.fields_arcsec is {tuple(config.fields_arcsec)}; the protocol '
      f'{config.protocol!r} shows the encoder one field: wanted one, or () for '
      "the encoder's own."
    )
  if config.label_counts:
    raise ValueError(
      f'config.label_counts is {tuple(config.label_counts)}: label curves are '
      f'of the linear probe; wanted () with the protocol {config.protocol!r}.'
    )


def _holdout(data) -> None:
  """Hours of training should not end at a catalogue that is not there."""
  if data.holdout_use not in holdout.USES:
    raise ValueError(
      f'config.data.holdout_use is {data.holdout_use!r}; '
      f'wanted {" or ".join(map(repr, holdout.USES))}.'
    )
  if data.holdout:
    holdout.read(data.holdout)
  elif data.holdout_use == 'test':
    raise ValueError(
      "config.data.holdout_use is 'test', but config.data.holdout is empty; "
      'name the catalogue whose sources are to be scored.'
    )


def _fields(config, wanted: tuple[str, ...], name: str) -> None:
  for field in sorted({*config, *wanted}):
    if field not in config or field not in wanted:
      problem = 'lacks the' if field in wanted else 'has no'
      raise ValueError(
        f'{name} {problem} field {field!r}; configs/eval/base.py has them all. '
        'Wanted a config of configs/eval/.'
      )


def classes(chosen: selection.Selection) -> None:
  """Refuses one class alone, before hours of encoding.

  Raises:
    ValueError: names the data set and the class.
  """
  names = chosen.label_names
  if names is not None and len(names) < 2:
    raise ValueError(
      f'{chosen.directory}: one class alone, {names[0]!r}; '
      'there is nothing to tell apart. Name a set with two or more, or more of '
      'them in config.data.classes.'
    )


def fits(
  image_inputs: Sequence[inputs.Input],
  dataset: pipeline.DataSet,
  checkpoint: str | pathlib.Path,
) -> None:
  """Refuses images that cannot be shown to an encoder as it was trained.

  Raises:
    ValueError: names the data set, the checkpoint and the field.
  """
  try:
    for image_input in image_inputs:
      inputs.validate(image_input, dataset.geometry)
  except ValueError as error:
    raise ValueError(
      f'{dataset.directory}: its images do not fit the input that {checkpoint} '
      f'was trained on: {error} That of a trained encoder is fixed, but for '
      'config.fields_arcsec: build the set to fit it, or pretrain with another.'
    ) from error


def examples(
  config, chosen: selection.Selection, tables: Mapping[str, features.Table]
) -> None:
  """Refuses splits that share sources, and classes too small for the folds.

  Args:
    config: of the evaluator.
    chosen: labelled rows.
    tables: by split, those of `chosen`.

  Raises:
    ValueError: names the data set, the class or source, and the remedy.
  """
  train = tables[chosen.train]
  if chosen.test:
    test = tables[chosen.test]
    shared = sorted(set(train.names) & set(test.names))
    if shared:
      raise ValueError(
        f'{chosen.directory}: the splits {chosen.train!r} and '
        f'{chosen.test!r} share {len(shared)} sources, such as '
        f'{shared[0]}.'
      )
    _warn_of_neighbours(config, train, test)
  _class_sizes(config, chosen, train)
  _label_counts(config, chosen, train)


def _class_sizes(config, chosen: selection.Selection, train) -> None:
  """Refuses classes that are too small for folds inside folds."""
  members, num_folds = groups(config, train), config.num_folds

  def sources(among) -> dict[str, int]:
    return {
      name: len(np.unique(members[among & (train.labels == label)]))
      for label, name in enumerate(chosen.label_names)
    }

  counts, stored = sources(True), chosen.stored_folds()
  outer = f'{num_folds} folds'
  # One fold is held out, and what is left is divided into as many again.
  least = {n: c - math.ceil(c / num_folds) for n, c in counts.items()}
  if stored is not None:
    outer = f'{_check_folds(config, chosen, members, stored)} stored ones'
    rests = [sources(stored != fold) for fold in np.unique(stored)]
    least = {name: min(rest[name] for rest in rests) for name in counts}
  enough = [name for name, count in least.items() if count >= num_folds]
  if rare := {n: c for n, c in counts.items() if n not in enough}:
    remedy = 'lower config.num_folds'
    if len(enough) > 1:
      remedy += f', or take --config.data.classes={",".join(enough)}'
    raise ValueError(
      f'{chosen.directory}: too few sources in the split '
      f'{chosen.train!r} for {num_folds} folds inside {outer}: '
      f'{rare}; {remedy}.'
    )


def _label_counts(config, chosen: selection.Selection, train) -> None:
  """Refuses more labels of a class than there are sources to draw them from."""
  members = groups(config, train)
  # Without a test split the others are scored, and some have to be left.
  spare = 0 if chosen.test else 1
  for label, name in enumerate(chosen.label_names):
    sources = len(np.unique(members[train.labels == label]))
    most = max(config.label_counts, default=0)
    if most + spare > sources:
      raise ValueError(
        f'{chosen.directory}: config.label_counts wants {most} labels of each '
        f'class; {name} has {sources} sources in {chosen.train!r}'
        f'{", and some must be left to score" if spare else ""}. Lower it, or '
        'leave the class out of config.data.classes.'
      )


def _check_folds(config, chosen, members, stored) -> int:
  """The number of stored folds; tells of sources that lie beside another's."""
  names = np.unique(stored)
  if len(names) < 2:
    raise ValueError(
      f'{chosen.directory}: the split {chosen.train!r} is one fold alone, '
      f'{names[0]}; wanted two or more. Name all of them, or build the set '
      'with --folds.'
    )
  _, first = np.unique(members, return_index=True)
  apart = (stored != stored[first][members]).sum()
  if apart:
    _LOG.warning(
      '%d sources lie within %g arcsec of a source of another stored fold.',
      apart,
      config.group_radius_arcsec,
    )
  return len(names)


def _warn_of_neighbours(config, train, test) -> None:
  """Official splits are taken as they are, but not in silence."""
  ra, dec = (
    np.concatenate([train.columns[name], test.columns[name]])
    for name in ('ra_deg', 'dec_deg')
  )
  members = splits.groups_by_position(ra, dec, config.group_radius_arcsec)
  known, scored = np.split(members, [len(train.labels)])
  near = np.isin(scored, known).sum()
  if near:
    _LOG.warning(
      '%d of %d test sources lie within %g arcsec of a training source.',
      near,
      len(scored),
      config.group_radius_arcsec,
    )


def groups(config, table: features.Table) -> np.ndarray:
  """Sources that must share a fold, as `splits.stratified_folds` takes them."""
  return splits.groups_by_position(
    table.columns['ra_deg'],
    table.columns['dec_deg'],
    config.group_radius_arcsec,
  )
