"""The report is whole, strict JSON, and appears at once or not at all."""

import json
import os

import matplotlib.image
import numpy as np
import pytest

from radio_ssl.evaluate import metrics, pictures, report

_FILES = [
  'confusion_matrix.png',
  'reliability.png',
  'results.json',
  'results.md',
]


def _result(encoder='a_run', names=('FRI', 'FRII'), **kwargs):
  labels = np.arange(40) % len(names)
  wrong = np.arange(40) % 5 == 0
  guessed = np.where(wrong, (labels + 1) % len(names), labels)
  scores = metrics.score(
    labels, np.eye(len(names))[guessed], names, num_bootstrap=20
  )
  return {
    'encoder': encoder,
    'protocol': 'linear',
    'package_version': '1',
    'commit': None,
    'config': {'num_bootstrap': 20, 'data': {'train': 'train', 'test': 'test'}},
    'dataset': {'directory': 'data/here', 'fingerprint': 'f' * 64},
    'left_out': {'train': 0, 'test': 0},
    'label_names': list(names),
    'cross_validation': {'scores': scores, 'predictions': []},
    'test': {'scores': scores, 'predictions': []},
    'chosen': {'l2': 0.1, 'log_loss': {'1.0e-01': 0.5}},
    **kwargs,
  }


def test_report_holds_the_numbers(tmp_path):
  report.write(_result(), tmp_path / 'out')
  assert sorted(os.listdir(tmp_path)) == ['out']
  assert sorted(os.listdir(tmp_path / 'out')) == _FILES
  assert json.loads((tmp_path / 'out/results.json').read_text()) == _result()
  page = (tmp_path / 'out/results.md').read_text()
  assert '| a_run | 80.0 (' in page
  assert '| FRII | 80.0 | 80.0 | 80.0 | 20 |' in page
  assert '"l2": 0.1' in page
  picture = matplotlib.image.imread(tmp_path / 'out/confusion_matrix.png')
  assert picture[..., :3].std() > 0.05


def test_newer_report_replaces_the_older_one(tmp_path):
  report.write(_result('old'), tmp_path / 'out')
  report.write(_result('new'), tmp_path / 'out')
  assert '# new' in (tmp_path / 'out/results.md').read_text()
  assert sorted(os.listdir(tmp_path)) == ['out']


def test_failure_while_drawing_leaves_the_older_report(tmp_path, monkeypatch):
  report.write(_result('old'), tmp_path / 'out')
  before = {f: (tmp_path / 'out' / f).read_bytes() for f in _FILES}

  def fail(*args):
    raise OSError('no space left')

  monkeypatch.setattr(pictures, 'confusion_matrix', fail)
  with pytest.raises(OSError, match='no space'):
    report.write(_result('new'), tmp_path / 'out')
  with pytest.raises(OSError, match='no space'):
    report.write(_result('new'), tmp_path / 'other')
  assert {f: (tmp_path / 'out' / f).read_bytes() for f in _FILES} == before
  assert sorted(os.listdir(tmp_path)) == ['out']


def test_numbers_that_json_lacks_are_refused(tmp_path):
  with pytest.raises(ValueError, match='JSON'):
    report.write(_result(chosen={'l2': float('nan')}), tmp_path / 'out')
  assert not os.listdir(tmp_path)


def test_output_may_be_the_folder_one_stands_in(tmp_path, monkeypatch):
  (tmp_path / 'here').mkdir()
  monkeypatch.chdir(tmp_path / 'here')
  report.write(_result(), report.pathlib.Path('.'))
  assert sorted(os.listdir(tmp_path / 'here')) == _FILES


def test_cross_validation_is_the_score_where_nothing_was_tested():
  result = _result()
  del result['test'], result['chosen']
  assert report.final(result)[0] == 'cross_validation'
  assert 'scored on: cross_validation, 40 sources' in report.page(result)


def test_sources_seen_in_pretraining_are_marked_in_the_table():
  seen = {'num_images': 9, 'showing': {'train': 0, 'test': 2}}
  table = report.comparison(
    [_result('clean'), _result('tainted', overlap=seen)]
  )
  assert '| tainted * |' in table
  assert '| clean |' in table
  assert 'pretrained, without labels' in table


def _pretrained(method):
  return {
    'config': {'objective': {'name': method}},
    'dataset': {'directory': 'data/told'},
  }


def test_labels_that_pretraining_saw_are_told_of():
  seen = {'num_images': 9, 'showing': {'train': 9, 'test': 2}}
  results = [
    _result(name, overlap=seen, pretraining=_pretrained(name))
    for name in ('supcon', 'simclr', 'a_method_of_yore')
  ]
  note = report.footnote(results)[-1]
  assert 'with their labels by supcon, else without,' in note
  assert 'pretrained, without labels, on' in report.footnote(results[1:])[-1]
  told = 'supcon learnt from the labels of `data/told`'
  assert [told in report.page(r) for r in results] == [True, False, False]
  # Also where no scored source was seen: the training sources were.
  del results[0]['overlap']
  assert told in report.page(results[0])
  assert report.footnote(results[:1]) == []
  untrained = results[0] | {'baseline': {'seed': 0}}
  assert told not in report.page(untrained)


def test_the_split_that_was_scored_decides_on_the_mark():
  seen = {'num_images': 9, 'showing': {'train+test': 4, 'holdout': 0}}
  clean = _result(overlap=seen, scored='holdout')
  assert not report.seen(clean)
  seen['showing'] = {'train+test': 0, 'holdout': 1}
  assert report.seen(_result(overlap=seen, scored='holdout'))
