"""Collapse monitors on features whose spread is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.train import monitors


def test_orthogonal_features_have_full_rank():
  result = monitors.collapse(3 * jnp.eye(8))
  np.testing.assert_allclose(result['effective_rank'], 8, rtol=1e-5)


def test_collapsed_features_have_rank_one_and_no_spread():
  result = monitors.collapse(jnp.ones((16, 4)))
  np.testing.assert_allclose(result['effective_rank'], 1, rtol=1e-4)
  np.testing.assert_allclose(result['feature_std'], 0, atol=1e-6)


def test_features_spread_over_the_sphere_have_unit_spread():
  features = np.random.default_rng(0).normal(size=(4000, 32))
  result = monitors.collapse(jnp.asarray(features, jnp.float32))
  assert float(result['feature_std']) == pytest.approx(1, abs=0.02)


def test_rank_follows_the_entropy_of_the_singular_values():
  values = np.array([4.0, 2.0, 1.0, 1.0])
  share = values / values.sum()
  expected = np.exp(-(share * np.log(share)).sum())
  result = monitors.collapse(jnp.diag(jnp.asarray(values, jnp.float32)))
  np.testing.assert_allclose(result['effective_rank'], expected, rtol=1e-5)


def test_zero_features_give_no_nan():
  result = monitors.collapse(jnp.zeros((4, 3)))
  assert all(np.isfinite(v) for v in result.values())
