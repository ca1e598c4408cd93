"""One table of many results, a row for each method with all its seeds.

  python -m radio_ssl.evaluate.summary runs/*/eval/encoder/results.json

Results that differ in the seed alone share a row: mean and standard deviation
over the seeds, and the 95 % interval of that mean over the scored sources.
`--compare simclr:random byol:random` adds differences of two methods, by
bootstrap over the sources and the seeds, corrected as one family; a method
is named as in the table, or a single result by its path.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radio_ssl import checkpoints
from radio_ssl.evaluate import comparisons, metrics, report

Result = Mapping[str, Any]

_HEAD = (
  '| encoder | pretrained on | probed on | seeds | accuracy (95 %) '
  '| macro-F1 (95 %) | accuracy, cross-validated |\n'
  '| --- | --- | --- | --- | --- | --- | --- |'
)


def read(path: str | pathlib.Path) -> Result:
  """A `results.json`.

  Raises:
    ValueError: it is none.
  """
  try:
    result = json.loads(pathlib.Path(path).read_text())
    report.final(result)
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise ValueError(
      f'{path}: not a results.json of radio_ssl.evaluate: {error}'
    ) from error
  return result


def table(results: Sequence[Result]) -> str:
  """A markdown table; a row that differs from one of its name tells how.

  Raises:
    ValueError: a seed comes twice.
  """
  rows: dict[str, list[Result]] = {}
  for result in results:
    rows.setdefault(checkpoints.canonical_json(_settings(result)), []).append(
      result
    )
  first: dict[tuple, Any] = {}
  lines = [_HEAD]
  for members in rows.values():
    named, settings = _names(members[0]), _settings(members[0])
    changed = checkpoints.differences(
      first.setdefault(named, settings), settings
    )
    lines.append(_row(named, members, changed))
  return '\n'.join(lines + report.footnote(results))


def _seed(result: Result) -> int:
  config = result['config']
  if 'baseline' not in result:
    config = result['pretraining']['config']
  return config['seed']


def _settings(result: Result) -> dict[str, Any]:
  """All that shapes a result but the seed."""
  made = result.get('baseline') or result['pretraining']['config']
  pretrained = None
  if 'baseline' not in result:
    pretrained = result['pretraining']['dataset']['fingerprint']
  where = {'dir', 'name', 'config', 'data_dir'}
  data = {k: v for k, v in result['config']['data'].items() if k not in where}
  # By its content; results of the first days know of none.
  data['holdout'] = (result.get('holdout') or {}).get('sha256', '')
  data.setdefault('holdout_use', 'leave_out')
  return {
    'pretraining': _without_seed(made),
    'pretraining_set': pretrained,
    'labelled_set': result['dataset']['fingerprint'],
    'evaluation': _without_seed(result['config']) | {'data': data},
  }


def _without_seed(fields: Mapping[str, Any]) -> dict[str, Any]:
  return {k: v for k, v in fields.items() if k != 'seed'}


def _names(result: Result) -> tuple[str, str, str]:
  """Method, pretraining set and labelled set, as they are shown."""
  labelled = _set_name(result['dataset'])
  if 'baseline' in result:
    return result['encoder'], '', labelled
  meta = result['pretraining']
  return (
    meta['config']['objective']['name'],
    _set_name(meta['dataset']),
    labelled,
  )


def _set_name(dataset: Mapping[str, Any]) -> str:
  """mirabest/fits, of .../mirabest/fits/1.0.0."""
  return '/'.join(pathlib.PurePath(dataset['directory']).parts[-3:-1])


def _row(
  names: tuple[str, str, str], members: list[Result], changed: list[str]
) -> str:
  seeds = [_seed(result) for result in members]
  if len(set(seeds)) < len(seeds):
    raise ValueError(
      f'{", ".join(filter(None, names))}: the same seed comes twice: {seeds}. '
      'Give each result once.'
    )
  encoder, pretrained, labelled = names
  if changed:
    encoder += f' ({"; ".join(changed)})'
  if any(map(report.seen, members)):
    encoder += ' *'
  split, _ = report.final(members[0])
  scores = _scores(members, split)
  inside = _scores(members, 'cross_validation')['accuracy']
  return (
    f'| {encoder} | {pretrained} | {labelled} | {len(seeds)} '
    f'| {_with_interval(*scores["accuracy"])} '
    f'| {_with_interval(*scores["macro_f1"])} | {_with_sd(*inside[:2])} |'
  )


def _scores(members: list[Result], split: str):
  sources = [
    {row['name']: row for row in result[split]['predictions']}
    for result in members
  ]
  names = sorted(sources[0])
  predicted = [
    [np.argmax(rows[name]['probabilities']) for name in names]
    for rows in sources
  ]
  return metrics.over_seeds(
    np.array([sources[0][name]['label'] for name in names]),
    np.array(predicted),
    num_classes=len(members[0]['label_names']),
    num_bootstrap=members[0]['config']['num_bootstrap'],
  )


def _with_sd(mean: float, sd: float) -> str:
  spread = '' if np.isnan(sd) else f' ± {100 * sd:.1f}'
  return f'{100 * mean:.1f}{spread}'


def _with_interval(mean: float, sd: float, interval: Sequence[float]) -> str:
  low, high = interval
  return f'{_with_sd(mean, sd)} ({100 * low:.1f} to {100 * high:.1f})'


def _pair(text: str) -> tuple[str, str]:
  names = tuple(text.split(':'))
  if len(names) != 2 or not all(names):
    raise ValueError(f'--compare has {text!r}; wanted two methods, A:B.')
  return names


def _by_method(results: Sequence[Result]) -> dict[str, list[Result]]:
  """Results of each method.

  Raises:
    ValueError: those of one name differ in more than the seed.
  """
  found: dict[str, list[Result]] = {}
  for result in results:
    found.setdefault(_names(result)[0], []).append(result)
  for name, members in found.items():
    first = _settings(members[0])
    for other in members[1:]:
      changed = checkpoints.differences(first, _settings(other))
      if changed:
        raise ValueError(
          f'Results of {name!r} differ in more than the seed '
          f'({changed[0]}); give those alone that are to be compared.'
        )
  return found


def main(argv: Sequence[str] | None = None) -> int:
  """Prints the table; returns the exit status."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('results', nargs='+', help='results.json files')
  parser.add_argument(
    '--compare',
    nargs='+',
    default=[],
    metavar='A:B',
    help='methods, by the name in the first column, or paths of results',
  )
  args = parser.parse_args(argv)
  try:
    results = [read(path) for path in args.results]
    print(table(results))
    if args.compare:
      pairs = [_pair(text) for text in args.compare]
      wanted = {name for pair in pairs for name in pair}
      single = {
        path: [result]
        for path, result in zip(args.results, results, strict=True)
        if path in wanted
      }
      named = [it for it in results if _names(it)[0] in wanted]
      found = comparisons.family(_by_method(named) | single, pairs)
      print(f'\n{comparisons.table(found)}')
  except ValueError as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  return 0


if __name__ == '__main__':
  sys.exit(main())
