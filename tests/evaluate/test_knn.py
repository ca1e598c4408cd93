"""kNN votes against hand-made neighbours."""

import numpy as np
import pytest

from radio_ssl.evaluate import knn

# Of mean 0 and spread 1 already.
_TRAIN = np.sqrt(2) * np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
_LABELS = np.array([0, 1, 1, 1])
_FOLDS = {'temperature': 0.07, 'num_folds': 5, 'seed': 0}


def _vote(query, k, temperature=1.0):
  return knn.vote(
    _TRAIN,
    _LABELS,
    np.array([query]),
    num_classes=2,
    k=k,
    temperature=temperature,
  )[0]


def test_nearest_neighbour_by_cosine_whatever_the_length():
  np.testing.assert_allclose(_vote([0.1, 0.9], k=1), [0, 1])
  np.testing.assert_allclose(_vote([9.0, 0.1], k=1), [1, 0])


def test_votes_are_weighted_by_similarity():
  weights = np.exp(np.array([0.8, 0.6, -0.6]) / 0.5)
  expected = [weights[0] / weights.sum(), weights[1:].sum() / weights.sum()]
  np.testing.assert_allclose(_vote([4.0, 3.0], k=3, temperature=0.5), expected)


def test_similarity_is_that_of_features_standardised_on_the_training_rows():
  generator = np.random.default_rng(4)
  train, features = (generator.normal(size=(n, 6)) for n in (50, 7))
  x, y = (
    (rows - train.mean(axis=0)) / train.std(axis=0)
    for rows in (features, train)
  )
  expected = [[a @ b / np.sqrt(a @ a * b @ b) for b in y] for a in x]
  np.testing.assert_allclose(knn.similarity(train, features), expected)


def test_units_and_offsets_of_features_make_no_difference():
  x, y = _clusters()
  generator = np.random.default_rng(5)
  noisy = x + 2 * generator.normal(size=x.shape)
  units = np.array([1e-3, 1, 7, 1e4, 2.0])
  votes, chosen = _predict(noisy[:90], y[:90], noisy[90:])
  other, again = _predict(
    noisy[:90] * units + 100 * units, y[:90], noisy[90:] * units + 100 * units
  )
  assert chosen == again
  np.testing.assert_allclose(votes, other, rtol=1e-6)


def test_a_constant_feature_says_nothing():
  x, _ = _clusters()
  # Constant but for float32's rounding, and not constant in the queries.
  column = np.float32(0.1) + np.float32(7e-9) * (np.arange(90) % 2)
  train = np.column_stack([x[:90], column]).astype(np.float32)
  queries = np.column_stack([x[90:], np.linspace(-9, 9, 60)])
  np.testing.assert_allclose(
    knn.similarity(train, queries),
    knn.similarity(train[:, :-1], queries[:, :-1]),
    rtol=1e-5,
  )


def test_more_neighbours_than_examples_is_all_of_them():
  np.testing.assert_allclose(_vote([1, 0], k=99), _vote([1, 0], k=4))


def test_zero_features_give_no_nan():
  assert np.isfinite(_vote([0.0, 0.0], k=2)).all()


@pytest.mark.parametrize(('shift', 'low', 'high'), [(8, 1, 1), (0, 0.3, 0.7)])
def test_cross_validated_accuracy_of(shift, low, high):
  generator = np.random.default_rng(0)
  labels = np.repeat([0, 1], 100)
  features = generator.normal(size=(200, 6))
  features[:, 0] += shift * (2 * labels - 1)
  accuracy = knn.cross_validated_accuracy(
    features, labels, num_classes=2, k=10, **_FOLDS
  )
  assert low <= accuracy <= high


def _clusters(n=150, classes=3, seed=0):
  generator = np.random.default_rng(seed)
  labels = np.arange(n) % classes
  return 6 * np.eye(5)[labels] + generator.normal(size=(n, 5)), labels


def _predict(x, y, queries, **kwargs):
  settings = {'num_classes': 3, 'num_folds': 5, 'seed': 0} | kwargs
  return knn.predict(x, y, queries, **settings)


def test_separable_features_score_one_and_votes_are_probabilities():
  x, y = _clusters()
  votes, chosen = _predict(x[:90], y[:90], x[90:])
  assert (votes.argmax(axis=1) == y[90:]).all()
  np.testing.assert_allclose(votes.sum(axis=1), 1)
  assert set(chosen) == {'k', 'temperature'}


def test_labels_without_reason_score_chance():
  generator = np.random.default_rng(1)
  x, y = generator.normal(size=(900, 5)), generator.integers(0, 3, 900)
  votes, _ = _predict(x[:600], y[:600], x[600:])
  accuracy = (votes.argmax(axis=1) == y[600:]).mean()
  # Four standard errors: queries share neighbours.
  assert abs(accuracy - 1 / 3) < 4 * np.sqrt(2 / 9 / 300)


def test_choice_of_k_looks_at_the_training_rows_alone():
  x, y = _clusters()
  generator = np.random.default_rng(2)
  noisy = x + 4 * generator.normal(size=x.shape)
  _, first = _predict(noisy[:90], y[:90], noisy[90:])
  _, second = _predict(noisy[:90], y[:90], generator.normal(size=(7, 5)))
  assert first == second


def test_twins_in_one_group_do_not_flatter_the_nearest_neighbour():
  generator = np.random.default_rng(3)
  x, y = generator.normal(size=(60, 8)), generator.integers(0, 3, 60)
  x, y = np.concatenate([x, x]), np.concatenate([y, y])
  settings = {'num_classes': 3, 'k': 1, **_FOLDS}
  fooled = knn.cross_validated_accuracy(x, y, **settings)
  honest = knn.cross_validated_accuracy(
    x, y, **settings, groups=np.tile(np.arange(60), 2)
  )
  assert fooled > 0.7
  assert honest < 0.55


def test_prediction_keeps_twins_together_when_it_chooses():
  generator = np.random.default_rng(1)
  x, y = generator.normal(size=(60, 8)), generator.integers(0, 3, 60)
  x, y = np.concatenate([x, x]), np.concatenate([y, y])
  _, fooled = _predict(x, y, x[:3])
  _, honest = _predict(x, y, x[:3], groups=np.tile(np.arange(60), 2))
  # A twin next door makes the one nearest neighbour look best.
  assert fooled['k'] == 1 < honest['k']
