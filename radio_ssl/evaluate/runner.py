"""One evaluation: an encoder or baseline, a labelled set, a protocol."""

import functools
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import radio_ssl
from radio_ssl.data import pipeline, places, provenance, splits
from radio_ssl.evaluate import (
  baselines,
  checks,
  features,
  metrics,
  overlap,
  report,
)

_LOG = logging.getLogger(__name__)


def run(
  config,
  *,
  output: str | pathlib.Path,
  checkpoint: str | pathlib.Path | None = None,
  baseline: str | None = None,
) -> dict[str, Any]:
  """Measures one encoder and writes its report.

  The protocol's own settings are chosen inside the training split; the test
  split is scored once, at the end.

  Args:
    config: as `configs/eval/base.py` documents it.
    output: folder of the report.
    checkpoint: of the encoder; with `baseline` it only lends its architecture
      and input.
    baseline: name of a baseline, measured instead of the checkpoint.

  Returns:
    What `results.json` holds.

  Raises:
    ValueError: one line that names file or field, value and remedy.
  """
  checks.settings(config, checkpoint, baseline)
  if pathlib.Path(output).is_file():
    raise ValueError(f'{output}: a file; wanted a folder for --output.')
  where = {k: config.data[k] for k in ('dir', 'name', 'config', 'data_dir')}
  stored = dataset = pipeline.open_dataset(places.find(**where))
  if config.data.classes:
    dataset = stored.of_classes(config.data.classes.split(','))
  frozen = None
  if checkpoint is not None:
    frozen = features.from_checkpoint(checkpoint, config.which or None)
    checks.fits(frozen.input, dataset, checkpoint)
  tables, facts = _tables(config, dataset, frozen, baseline)
  checks.examples(config, dataset, tables)
  result = {
    'encoder': baseline or name_of(checkpoint),
    'checkpoint': str(checkpoint) if checkpoint else None,
    'protocol': config.protocol,
    'package_version': radio_ssl.__version__,
    'commit': provenance.commit(),
    'config': json.loads(config.to_json_best_effort()),
    'dataset': {
      'directory': str(dataset.directory),
      'fingerprint': dataset.fingerprint,
    },
    'pretraining': frozen.meta if frozen else None,
    **facts,
    'left_out': {
      split: len(stored.source(split)) - len(table.labels)
      for split, table in tables.items()
    },
    'label_names': list(dataset.label_names),
    **_score(config, dataset, tables),
  }
  report.write(result, pathlib.Path(output))
  return result


def name_of(checkpoint: str | pathlib.Path) -> str:
  """A run by its folder, and a step of it as 'run/step'."""
  path = pathlib.Path(checkpoint).resolve()
  if path.parent.name == 'checkpoints':
    return f'{path.parent.parent.name}/{path.name}'
  return path.parent.name if path.name == 'checkpoints' else path.name


def compare(
  config, workdir: pathlib.Path, baseline_names: Sequence[str]
) -> list[dict[str, Any]]:
  """Measures a run's encoder, then baselines beside it; prints the table.

  Of several processes only the first does; the others return nothing.
  """
  if jax.process_index():
    return []
  output = workdir / 'eval'
  results = [run(config, checkpoint=workdir, output=output / 'encoder')]
  for name in baseline_names:
    results.append(
      run(config, checkpoint=workdir, baseline=name, output=output / name)
    )
  table = report.comparison(results)
  (output / 'comparison.md').write_text(table + '\n')
  print(f'{table}\n\n{output / "encoder" / "confusion_matrix.png"}')
  return results


def _tables(config, dataset, frozen, baseline):
  """Features of the wanted splits, and facts about them, ready for JSON."""
  wanted = [s for s in (config.data.train, config.data.test) if s]
  if baseline is not None:
    meta = frozen.meta if frozen else None
    tables, facts = baselines.tables(baseline, config, dataset, wanted, meta)
    return tables, {'baseline': facts}
  _LOG.info('Features of %s.', dataset.directory)
  tables = {
    split: features.extract(
      frozen,
      dataset,
      split,
      batch_size=config.batch_size,
      rotations=config.rotations,
    )
    for split in wanted
  }
  seen = overlap.with_pretraining(tables, frozen.meta)
  scored = config.data.test or config.data.train
  shown = seen.get('showing', {}).get(scored)
  if shown:
    _LOG.warning(
      '%d of %d images of the pretraining set show sources of the split %r '
      'that is scored: these scores are not those of unseen sources.',
      shown,
      seen['num_images'],
      scored,
    )
  return tables, {'overlap': seen}


def _score(config, dataset, tables: Mapping[str, features.Table]) -> dict:
  """Scores of the cross-validated training split and of the test split."""
  predict = functools.partial(
    checks.protocol(config.protocol).predict,
    num_classes=len(dataset.label_names),
    num_folds=config.num_folds,
    seed=config.seed,
  )
  train = tables[config.data.train]
  groups = checks.groups(config, train)
  inside = _out_of_fold(predict, config, train, groups)
  result = {'cross_validation': _scored(config, dataset, train, inside)}
  if config.data.test:
    test = tables[config.data.test]
    probabilities, chosen = predict(
      train.features, train.labels, test.features, groups=groups
    )
    result['chosen'] = chosen
    result['test'] = _scored(config, dataset, test, probabilities)
  return result


def _out_of_fold(
  predict, config, table: features.Table, groups: np.ndarray
) -> np.ndarray:
  """Probabilities of each source by a probe that has not seen it."""
  folds = splits.stratified_folds(
    table.labels, num_folds=config.num_folds, seed=config.seed, groups=groups
  )
  parts = {}
  for fold in range(config.num_folds):
    out = folds == fold
    parts[fold], _ = predict(
      table.features[~out],
      table.labels[~out],
      table.features[out],
      groups=groups[~out],
    )
  result = np.zeros((len(folds), parts[0].shape[1]))
  for fold, probabilities in parts.items():
    result[folds == fold] = probabilities
  return result


def _scored(config, dataset, table, probabilities: np.ndarray) -> dict:
  predictions = [
    {'name': name, 'label': int(label), 'probabilities': row.tolist()}
    for name, label, row in zip(
      table.names, table.labels, np.asarray(probabilities), strict=True
    )
  ]
  scores = metrics.score(
    table.labels,
    probabilities,
    dataset.label_names,
    num_bootstrap=config.num_bootstrap,
    seed=config.seed,
  )
  return {'scores': scores, 'predictions': predictions}
