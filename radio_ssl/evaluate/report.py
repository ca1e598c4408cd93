"""What an evaluation leaves behind: JSON, a page to read, a picture."""

import json
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import numpy as np


def write(result: dict[str, Any], output: pathlib.Path) -> None:
  """Writes results.json, results.md and confusion_matrix.png.

  All or nothing: they appear together, in place of older ones.
  """
  temporary = output.with_name(f'{output.name}.tmp')
  shutil.rmtree(temporary, ignore_errors=True)
  temporary.mkdir(parents=True)
  (temporary / 'results.json').write_text(json.dumps(result, indent=1) + '\n')
  (temporary / 'results.md').write_text(page(result))
  _confusion_matrix(result, temporary / 'confusion_matrix.png')
  output.mkdir(parents=True, exist_ok=True)
  for file in temporary.iterdir():
    file.replace(output / file.name)
  temporary.rmdir()


def final(result: dict[str, Any]) -> tuple[str, dict[str, Any]]:
  """The score that counts: ('test', scores), or of cross-validation."""
  for name in ('test', 'cross_validation'):
    if name in result:
      return name, result[name]['scores']
  raise KeyError('a result has at least the cross-validated scores')


def comparison(results: Sequence[dict[str, Any]]) -> str:
  """A markdown table of several results on one labelled set."""
  name, _ = final(results[0])
  lines = [
    f'| encoder | accuracy, {name} (95 %) | macro-F1 (95 %) | accuracy, '
    'cross-validated |',
    '| --- | --- | --- | --- |',
  ]
  for result in results:
    _, scores = final(result)
    inside = result['cross_validation']['scores']
    lines.append(
      f'| {result["encoder"]} | {_with_interval(scores, "accuracy")} '
      f'| {_with_interval(scores, "macro_f1")} '
      f'| {100 * inside["accuracy"]:.1f} |'
    )
  return '\n'.join(lines)


def _with_interval(scores, name: str) -> str:
  low, high = scores['intervals'][name]
  return f'{100 * scores[name]:.1f} ({100 * low:.1f} to {100 * high:.1f})'


def page(result: dict[str, Any]) -> str:
  """The result as a page to read."""
  name, scores = final(result)
  lines = [
    f'# {result["encoder"]}, {result["protocol"]} protocol',
    '',
    f'- labelled set: `{result["dataset"]["directory"]}`',
    f'- code: radio_ssl {result["package_version"]}, commit {result["commit"]}',
    f'- scored on: {name}, {scores["num_examples"]} sources',
    f'- settings of the probe: {json.dumps(result.get("chosen", {}))}',
    '',
    comparison([result]),
    '',
    '| class | precision | recall | F1 | sources |',
    '| --- | --- | --- | --- | --- |',
  ]
  for label, row in scores['per_class'].items():
    lines.append(
      f'| {label} | {100 * row["precision"]:.1f} | {100 * row["recall"]:.1f} '
      f'| {100 * row["f1"]:.1f} | {row["support"]} |'
    )
  lines += ['', '![confusion matrix](confusion_matrix.png)', '']
  return '\n'.join(lines)


def _confusion_matrix(result: dict[str, Any], path: pathlib.Path) -> None:
  name, scores = final(result)
  counts = np.asarray(scores['confusion_matrix'])
  share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
  labels = result['label_names']
  side = 2.5 + 0.7 * len(labels)
  figure = matplotlib.figure.Figure(
    figsize=(side + 0.8, side), layout='constrained'
  )
  axes = figure.subplots()
  image = axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
  figure.colorbar(image, label='share of the true class', shrink=0.8)
  ticks = range(len(labels))
  axes.set(
    xlabel='predicted',
    ylabel='true',
    title=f'{name}: accuracy {100 * scores["accuracy"]:.1f} %',
  )
  axes.set_xticks(ticks, labels, rotation=45, ha='right')
  axes.set_yticks(ticks, labels)
  for i in ticks:
    for j in ticks:
      axes.text(
        j,
        i,
        f'{counts[i, j]}\n{100 * share[i, j]:.0f} %',
        ha='center',
        va='center',
        color='white' if share[i, j] > 0.6 else 'black',
      )
  figure.savefig(path, dpi=120)
