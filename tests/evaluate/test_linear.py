"""The probe finds the optimum, chooses honestly, and can fail."""

import numpy as np
import pytest
import sklearn.linear_model

from radio_ssl.data import splits
from radio_ssl.evaluate import linear


def _problem(kind, n=120, d=12, k=3, seed=0):
  generator = np.random.default_rng(seed)
  x = generator.normal(size=(n, d))
  y = generator.integers(0, k, n)
  if kind == 'separable':
    x[:, :k] += 6 * np.eye(k)[y]
  if kind == 'collinear':
    x[:, d // 2 :] = x[:, : d // 2] + 1e-6 * x[:, d // 2 :]
  if kind == 'scaled':
    x = x * np.logspace(-6, 6, d) + np.logspace(3, -3, d)
  return x, y


def _objective(x, y, weights, bias, l2):
  """The module's formula, with W of standardised features."""
  scale = x.std(axis=0)
  logits = x @ weights + bias
  logits -= logits.max(axis=1, keepdims=True)
  log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  inner = weights * scale[:, None]
  return -log_p[np.arange(len(y)), y].mean() + l2 / 2 * (inner**2).sum()


@pytest.mark.parametrize('d', [12, 250])
@pytest.mark.parametrize('kind', ['random', 'separable', 'collinear', 'scaled'])
def test_objective_equals_scikit_learns_optimum(kind, d):
  x, y = _problem(kind, d=d)
  l2 = np.array([1e-4, 1e-2, 1.0])
  probe = linear.fit(x, y, num_classes=3, l2=l2)
  scaled = (x - x.mean(axis=0)) / x.std(axis=0)
  for i, value in enumerate(l2):
    other = sklearn.linear_model.LogisticRegression(
      C=1 / (value * len(y)), tol=1e-10, max_iter=20000
    ).fit(scaled, y)
    weights = other.coef_.T / x.std(axis=0)[:, None]
    bias = other.intercept_ - x.mean(axis=0) @ weights
    ours = _objective(x, y, probe.weights[i], probe.bias[i], value)
    theirs = _objective(x, y, weights, bias, value)
    assert ours <= theirs * (1 + 1e-6)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


# Where the rows say little of the weights, the same gradient leaves more.
@pytest.mark.parametrize(('d', 'slack'), [(12, 1), (250, 10)])
def test_problems_solved_together_equal_problems_solved_alone(d, slack):
  x, y = _problem('random', d=d)
  # On the rows of one problem alone a column is constant.
  x[40:, 3] = 7.0
  rows = np.ones((2, len(y)), bool)
  rows[1, :40] = False
  together = linear.fit(x, y, num_classes=3, l2=[0.1, 0.01], rows=rows)
  alone = linear.fit(x[40:], y[40:], num_classes=3, l2=[0.01])
  np.testing.assert_allclose(
    together.weights[1], alone.weights[0], rtol=1e-4, atol=slack * 1e-6
  )
  np.testing.assert_allclose(together.bias[1], alone.bias[0], atol=slack * 1e-5)


def test_more_problems_than_slots_are_each_solved_for_themselves(monkeypatch):
  monkeypatch.setattr(linear, '_NUM_SLOTS', 3)
  linear._solve.clear_cache()
  x, y = _problem('random')
  rng = np.random.default_rng(1)
  l2 = rng.permutation(np.logspace(-3, 1, 8))
  rows = rng.random((8, len(y))) < 0.8
  together = linear.fit(x, y, num_classes=3, l2=l2, rows=rows)
  monkeypatch.undo()
  linear._solve.clear_cache()
  for i in range(8):
    alone = linear.fit(x[rows[i]], y[rows[i]], num_classes=3, l2=l2[i : i + 1])
    np.testing.assert_allclose(
      together.weights[i], alone.weights[0], rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(together.bias[i], alone.bias[0], atol=1e-5)


def test_held_out_rows_change_nothing():
  x, y = _problem('random')
  rows = np.ones((1, len(y)), bool)
  rows[0, :40] = False
  before = linear.fit(x, y, num_classes=3, l2=[0.1], rows=rows)
  wild = x.copy()
  wild[:40] = 50 * np.random.default_rng(1).normal(size=wild[:40].shape) + 9
  after = linear.fit(
    wild, (y + (~rows[0])) % 3, num_classes=3, l2=[0.1], rows=rows
  )
  np.testing.assert_allclose(
    after.log_probabilities(x), before.log_probabilities(x), atol=1e-4
  )


def _settings():
  return {'num_classes': 3, 'num_folds': 5, 'seed': 0}


def test_separable_features_score_one():
  x, y = _problem('separable', n=240)
  p, _ = linear.predict(x[:160], y[:160], x[160:], **_settings())
  assert (p.argmax(axis=1) == y[160:]).mean() == 1
  np.testing.assert_allclose(p.sum(axis=1), 1)


def test_shuffled_labels_score_chance():
  x, y = _problem('separable', n=900)
  shuffled = np.random.default_rng(2).permutation(y)
  p, chosen = linear.predict(x[:600], shuffled[:600], x[600:], **_settings())
  accuracy = (p.argmax(axis=1) == y[600:]).mean()
  # Three standard errors about one third.
  assert abs(accuracy - 1 / 3) < 3 * np.sqrt(2 / 9 / 300)
  # And nothing to learn asks for the strongest penalties.
  assert chosen['l2'] >= 1


def test_choice_of_l2_looks_at_the_training_rows_alone():
  x, y = _problem('separable', n=240)
  _, first = linear.predict(x[:160], y[:160], x[160:], **_settings())
  _, second = linear.predict(x[:160], y[:160], 100 * x[160:], **_settings())
  assert first == second


def test_order_of_the_rows_does_not_matter():
  x, y = _problem('random')
  order = np.random.default_rng(3).permutation(len(y))
  a = linear.fit(x, y, num_classes=3, l2=[0.1])
  b = linear.fit(x[order], y[order], num_classes=3, l2=[0.1])
  np.testing.assert_allclose(a.weights, b.weights, atol=1e-6)


def test_constant_column_is_harmless():
  x, y = _problem('random')
  with_constant = np.concatenate([x, np.full((len(x), 1), 0.1)], axis=1)
  a = linear.fit(x, y, num_classes=3, l2=[0.1])
  b = linear.fit(with_constant, y, num_classes=3, l2=[0.1])
  np.testing.assert_allclose(
    a.log_probabilities(x), b.log_probabilities(with_constant), atol=1e-6
  )


@pytest.mark.parametrize('kind', ['random', 'separable', 'collinear'])
def test_two_classes_equal_scikit_learns_one_vector(kind):
  x, y = _problem(kind, k=2)
  l2 = 0.05
  scaled = (x - x.mean(axis=0)) / x.std(axis=0)
  other = sklearn.linear_model.LogisticRegression(
    C=2 / (l2 * len(y)), tol=1e-10, max_iter=20000
  ).fit(scaled, y)
  probe = linear.fit(x, y, num_classes=2, l2=[l2])
  np.testing.assert_allclose(
    np.exp(probe.log_probabilities(x)[0]),
    other.predict_proba(scaled),
    atol=1e-5,
  )


def test_fewer_rows_than_columns_have_an_optimum_too():
  x, y = _problem('random', n=30, d=80)
  scaled = (x - x.mean(axis=0)) / x.std(axis=0)
  for value in (1e-4, 1.0):
    other = sklearn.linear_model.LogisticRegression(
      C=1 / (value * len(y)), tol=1e-10, max_iter=20000
    ).fit(scaled, y)
    weights = other.coef_.T / x.std(axis=0)[:, None]
    bias = other.intercept_ - x.mean(axis=0) @ weights
    probe = linear.fit(x, y, num_classes=3, l2=[value])
    ours = _objective(x, y, probe.weights[0], probe.bias[0], value)
    theirs = _objective(x, y, weights, bias, value)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize('kind', ['random', 'separable', 'collinear'])
def test_chosen_l2_is_that_of_an_exact_search(kind):
  x, y = _problem(kind)
  x[:, 0] += y
  chosen = linear.choose_l2(x, y, num_classes=3, num_folds=3, seed=5)
  folds = splits.stratified_folds(y, num_folds=3, seed=5)
  exact = []
  for value in linear.L2_GRID:
    losses = np.zeros(len(y))
    for fold in range(3):
      out = folds == fold
      # Its own rows alone give the fold its mean and spread.
      mean, spread = x[~out].mean(axis=0), x[~out].std(axis=0)
      other = sklearn.linear_model.LogisticRegression(
        C=1 / (value * (~out).sum()), tol=1e-8, max_iter=20000
      ).fit((x[~out] - mean) / spread, y[~out])
      log_p = other.predict_log_proba((x[out] - mean) / spread)
      losses[out] = -log_p[np.arange(out.sum()), y[out]]
    exact.append(losses.mean())
  best = int(np.argmin(exact))
  assert chosen['l2'] == linear.L2_GRID[best]
  assert chosen['at_edge'] == (best in (0, len(exact) - 1))
  for value in linear.L2_GRID[max(best - 1, 0) : best + 2]:
    np.testing.assert_allclose(
      chosen['log_loss'][f'{value:.1e}'],
      exact[linear.L2_GRID.index(value)],
      atol=1e-3,
    )


def test_penalties_far_too_weak_are_not_tried(monkeypatch):
  generator = np.random.default_rng(0)
  y = np.arange(90) % 3
  x = generator.normal(size=(90, 300)) + 0.3 * generator.normal(size=300) * (
    y[:, None] == 1
  )
  chosen = linear.choose_l2(x, y, **_settings())
  monkeypatch.setattr(linear, '_TOGETHER', len(linear.L2_GRID))
  whole = linear.choose_l2(x, y, **_settings())
  assert chosen['l2'] == whole['l2']
  tried = list(chosen['log_loss'])
  # The first pair of which both are worse than the best is the last.
  losses = list(whole['log_loss'].values())
  worse = np.array(losses) > min(losses) + linear._RISEN
  pairs = worse[-len(tried) :].reshape(-1, 2).all(axis=1)
  assert pairs[0] and not pairs[1]
  assert len(tried) < len(losses) == len(linear.L2_GRID)
  assert tried == list(whole['log_loss'])[-len(tried) :]
  for name in tried:
    assert abs(chosen['log_loss'][name] - whole['log_loss'][name]) < 1e-3


def test_weak_penalties_on_wide_features_look_no_better_than_they_are(
  monkeypatch,
):
  generator = np.random.default_rng(3)
  y = np.arange(120) % 3
  # As encoders' are: the variance falls off from axis to axis.
  x = generator.normal(size=(120, 300)) + generator.normal(size=(3, 300))[y]
  x = x / (1 + np.arange(300)) @ generator.normal(size=(300, 300))
  settings = {'num_classes': 3, 'num_folds': 3, 'seed': 0}
  monkeypatch.setattr(linear, '_RISEN', np.inf)
  found = linear.choose_l2(x, y, **settings)['log_loss']
  monkeypatch.setattr(linear, '_WIDE_TOLERANCE', linear._TOLERANCE)
  exact = linear.choose_l2(x, y, **settings)['log_loss']
  for name, value in exact.items():
    assert abs(found[name] - value) < 2e-3, name


def test_the_weakest_penalty_is_reached_while_the_curve_falls():
  _, y = _problem('random')
  # Columns that give the label away.
  x = np.tile(9 * np.eye(3)[y], 4)
  chosen = linear.choose_l2(x, y, **_settings())
  assert chosen['l2'] == linear.L2_GRID[0]
  assert len(chosen['log_loss']) == len(linear.L2_GRID)


def test_choice_at_the_edge_of_the_grid_is_told(caplog, monkeypatch):
  monkeypatch.setattr(linear, 'L2_GRID', (0.1, 1.0, 10.0))
  _, y = _problem('random')
  # Columns that give the label away ask for hardly any penalty.
  sure = linear.choose_l2(
    np.tile(9 * np.eye(3)[y], 4), y, num_classes=3, num_folds=3, seed=0
  )
  assert sure['l2'] == 0.1
  assert sure['at_edge']
  assert 'L2, 1.0e-01, is at the edge of the grid' in caplog.text


def test_level_curve_at_the_edge_is_no_alarm(caplog):
  x, y = _problem('random', n=2000, d=1)
  x[:, 0] += y
  chosen = linear.choose_l2(x, y, num_classes=3, num_folds=2, seed=0)
  loss = list(chosen['log_loss'].values())
  assert loss[1] - loss[0] < 1e-4
  assert not caplog.text


def test_twins_in_one_group_do_not_flatter_weak_penalties():
  x, y = _problem('random', n=60, d=60)
  x, y = np.concatenate([x, x]), np.concatenate([y, y])
  settings = {'num_classes': 3, 'num_folds': 5, 'seed': 0}
  fooled = linear.choose_l2(x, y, **settings)
  groups = np.tile(np.arange(60), 2)
  honest = linear.choose_l2(x, y, **settings, groups=groups)
  # Random labels: there is nothing to learn but the twin's label.
  assert fooled['l2'] < 0.1 < 1 < honest['l2']


def test_prediction_keeps_twins_together_when_it_chooses():
  x, y = _problem('random', n=60, d=60)
  x, y = np.concatenate([x, x]), np.concatenate([y, y])
  groups = np.tile(np.arange(60), 2)
  _, chosen = linear.predict(x, y, x[:3], **_settings(), groups=groups)
  assert chosen == linear.choose_l2(x, y, **_settings(), groups=groups)
  assert chosen['l2'] > 1


def test_tie_goes_to_the_stronger_penalty():
  y = np.arange(60) % 3
  # Features that say nothing: every penalty gives the class frequencies.
  chosen = linear.choose_l2(np.ones((60, 2)), y, **_settings())
  np.testing.assert_allclose(list(chosen['log_loss'].values()), np.log(3))
  assert chosen['l2'] == linear.L2_GRID[-1]


def test_features_that_are_not_finite_are_refused():
  x, y = _problem('random')
  x[7, 3] = np.nan
  with pytest.raises(ValueError, match=r'1 of 120 rows .* row 7'):
    linear.fit(x, y, num_classes=3, l2=[0.1])
