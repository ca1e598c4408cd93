"""kNN votes against hand-made neighbours."""

import numpy as np
import pytest

from radio_ssl.evaluate import knn

_TRAIN = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 5.0], [-1.0, 0.0]])
_LABELS = np.array([0, 0, 1, 1])


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
  weights = np.exp(np.array([1.0, 0.9 / np.hypot(0.9, 0.1), 0.0]) / 0.5)
  expected = [weights[:2].sum() / weights.sum(), weights[2] / weights.sum()]
  np.testing.assert_allclose(_vote([1.0, 0.0], k=3, temperature=0.5), expected)


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
  accuracy = knn.cross_validated_accuracy(features, labels, num_classes=2)
  assert low <= accuracy <= high
