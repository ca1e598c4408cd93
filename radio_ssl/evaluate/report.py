"""What an evaluation leaves behind: JSON, a page to read, pictures."""

import json
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import matplotlib.figure

from radio_ssl.evaluate import pictures
from radio_ssl.objectives import base as objectives


def write(result: dict[str, Any], output: pathlib.Path) -> None:
  """Writes results.json, results.md and the pictures that the page shows.

  All are whole before any of them takes the place of an older one.
  """
  # `.` and `..` have no name to put another beside.
  output = output.resolve()
  output.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(
    dir=output.parent, prefix=f'{output.name}.', suffix='.tmp'
  ) as folder:
    temporary = pathlib.Path(folder)
    text = json.dumps(result, indent=1, allow_nan=False)
    (temporary / 'results.json').write_text(text + '\n')
    (temporary / 'results.md').write_text(page(result))
    for name, figure in _pictures(result).items():
      figure.savefig(temporary / f'{name}.png', dpi=200)
    output.mkdir(exist_ok=True)
    for file in temporary.iterdir():
      file.replace(output / file.name)


def final(result: dict[str, Any]) -> tuple[str, dict[str, Any]]:
  """The score that counts: ('test', scores), or of cross-validation."""
  for name in ('test', 'cross_validation'):
    if name in result:
      return name, result[name]['scores']
  raise KeyError('a result has at least the cross-validated scores')


def comparison(results: Sequence[dict[str, Any]]) -> str:
  """A markdown table of several results on one labelled set.

  A result whose scored sources were seen in pretraining carries a mark.
  """
  name, _ = final(results[0])
  lines = [
    f'| encoder | accuracy, {name} (95 %) | macro-F1 (95 %) | accuracy, '
    'cross-validated |',
    '| --- | --- | --- | --- |',
  ]
  for result in results:
    _, scores = final(result)
    inside = result['cross_validation']['scores']
    mark = ' *' if seen(result) else ''
    lines.append(
      f'| {result["encoder"]}{mark} | {_with_interval(scores, "accuracy")} '
      f'| {_with_interval(scores, "macro_f1")} '
      f'| {100 * inside["accuracy"]:.1f} |'
    )
  return '\n'.join(lines + footnote(results))


def footnote(results: Sequence[dict[str, Any]]) -> list[str]:
  """What the mark in a table of these results means, where it has one."""
  marked = [result for result in results if seen(result)]
  if not marked:
    return []
  if told := sorted({name for r in marked if (name := _taught_by(r))}):
    labels = f'with their labels by {", ".join(told)}, else without'
  else:
    labels = 'without labels'
  return ['', f'\\* pretrained, {labels}, on images of scored sources']


def _taught_by(result: dict[str, Any]) -> str | None:
  """The method that pretrained on labels, if one did."""
  meta = result.get('pretraining')
  # A baseline may have the settings of a run.
  if not meta or 'baseline' in result:
    return None
  name = meta['config']['objective']['name']
  # A result may be of a method that is no more.
  if name in objectives.available() and objectives.needs_labels(
    objectives.module(name)
  ):
    return name
  return None


def seen(result: dict[str, Any]) -> bool:
  """Whether pretraining saw sources that are scored."""
  data = result['config']['data']
  # Results of the first days do not tell.
  scored = result.get('scored') or data['test'] or data['train']
  overlap = result.get('overlap')
  while overlap:
    if overlap.get('showing', {}).get(scored):
      return True
    overlap = overlap.get('start')
  return False


def _with_interval(scores, name: str) -> str:
  low, high = scores['intervals'][name]
  return f'{100 * scores[name]:.1f} ({100 * low:.1f} to {100 * high:.1f})'


def page(result: dict[str, Any]) -> str:
  """The result as a page to read."""
  name, scores = final(result)
  dataset = result['dataset']
  lines = [
    f'# {result["encoder"]}, {result["protocol"]} protocol',
    '',
    f'- labelled set: `{dataset["directory"]}`, '
    f'fingerprint {dataset["fingerprint"][:12]}',
    f'- code: radio_ssl {result["package_version"]}, commit {result["commit"]}',
    f'- scored on: {name}, {scores["num_examples"]} sources',
    *_remarks(result),
    '',
    comparison([result]),
    '',
    f'Balanced accuracy: {_with_interval(scores, "balanced_accuracy")}. '
    'Intervals are 95 % of '
    f'{result["config"]["num_bootstrap"]} bootstrap draws of the scored '
    'sources (percentiles); other training sources or another pretraining '
    'seed would add to them.',
    *_calibration(result),
    '',
    '| class | precision | recall | F1 | sources |',
    '| --- | --- | --- | --- | --- |',
  ]
  for label, row in scores['per_class'].items():
    lines.append(
      f'| {label} | {100 * row["precision"]:.1f} | {100 * row["recall"]:.1f} '
      f'| {100 * row["f1"]:.1f} | {row["support"]} |'
    )
  lines += _by_property(result[name].get('by_property', {}))
  lines += _label_curve(result)
  for picture in _pictures(result):
    lines += ['', f'![{picture.replace("_", " ")}]({picture}.png)']
  return '\n'.join([*lines, ''])


