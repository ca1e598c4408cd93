"""A curve over labels is drawn fairly, scored on new sources, and rises."""

import numpy as np
import pytest
import sklearn.linear_model

from radio_ssl.data import splits
from radio_ssl.evaluate import label_fraction, linear, runner


def _problem(n=200, d=6, k=3, apart=1.5, seed=0):
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, k, n)
  features = rng.normal(size=(n, d))
  features[:, :k] += apart * np.eye(k)[labels]
  return features, labels, np.arange(n)


def _curve(features, labels, groups, scored=None, **kwargs):
  settings = {'num_classes': 3, 'num_draws': 6, 'num_folds': 5, 'seed': 0}
  return label_fraction.curve(
    features, labels, groups, scored, **settings | kwargs
  )


@pytest.mark.parametrize('count', [1, 4])
def test_a_draw_has_a_source_each_of_as_many_groups_of_each_class(count):
  # Groups of three rows: the middle of each row of labels is another class.
  labels = np.tile([0, 1, 0, 1, 1, 1], 10)
  groups = np.repeat(np.arange(20), 3)
  for seed in range(20):
    rows = label_fraction.draw(
      labels, groups, count, np.random.default_rng(seed)
    )
    assert np.bincount(labels[rows]).tolist() == [count, count]
    assert len(set(groups[rows])) == 2 * count


def test_all_sources_are_drawn_alike():
  labels, groups = np.repeat([0, 1], [10, 30]), np.arange(40)
  drawn = sum(
    label_fraction.draw(labels, groups, 2, np.random.default_rng(i)).astype(int)
    for i in range(2000)
  )
  # Four standard errors of a binomial.
  for share, its in ((2 / 10, drawn[:10]), (2 / 30, drawn[10:])):
    assert np.abs(its / 2000 - share).max() < 4 * np.sqrt(share / 2000)


def test_too_few_sources_are_refused():
  labels, groups = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 2])
  with pytest.raises(ValueError, match='class 0 has 1 sources'):
    label_fraction.draw(labels, groups, 2, np.random.default_rng(0))


def _log_p(x, y, others, l2):
  """By scikit-learn, of features that come standardised."""
  model = sklearn.linear_model.LogisticRegression(
    C=1 / (l2 * len(y)), tol=1e-9, max_iter=10000
  )
  return model.fit(x, y).predict_log_proba(others)


def _best_l2(x, y):
  """A loop over folds and values, each solved by itself."""
  folds = splits.stratified_folds(y, num_folds=5, seed=0)
  losses = []
  for l2 in linear.L2_GRID:
    loss = 0
    for out in (folds == fold for fold in range(5)):
      log_p = _log_p(x[~out], y[~out], x[out], l2)
      loss -= log_p[np.arange(out.sum()), y[out]].sum()
    losses.append(loss)
  return linear.L2_GRID[int(np.argmin(losses))]


# With more features than rows as well.
@pytest.mark.parametrize('d', [6, 150])
def test_each_draw_is_the_probe_of_its_rows_alone(d):
  features, labels, groups = _problem(d=d)
  (point,) = _curve(
    features[:100],
    labels[:100],
    groups[:100],
    (features[100:], labels[100:]),
    counts=(7,),
  )
  scaled = (features - features[:100].mean(0)) / features[:100].std(0)
  rng = np.random.default_rng((0, 7))
  for accuracy, l2 in zip(
    point['accuracy']['values'], point['l2'], strict=True
  ):
    rows = label_fraction.draw(labels[:100], groups[:100], 7, rng)
    x, y = scaled[:100][rows], labels[:100][rows]
    assert l2 == _best_l2(x, y)
    found = _log_p(x, y, scaled[100:], l2).argmax(-1)
    assert accuracy == (found == labels[100:]).mean()


def test_more_labels_score_higher_and_separable_features_score_one():
  low, high = _curve(*_problem(n=300), counts=(1, 30))
  assert low['accuracy']['mean'] + 0.1 < high['accuracy']['mean']
  (point,) = _curve(*_problem(apart=50), counts=(2,))
  assert point['accuracy']['mean'] > 0.99


def test_shuffled_labels_score_chance():
  features, labels, groups = _problem(n=900)
  labels = np.random.default_rng(1).permutation(labels)
  (point,) = _curve(features, labels, groups, counts=(3,), num_draws=20)
  assert abs(point['accuracy']['mean'] - 1 / 3) < 0.03


def test_sources_beside_the_drawn_ones_are_not_scored():
  # A double of each row: those of drawn ones would be named right.
  rng = np.random.default_rng(0)
  features = np.repeat(rng.normal(size=(120, 40)), 2, axis=0)
  labels = np.repeat(rng.integers(0, 2, 120), 2)
  doubles = np.repeat(np.arange(120), 2)
  kwargs = {'num_classes': 2, 'counts': (40,)}
  (apart,) = _curve(features, labels, doubles, **kwargs)
  (beside,) = _curve(features, labels, np.arange(240), **kwargs)
  assert abs(apart['accuracy']['mean'] - 0.5) < 0.05
  assert beside['accuracy']['mean'] > apart['accuracy']['mean'] + 0.05


def test_report_has_the_curve(config, tmp_path):
  config.label_counts = (1, 3)
  config.label_draws = 4
  result = runner.run(config, output=tmp_path / 'out', baseline='random')
  points = result['label_curve']
  assert [p['labels_per_class'] for p in points] == [1, 3]
  assert all(len(p['accuracy']['values']) == 4 for p in points)
  assert (tmp_path / 'out' / 'label_curve.png').stat().st_size > 5000
  page = (tmp_path / 'out' / 'results.md').read_text()
  assert '| labels of each class |' in page
  assert '![label curve](label_curve.png)' in page


@pytest.mark.parametrize(
  ('counts', 'test', 'told'),
  [
    ((1, 0), 'test', r'label_counts is \(1, 0\)'),
    ((13,), 'test', 'wants 13 labels of each class; one has 12 sources'),
    ((12,), '', 'some must be left to score'),
  ],
)
def test_counts_that_cannot_be_drawn_are_refused(
  config, tmp_path, counts, test, told
):
  config.label_counts, config.data.test = counts, test
  with pytest.raises(ValueError, match=told):
    runner.run(config, output=tmp_path / 'out', baseline='random')
