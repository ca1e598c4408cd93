"""Barlow Twins against loops over the paper's eqs. (1) and (2)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from radio_ssl.models import base as base_model
from radio_ssl.objectives import barlow_twins


def _correlation(z, eps: float) -> np.ndarray:
  """Eq. (2), entry by entry, of features with their mean taken out."""
  _, count, length = z.shape
  first, second = (
    view - [sum(view[:, i]) / count for i in range(length)] for view in z
  )
  matrix = np.zeros((length, length))
  for i in range(length):
    for j in range(length):
      dot = sum(first[b, i] * second[b, j] for b in range(count))
      norm_first = sum(first[b, i] ** 2 for b in range(count)) + count * eps
      norm_second = sum(second[b, j] ** 2 for b in range(count)) + count * eps
      matrix[i, j] = dot / np.sqrt(norm_first * norm_second)
  return matrix


def _by_the_paper(z, weight: float, eps: float = 1e-5) -> float:
  """Eq. (1)."""
  matrix, total = _correlation(z, eps), 0.0
  for i in range(len(matrix)):
    for j in range(len(matrix)):
      if i == j:
        total += (1 - matrix[i, i]) ** 2
      else:
        total += weight * matrix[i, j] ** 2
  return total


def _loss(z, weight=0.3, axis_name=None):
  return barlow_twins.redundancy_reduction(
    barlow_twins.cross_correlation(z, axis_name=axis_name),
    redundancy_weight=weight,
  )


@pytest.mark.parametrize('eps', [0.0, 0.1])
def test_correlation_equals_the_papers_formula(eps):
  z = np.random.default_rng(0).normal(size=(2, 9, 4)) * 3 + 5
  with jax.enable_x64(True):
    found = barlow_twins.cross_correlation(jnp.asarray(z), eps=eps)
  np.testing.assert_allclose(found, _correlation(z, eps), rtol=1e-9)
  if not eps:
    pearson = np.corrcoef(z[0].T, z[1].T)[:4, 4:]
    np.testing.assert_allclose(found, pearson, rtol=1e-9)


@pytest.mark.parametrize('weight', [0.0, 0.0051, 2.0])
def test_loss_equals_the_papers_formula(weight):
  z = np.random.default_rng(1).normal(size=(2, 9, 4))
  with jax.enable_x64(True):
    loss = _loss(jnp.asarray(z), weight)
  np.testing.assert_allclose(loss, _by_the_paper(z, weight), rtol=1e-9)


def test_whole_and_duplicated_features_have_the_closed_form():
  # Columns of a Hadamard matrix: means 0, correlations exactly 0 and 1.
  h = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])
  same, twice = np.stack([h, 5 * h]), np.stack([h[:, [0, 0, 1]]] * 2)
  with jax.enable_x64(True):
    zero, two, opposite = (
      _loss(jnp.asarray(1e3 * z), 0.3) for z in (same, twice, np.stack([h, -h]))
    )
  np.testing.assert_allclose(zero, 0, atol=1e-9)
  np.testing.assert_allclose(two, 2 * 0.3, rtol=1e-9)
  np.testing.assert_allclose(opposite, 3 * (1 + 1) ** 2, rtol=1e-9)


def test_gradient_flows_into_both_views_and_their_moments():
  generator = np.random.default_rng(2)
  z, direction = generator.normal(size=(2, 2, 8, 3))
  high, low = (
    _by_the_paper(z + sign * 1e-5 * direction, 0.3) for sign in (1, -1)
  )
  with jax.enable_x64(True):
    grad = np.asarray(jax.grad(_loss)(jnp.asarray(z)))
  np.testing.assert_allclose(
    np.sum(grad * direction), (high - low) / 2e-5, rtol=1e-6
  )


def test_two_devices_equal_one_in_loss_and_gradient():
  # The halves of the batch have different means and spreads.
  z = np.random.default_rng(3).normal(size=(2, 8, 5)).astype(np.float32)
  z[:, 4:] = 3 * z[:, 4:] + 2

  def mapped(z):
    return jax.value_and_grad(lambda x: _loss(x, axis_name='d'))(z)

  halves = jnp.asarray(z).reshape(2, 2, 4, 5).swapaxes(0, 1)
  loss, grads = jax.pmap(mapped, axis_name='d')(halves)
  expected, expected_grad = jax.value_and_grad(_loss)(jnp.asarray(z))
  np.testing.assert_allclose(loss, [expected] * 2, rtol=1e-5)
  # Each device differentiates its own loss: the mean over devices has half.
  grads = grads.swapaxes(0, 1).reshape(2, 8, 5) / 2
  np.testing.assert_allclose(grads, expected_grad, atol=1e-6)


@pytest.mark.parametrize('rows', [2, 8])
@pytest.mark.parametrize('value', [0.0, 1.0, 1e3])
def test_features_that_do_not_vary_correlate_with_none(value, rows):
  loss, grad = jax.value_and_grad(_loss)(jnp.full((2, rows, 3), value))
  np.testing.assert_allclose(loss, 3, rtol=1e-6)
  assert np.isfinite(grad).all()


def test_batch_of_two_has_finite_gradients():
  z = jnp.asarray(np.random.default_rng(4).normal(size=(2, 2, 3)), jnp.float32)
  for views in (z, jnp.stack([z[0], z[0]])):
    loss, grad = jax.value_and_grad(_loss)(views)
    assert np.isfinite(loss) and np.isfinite(grad).all()


class _Mean(nn.Module):
  """Features are the mean colour: nothing to train, nothing to get wrong."""

  @nn.compact
  def __call__(self, images, *, train):
    return base_model.Features(images.mean(axis=(1, 2)), None)


def _project(layers, x):
  for i in (1, 2):
    norm = layers[f'norm{i}']
    x = x @ layers[f'dense{i}']['kernel']
    x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
    x = np.maximum(x * norm['scale'] + norm['bias'], 0)
  return x @ layers['dense_last']['kernel']


def test_projections_of_each_view_are_correlated():
  views = np.random.default_rng(5).normal(size=(2, 8, 4, 4, 3))
  config = barlow_twins.Config(
    redundancy_weight=0.3, scale_loss=0.1, projector_hidden=8, projector_out=4
  )
  objective = barlow_twins.make(config, encoder=_Mean(), axis_name=None)
  batch = {'views': {'global': jnp.asarray(views, jnp.float32)}}
  params, state = objective.init(jax.random.key(0), batch)
  generator = np.random.default_rng(6)
  layers = jax.tree.map(lambda x: generator.normal(size=x.shape), params)
  output = objective.loss(
    jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), layers),
    state,
    batch,
    step=jnp.int32(0),
    rng=jax.random.key(0),
  )
  z = [_project(layers['projector'], x) for x in views.mean(axis=(2, 3))]
  z = np.stack(z)
  np.testing.assert_allclose(
    output.loss, 0.1 * _by_the_paper(z, 0.3), rtol=1e-4
  )
  matrix = _correlation(z, 1e-5)
  same = np.eye(4, dtype=bool)
  np.testing.assert_allclose(
    [
      output.metrics['diagonal_correlation'],
      output.metrics['off_diagonal_correlation_rms'],
    ],
    [matrix[same].mean(), np.sqrt((matrix[~same] ** 2).mean())],
    rtol=1e-4,
  )
  features = np.concatenate(list(views.mean(axis=(2, 3))))
  np.testing.assert_allclose(output.features, features, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  ('field', 'value'),
  [('redundancy_weight', -0.1), ('scale_loss', 0.0), ('projector_out', 0)],
)
def test_fields_out_of_range_are_refused(field, value):
  with pytest.raises(ValueError, match=rf'objective\.{field} is {value}'):
    barlow_twins.Config(**{field: value})
