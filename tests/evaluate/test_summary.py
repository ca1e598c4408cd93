"""Results of several seeds share a row, and nothing else shares one."""

import copy
import json

import numpy as np
import pytest

from radio_ssl.evaluate import summary

# Six sources, labels 0 0 0 1 1 1.
_LABELS = [0, 0, 0, 1, 1, 1]
_PERFECT, _ONE_WRONG, _HALF = [0, 0, 0, 1, 1, 1], [1, 0, 0, 1, 1, 1], [0] * 6


def _scored(predicted):
  rows = [
    {'name': f's{i}', 'label': label, 'probabilities': [1 - guess, guess]}
    for i, (label, guess) in enumerate(zip(_LABELS, predicted, strict=True))
  ]
  return {'scores': {}, 'predictions': rows}


def _result(predicted, *, seed=0, method='simclr', lr=0.1, showing=0):
  return {
    'encoder': 'a_run',
    'config': {
      'seed': 0,
      'num_bootstrap': 200,
      'data': {'name': 'mirabest', 'train': 'train', 'test': 'test'},
    },
    'dataset': {'directory': '/d/mirabest/fits/1.0.0', 'fingerprint': 'f'},
    'pretraining': {
      'config': {'seed': seed, 'objective': {'name': method}, 'lr': lr},
      'dataset': {'directory': '/d/first/tiles/1.0.0', 'fingerprint': 'p'},
    },
    'overlap': {'showing': {'train': 5, 'test': showing}},
    'label_names': ['FRI', 'FRII'],
    'cross_validation': _scored(_ONE_WRONG),
    'test': _scored(predicted),
  }


def _baseline(predicted, seed=0):
  result = _result(predicted)
  del result['overlap']
  result['config']['seed'] = seed
  return result | {
    'encoder': 'random',
    'baseline': {'encoder': {'width': 1}, 'seed': seed},
  }


def _cells(results):
  lines = summary.table(results).splitlines()[2:]
  return [[c.strip() for c in line.split('|')[1:-1]] for line in lines]


def test_seeds_share_a_row_with_their_mean_and_deviation():
  (row,) = _cells([_result(_PERFECT), _result(_ONE_WRONG, seed=1)])
  assert row[:4] == ['simclr', 'first/tiles', 'mirabest/fits', '2']
  # 100 and 83.3: mean 91.7, standard deviation 11.8.
  assert row[4].startswith('91.7 ± 11.8 (')
  assert row[6] == '83.3 ± 0.0'


def test_one_seed_has_no_deviation_and_a_perfect_one_no_width():
  (row,) = _cells([_result(_PERFECT)])
  assert row[4] == '100.0 (100.0 to 100.0)'


def test_interval_is_over_sources_that_all_seeds_share():
  low, high = (
    float(part)
    for part in _cells([_result(_ONE_WRONG), _result(_ONE_WRONG, seed=1)])[0][4]
    .split('(')[1]
    .rstrip(')')
    .split(' to ')
  )
  one = _cells([_result(_ONE_WRONG)])[0][4]
  # Two seeds with the same mistakes know no more than one.
  assert one == f'83.3 ({low} to {high})'
  assert low < 83.3 < high


def test_order_of_the_sources_does_not_matter():
  turned = _result(_ONE_WRONG, seed=1)
  turned['test']['predictions'].reverse()
  straight = _result(_ONE_WRONG, seed=1)
  assert _cells([_result(_HALF), turned]) == _cells([_result(_HALF), straight])


def test_other_settings_make_another_row_that_says_so():
  rows = _cells([_result(_PERFECT), _result(_HALF, lr=0.2)])
  assert [row[0] for row in rows] == [
    'simclr',
    'simclr (pretraining.lr: 0.1 -> 0.2)',
  ]


def test_other_methods_and_sets_make_rows_of_their_own():
  other = _result(_HALF)
  other['dataset'] = {'directory': '/e/vlass/1.0.0', 'fingerprint': 'g'}
  rows = _cells([_result(_PERFECT), _result(_HALF, method='byol'), other])
  assert [row[0] for row in rows] == ['simclr', 'byol', 'simclr']
  assert rows[2][2] == 'e/vlass'


def test_baselines_have_seeds_too_and_no_pretraining():
  (row,) = _cells([_baseline(_PERFECT), _baseline(_HALF, seed=1)])
  assert row[:4] == ['random', '', 'mirabest/fits', '2']


def test_where_the_labelled_set_lies_makes_no_difference():
  moved = copy.deepcopy(_result(_HALF, seed=1))
  moved['config']['data'] |= {'name': '', 'dir': '/elsewhere'}
  assert len(_cells([_result(_HALF), moved])) == 1


def _held(seed, file, digest, use='leave_out'):
  result = _result(_HALF, seed=seed)
  result['config']['data'] |= {'holdout': file, 'holdout_use': use}
  if file:
    result['holdout'] = {'file': file, 'sha256': digest}
  return result


def test_a_hold_out_counts_by_its_content_and_use():
  same = [_held(0, '/a/h.csv', 'f'), _held(1, '/b/h.csv', 'f')]
  assert len(_cells(same)) == 1
  assert len(_cells([same[0], _held(1, '/a/h.csv', 'g')])) == 2
  assert len(_cells([same[0], _held(1, '/a/h.csv', 'f', 'test')])) == 2
  # Results of the first days have no such field.
  assert len(_cells([_result(_HALF), _held(1, '', '')])) == 1


def test_seen_sources_are_marked():
  table = summary.table([_result(_HALF, showing=3)])
  assert '| simclr * |' in table
  assert table.endswith('on images of scored sources')


def test_the_same_seed_twice_is_refused():
  with pytest.raises(ValueError, match=r'same seed comes twice: \[0, 0\]'):
    summary.table([_result(_HALF), _result(_HALF)])


def test_program_prints_the_table_or_one_line(tmp_path, capsys):
  good, bad = tmp_path / 'good.json', tmp_path / 'bad.json'
  good.write_text(json.dumps(_result(np.array(_HALF).tolist())))
  bad.write_text('{}')
  assert summary.main([str(good)]) == 0
  assert '| simclr |' in capsys.readouterr().out
  for path in (bad, tmp_path / 'gone.json'):
    assert summary.main([str(good), str(path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f'error: {path}: not a results.json')
    assert error.count('\n') == 1


def test_two_results_of_one_method_are_compared_by_their_paths(
  tmp_path, capsys
):
  paths = [tmp_path / name for name in ('perfect.json', 'half.json')]
  for path, predicted in zip(paths, (_PERFECT, _HALF), strict=True):
    # They differ in more than the seed.
    path.write_text(json.dumps(_result(predicted, lr=len(path.name))))
  perfect, half = map(str, paths)
  byol = tmp_path / 'byol.json'
  byol.write_text(json.dumps(_result(_ONE_WRONG, method='byol')))
  pairs = [f'{perfect}:{half}', f'byol:{half}', f'{byol}:byol']
  assert not summary.main([perfect, half, str(byol), '--compare', *pairs])
  told = capsys.readouterr().out.splitlines()
  for start in (
    f'| {perfect} - {half} | 1, 1 | +50.0 (',
    f'| byol - {half} | 1, 1 | +33.3 (',
    # A result that is compared by its path is one of its method still.
    f'| {byol} - byol | 1, 1 | +0.0 (',
  ):
    assert any(line.startswith(start) for line in told), start
