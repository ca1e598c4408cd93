"""Sums of stored splits, and folds that were stored with the set."""

import numpy as np
import pytest

from radio_ssl.evaluate import features, protocols, runner, selection


def _folds(sky):
  everything = [*sky['train'], *sky['test']]
  return {f'fold_{k}': everything[k::3] for k in range(3)}


def test_stored_splits_add_up(write, sky, configure, tmp_path):
  folds = _folds(sky)
  settings = configure(write(folds), train='fold_1+fold_2', test='fold_0')
  result = runner.run(settings, baseline='pixels', output=tmp_path / 'o')
  scored = {r['name'] for r in result['test']['predictions']}
  learnt = {r['name'] for r in result['cross_validation']['predictions']}
  assert scored == {r['name'] for r in folds['fold_0']}
  assert learnt == {r['name'] for k in (1, 2) for r in folds[f'fold_{k}']}
  assert result['left_out'] == {'fold_1+fold_2': 0, 'fold_0': 0}


def test_each_stored_fold_is_scored_by_the_others(
  write, sky, configure, tmp_path, monkeypatch
):
  folds = _folds(sky)
  dataset = write(folds)
  seen = []

  def predict(x, y, new, *, groups, **_):
    seen.append((set(x[:, 0]), set(new[:, 0])))
    # Right but for one of the first fold.
    labels = new[:, 0].astype(int) % 2
    labels = np.where(new[:, 0] == 3, 1 - labels, labels)
    return np.eye(2)[labels], {}

  def tabulate(dataset, split, *_):
    records = list(dataset.source(split))
    names = [r['name'].decode() for r in records]
    return features.Table(
      np.array([[float(n[1:])] for n in names]),
      np.array([r['label'] for r in records]),
      names,
      {k: np.array([r[k] for r in records]) for k in ('ra_deg', 'dec_deg')},
    )

  monkeypatch.setattr(protocols.module('linear'), 'predict', predict)
  monkeypatch.setattr(
    runner.baselines,
    'tables',
    lambda name, config, chosen, wanted, *rest: (
      {s: tabulate(chosen, s) for s in wanted},
      {},
    ),
  )
  settings = configure(dataset, train='fold_*', test='')
  result = runner.run(settings, baseline='pixels', output=tmp_path / 'o')
  numbers = [{float(r['name'][1:]) for r in its} for its in folds.values()]
  assert [new for _, new in seen] == numbers
  assert [x for x, _ in seen] == [set().union(*numbers) - n for n in numbers]
  assert result['folds']['names'] == ['fold_0', 'fold_1', 'fold_2']
  accuracy = result['folds']['accuracy']
  assert accuracy['values'] == pytest.approx([11 / 12, 1, 1])
  assert accuracy['mean'] == pytest.approx(35 / 36)
  assert accuracy['sd'] == pytest.approx(np.std([11 / 12, 1, 1], ddof=1))
  scores = result['cross_validation']['scores']
  assert scores['accuracy'] == pytest.approx(33 / 34)
  assert 'accuracy 97.2 ± 4.8' in (tmp_path / 'o/results.md').read_text()


def test_stored_folds_lose_what_is_held_out(
  write, sky, configure, held, tmp_path
):
  settings = configure(
    write(_folds(sky)), train='fold_*', test='', holdout=held.path
  )
  result = runner.run(settings, baseline='pixels', output=tmp_path / 'o')
  names = {r['name'] for r in result['cross_validation']['predictions']}
  assert len(names) == 28 and not names & held.names
  settings.data.holdout_use = 'test'
  result = runner.run(settings, baseline='pixels', output=tmp_path / 'o')
  assert {r['name'] for r in result['test']['predictions']} == held.names
  assert len(result['folds']['names']) == 3


def test_neighbours_in_two_stored_folds_are_told(
  write, sky, configure, tmp_path, caplog
):
  # s4 goes to 50 arcsec from s3, s8 to 70 from s7.
  for row, to, north in ((4, 3, 50), (8, 7, 70)):
    sky['train'][row]['ra_deg'] = np.float64(to)
    sky['train'][row]['dec_deg'] = np.float64(north / 3600)
  near = _folds(sky)
  settings = configure(write(near), train='fold_*', test='')
  runner.run(settings, baseline='pixels', output=tmp_path / 'o')
  assert '1 sources lie within 60 arcsec of a source of another' in caplog.text


def test_folds_beyond_nine_keep_their_order(write, sky):
  folds = {f'fold_{k}': [sky['train'][k]] for k in range(12)}
  chosen = selection.choose(write(folds), 'fold_*')
  stored = [str(name) for name in chosen.stored_folds()]
  assert stored == [f'fold_{k}' for k in range(12)]


@pytest.mark.parametrize(
  ('data', 'told'),
  [
    ({'train': 'fold_1+fold_9'}, r"no split 'fold_9'; there are: fold_0"),
    ({'train': 'part_*'}, r"no split 'part_\*'; there are: fold_0"),
    ({'train': 'fold_1+fold_1'}, r'comes twice in the split'),
    ({'train': 'fold_1[:5]+fold_1[3:]'}, r's\d+ comes twice in the split'),
    ({'train': 'fold_*', 'test': 'fold_0'}, r'share \d+ sources'),
    ({'train': 'fold_0*', 'test': ''}, 'one fold alone, fold_0'),
  ],
)
def test_sums_that_are_none_are_refused(
  write, sky, configure, tmp_path, data, told
):
  settings = configure(write(_folds(sky)), **{'test': '', **data})
  with pytest.raises(ValueError, match=told):
    runner.run(settings, baseline='pixels', output=tmp_path / 'o')


def test_class_that_leaves_too_little_outside_a_fold_is_named(
  write, sky, configure, tmp_path
):
  everything = [*sky['train'], *sky['test']]
  ones, twos = ([r for r in everything if r['label'] == k] for k in (0, 1))
  # All but one of class `two` lie in one fold.
  folds = {'fold_0': ones[:8] + twos[:-1], 'fold_1': ones[8:] + twos[-1:]}
  settings = configure(write(folds), train='fold_*', test='')
  with pytest.raises(ValueError, match=r"2 stored ones: {'two': 17}"):
    runner.run(settings, baseline='pixels', output=tmp_path / 'o')
