"""One evaluation: an encoder or baseline, a labelled set, a protocol."""

import json
import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

import radio_ssl
from radio_ssl.data import pipeline, places, provenance, splits
from radio_ssl.evaluate import (
  baselines,
  checks,
  features,
  label_fraction,
  linear,
  metrics,
  overlap,
  protocols,
  report,
  selection,
)

_LOG = logging.getLogger(__name__)


def run(
  config,
  *,
  output: str | pathlib.Path,
  checkpoint: str | pathlib.Path | None = None,
  baseline: str | None = None,
  extract: Callable[..., features.Table] = features.extract,
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
    extract: of `cache.Cache`, where several evaluations share an encoder.

  Returns:
    What `results.json` holds.

  Raises:
    ValueError: one line that names file or field, value and remedy.
  """
  checks.settings(config, checkpoint, baseline)
  checks.output(output)
  stored, chosen = _open(config)
  checks.classes(chosen)
  frozen = _encoder(config, checkpoint, chosen)
  tables, facts, start = _tables(config, chosen, frozen, baseline, extract)
  checks.examples(config, chosen, tables)
  result = {
    'encoder': _name(config, checkpoint, baseline),
    'checkpoint': str(checkpoint) if checkpoint else None,
    'protocol': config.protocol,
    'package_version': radio_ssl.__version__,
    'commit': provenance.commit(),
    'config': json.loads(config.to_json_best_effort()),
    'dataset': {
      'directory': str(chosen.directory),
      'fingerprint': stored.fingerprint,
    },
    'pretraining': frozen.meta if frozen else None,
    **facts,
    'left_out': selection.of_other_classes(
      stored, chosen, (config.data.train, config.data.test)
    ),
    'holdout': chosen.holdout,
    'scored': chosen.test or chosen.train,
    'label_names': list(chosen.label_names),
    **_score(config, chosen, tables, start),
  }
  report.write(result, pathlib.Path(output))
  return result


def _open(config) -> tuple[pipeline.DataSet, selection.Selection]:
  """The set as it is stored, and the rows of it that are used."""
  data = config.data
  where = {k: data[k] for k in ('dir', 'name', 'config', 'data_dir')}
  stored = dataset = pipeline.open_dataset(places.find(**where))
  if data.classes:
    dataset = stored.of_classes(data.classes.split(','))
  return stored, selection.choose(
    dataset,
    data.train,
    data.test,
    held_out=data.holdout,
    use=data.holdout_use,
  )


def _encoder(config, checkpoint, chosen) -> features.FrozenEncoder | None:
  """The checkpoint's, fit for the images; None without one."""
  if checkpoint is None:
    return None
  frozen = features.from_checkpoint(
    checkpoint, config.which or None, fields_arcsec=config.fields_arcsec
  )
  checks.fits(frozen.inputs, chosen, checkpoint)
  return frozen


def _name(config, checkpoint, baseline: str | None) -> str:
  if config.protocol == 'finetune' and baseline == 'random':
    return 'scratch'
  return baseline or name_of(checkpoint)


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


def _tables(config, chosen: selection.Selection, frozen, baseline, extract):
  """Tables of the wanted splits, facts about them, and the encoder.

  Of a protocol on images the tables are without features. The facts are ready
  for JSON; the encoder is None where nothing but its features is wanted.
  """
  wanted = [s for s in (chosen.train, chosen.test) if s]
  on_images = protocols.on_images(config.protocol)
  meta = frozen.meta if frozen else None
  if baseline is not None and not on_images:
    tables, facts = baselines.tables(
      baseline, config, chosen, wanted, meta, extract
    )
    return tables, {'baseline': facts}, None
  _LOG.info('Reading %s.', chosen.directory)
  if on_images:
    tables = {
      split: features.tabulate(chosen, split, features.nothing)
      for split in wanted
    }
  else:
    tables = {
      split: extract(
        frozen,
        chosen,
        split,
        batch_size=config.batch_size,
        rotations=config.rotations,
      )
      for split in wanted
    }
  if baseline is not None:
    start, facts = baselines.untrained(config, meta)
    checks.fits(start.inputs, chosen, 'config.input')
    return tables, {'baseline': facts}, start
  seen = overlap.with_pretraining(
    tables, frozen.meta, chosen.held_out, frozen.footprints
  )
  _warn_of_seen(seen, wanted[-1])
  return tables, {'overlap': seen}, frozen


def _warn_of_seen(seen: Mapping[str, Any], scored: str) -> None:
  showing = seen.get('showing', {})
  for split in dict.fromkeys((scored, 'holdout')):
    if not showing.get(split):
      continue
    consequence = 'these scores are not those of unseen sources'
    if split != scored:
      consequence = 'for this encoder nothing there is held out any more'
    _LOG.warning(
      '%d of %d images of the pretraining set show sources of %r%s: %s.',
      showing[split],
      seen['num_images'],
      split,
      ', which is scored' if split == scored else '',
      consequence,
    )
  if 'start' in seen:
    _warn_of_seen(seen['start'], scored)


def _score(
  config,
  chosen: selection.Selection,
  tables: Mapping[str, features.Table],
  start: features.FrozenEncoder | None,
) -> dict:
  """Scores of the cross-validated training split and of the test split."""
  train = tables[chosen.train]
  groups = checks.groups(config, train)
  predict = protocols.predictor(config, chosen, tables, groups, start)
  stored = chosen.stored_folds()
  folds = stored
  if stored is None:
    folds = splits.stratified_folds(
      train.labels, num_folds=config.num_folds, seed=config.seed, groups=groups
    )
  inside = _out_of_fold(predict, chosen.train, folds)
  result = {'cross_validation': _scored(config, chosen, train, inside)}
  if stored is not None:
    result['folds'] = metrics.over_folds(train.labels, inside, stored)
  test = tables[chosen.test] if chosen.test else None
  if config.label_counts:
    result['label_curve'] = label_fraction.curve(
      train.features,
      train.labels,
      groups,
      test and (test.features, test.labels),
      num_classes=len(chosen.label_names),
      counts=tuple(config.label_counts),
      num_draws=config.label_draws,
      num_folds=config.num_folds,
      seed=config.seed,
    )
  if config.protocol == 'linear':
    # For `radio_ssl.predict`.
    result['probe'] = _probe(config, train, groups, len(chosen.label_names))
  if test:
    _LOG.info('The test split.')
    probabilities, settings = predict(
      protocols.Part(chosen.train, np.arange(len(train.labels))),
      protocols.Part(chosen.test, np.arange(len(test.labels))),
    )
    result['chosen'] = settings
    result['test'] = _scored(config, chosen, test, probabilities)
  return result


def _probe(
  config, train: features.Table, groups: np.ndarray, num_classes: int
) -> dict[str, Any]:
  """The classifier of all training rows, ready for JSON."""
  probe, _ = linear.train(
    train.features,
    train.labels,
    groups=groups,
    num_classes=num_classes,
    num_folds=config.num_folds,
    seed=config.seed,
  )
  return {
    'weights': probe.weights[0].tolist(),
    'bias': probe.bias[0].tolist(),
  }


def _out_of_fold(predict, split: str, folds: np.ndarray) -> np.ndarray:
  """Probabilities of each source by a classifier that has not seen it."""
  result, names = {}, np.unique(folds)
  for number, fold in enumerate(names, start=1):
    _LOG.info('Cross-validation, fold %d of %d.', number, len(names))
    out = np.flatnonzero(folds == fold)
    probabilities, _ = predict(
      protocols.Part(split, np.flatnonzero(folds != fold)),
      protocols.Part(split, out),
    )
    result |= zip(out, probabilities, strict=True)
  return np.stack([result[row] for row in range(len(folds))])


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
  right = np.asarray(probabilities).argmax(axis=1) == table.labels
  found = {
    name: metrics.by_property(right, table.columns[name])
    for name in ('peak_snr', 'size_beams')
    if np.isfinite(table.columns.get(name, np.nan)).any()
  }
  return {'scores': scores, 'by_property': found, 'predictions': predictions}