def _pictures(result: dict[str, Any]) -> dict[str, matplotlib.figure.Figure]:
  """The pictures of a result, by the names of their files."""
  name, scores = final(result)
  title = f'{result["encoder"]}, {name.replace("_", "-")}'
  found = {
    'confusion_matrix': pictures.confusion_matrix(
      scores, result['label_names'], title
    )
  }
  inside = result['cross_validation']['scores']
  if 'calibration' in inside:
    found['reliability'] = pictures.reliability(
      inside['calibration'], f'{result["encoder"]}, cross-validation'
    )
  if 'label_curve' in result:
    found['label_curve'] = pictures.label_curve(
      result['label_curve'], scores, title
    )
  return found


_PROPERTIES = {
  'peak_snr': 'brightest pixel over the noise',
  'size_beams': "size over the beam's major axis",
}


def _by_property(found: dict[str, Any]) -> list[str]:
  lines = []
  for name, it in found.items():
    lines += [
      '',
      f'| {_PROPERTIES[name]} | sources | accuracy (95 %) |',
      '| --- | --- | --- |',
    ]
    for row in it['bins']:
      low, high = row['interval']
      lines.append(
        f'| {row["low"]:.3g} to {row["high"]:.3g} | {row["num_examples"]} '
        f'| {100 * row["accuracy"]:.1f} ({100 * low:.1f} to '
        f'{100 * high:.1f}) |'
      )
    if it['unknown']:
      lines.append(f'| unknown | {it["unknown"]} | |')
  return lines


def _label_curve(result: dict[str, Any]) -> list[str]:
  """The table of scores over numbers of labels; no lines without a curve."""
  if 'label_curve' not in result:
    return []
  lines = [
    '',
    f'Of {result["config"]["label_draws"]} draws of labels each, mean ± '
    'standard deviation:',
    '',
    '| labels of each class | accuracy | balanced accuracy | macro-F1 |',
    '| --- | --- | --- | --- |',
  ]
  for point in result['label_curve']:
    scores = ' | '.join(
      f'{100 * point[name]["mean"]:.1f} ± {100 * point[name]["sd"]:.1f}'
      for name in ('accuracy', 'balanced_accuracy', 'macro_f1')
    )
    lines.append(f'| {point["labels_per_class"]} | {scores} |')
  return lines


def _calibration(result: dict[str, Any]) -> list[str]:
  inside = result['cross_validation']['scores'].get('calibration')
  if inside is None:
    return []
  return [
    '',
    'Expected calibration error, out of fold: '
    f'{100 * inside["expected_calibration_error"]:.1f} (percent).',
  ]


def _remarks(result: dict[str, Any]) -> list[str]:
  """One line for each thing that not every result has."""
  lines = []
  if 'chosen' in result:
    # Curves stay in the JSON.
    chosen = {
      k: v for k, v in result['chosen'].items() if not isinstance(v, dict)
    }
    lines.append(f'- chosen inside the training split: {json.dumps(chosen)}')
  if any(result['left_out'].values()):
    counts = [f'{n} of {split!r}' for split, n in result['left_out'].items()]
    lines.append(f'- other classes left out: {", ".join(counts)}')
  if result.get('holdout'):
    lines.append(f'- {_holdout(result["holdout"])}')
  if 'folds' in result:
    lines += _folds(result['folds'])
  if 'baseline' in result:
    lines.append(f'- baseline: {json.dumps(result["baseline"])}')
  if 'overlap' in result:
    lines.append(f'- {_overlap(result["overlap"])}')
  if name := _taught_by(result):
    directory = result['pretraining']['dataset']['directory']
    lines.append(
      f'- {name} learnt from the labels of `{directory}`: scores of its '
      'sources, cross-validated ones too, are no measure'
    )
  return lines


def _holdout(facts: dict[str, Any]) -> str:
  images = '; '.join(
    f'of {sum(n.values())} images of {split!r} {n["held"]} are of its sources, '
    f'{n["beside"]} beside them'
    for split, n in facts['images'].items()
  )
  use = (
    'left out' if facts['use'] == 'leave_out' else 'scored, and nothing else'
  )
  return (
    f'hold-out `{facts["file"]}` of {facts["num_sources"]} sources, SHA-256 '
    f'{facts["sha256"]}: {use}; {images}'
  )


def _folds(folds: dict[str, Any]) -> list[str]:
  """Of each score the mean and standard deviation over the stored folds."""
  parts = [
    f'{name.replace("_", " ")} {100 * folds[name]["mean"]:.1f} ± '
    f'{100 * folds[name]["sd"]:.1f}'
    for name in ('accuracy', 'balanced_accuracy', 'macro_f1')
  ]
  return [
    f'- over the {len(folds["names"])} stored folds, each by a probe of the '
    f'others, mean ± standard deviation: {", ".join(parts)}'
  ]


def _overlap(seen: dict[str, Any]) -> str:
  if 'unknown' in seen:
    told = f'seen in pretraining: unknown, {seen["unknown"]}'
  else:
    counts = [f'{n} show sources of {k!r}' for k, n in seen['showing'].items()]
    told = f'of {seen["num_images"]} pretraining images {", ".join(counts)}'
  if 'start' in seen:
    told += f'; of the encoder that it began with: {_overlap(seen["start"])}'
  return told
