"""One evaluation: an encoder or baseline, a labelled set, a protocol."""

import importlib
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import radio_ssl
from radio_ssl import checkpoints
from radio_ssl.data import pipeline, splits
from radio_ssl.evaluate import baselines, features, metrics, report

_LOG = logging.getLogger(__name__)

PROTOCOLS = ('knn', 'linear')


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
  if checkpoint is None and baseline is None:
    raise ValueError('Nothing to evaluate: give a checkpoint or a baseline.')
  if config.protocol not in PROTOCOLS:
    raise ValueError(
      f'No protocol named {config.protocol!r}; '
      f'there are: {", ".join(PROTOCOLS)}.'
    )
  if config.rotations not in (1, 4):
    raise ValueError(f'config.rotations is {config.rotations}; wanted 1 or 4.')
  where = {k: v for k, v in config.data.items() if k not in ('train', 'test')}
  dataset = pipeline.open_dataset(pipeline.find(**where))
  tables, meta = _tables(config, dataset, checkpoint, baseline)
  result = {
    'encoder': baseline or str(checkpoint),
    'protocol': config.protocol,
    'package_version': radio_ssl.__version__,
    'commit': checkpoints.commit(),
    'config': json.loads(config.to_json_best_effort()),
    'dataset': {
      'directory': str(dataset.directory),
      'fingerprint': dataset.fingerprint,
    },
    'pretraining': meta,
    'label_names': list(dataset.label_names),
    **_score(config, dataset, tables),
  }
  report.write(result, pathlib.Path(output))
  return result


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


def _tables(config, dataset, checkpoint, baseline):
  """Features of the wanted splits, and the meta of the checkpoint."""
  splits = [s for s in (config.data.train, config.data.test) if s]
  if len(set(splits)) < len(splits):
    raise ValueError(
      f'config.data.train and config.data.test are both {splits[0]!r}.'
    )
  frozen = None
  if checkpoint is not None:
    frozen = features.from_checkpoint(checkpoint, config.which or None)
  meta = frozen.meta if frozen else None
  if baseline is not None:
    return baselines.tables(baseline, config, dataset, splits, meta), meta
  _LOG.info('Features of %s from %s.', dataset.directory, checkpoint)
  tables = {
    split: features.extract(
      frozen,
      dataset,
      split,
      batch_size=config.batch_size,
      rotations=config.rotations,
    )
    for split in splits
  }
  return tables, meta


def _score(config, dataset, tables: Mapping[str, features.Table]) -> dict:
  """Scores of the cross-validated training split and of the test split."""
  protocol = importlib.import_module(f'radio_ssl.evaluate.{config.protocol}')
  settings = {
    'num_classes': len(dataset.label_names),
    'num_folds': config.num_folds,
    'seed': config.seed,
  }
  train = tables[config.data.train]
  inside = _out_of_fold(protocol.predict, train, settings)
  result = {'cross_validation': _scored(config, dataset, train, inside)}
  if config.data.test:
    test = tables[config.data.test]
    probabilities, chosen = protocol.predict(
      train.features, train.labels, test.features, **settings
    )
    result['chosen'] = chosen
    result['test'] = _scored(config, dataset, test, probabilities)
  return result


def _out_of_fold(predict, table: features.Table, settings) -> np.ndarray:
  """Probabilities of each source by a probe that has not seen it."""
  folds = splits.stratified_folds(
    table.labels, num_folds=settings['num_folds'], seed=settings['seed']
  )
  result = np.zeros((len(folds), settings['num_classes']))
  for fold in range(settings['num_folds']):
    out = folds == fold
    result[out], _ = predict(
      table.features[~out], table.labels[~out], table.features[out], **settings
    )
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
