"""VICReg against loops over the paper's eqs. (1) to (6)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from radio_ssl.models import base as base_model
from radio_ssl.objectives import vicreg

_CONFIG = vicreg.Config(
  invariance_weight=3.0,
  variance_weight=5.0,
  covariance_weight=0.5,
  target_std=1.2,
  epsilon=1e-3,
  projector_hidden=8,
  projector_out=4,
)


def _covariance(z) -> np.ndarray:
  """Eq. (3), entry by entry."""
  count, length = z.shape
  mean = [sum(z[:, i]) / count for i in range(length)]
  matrix = np.zeros((length, length))
  for i in range(length):
    for j in range(length):
      for k in range(count):
        product = (z[k, i] - mean[i]) * (z[k, j] - mean[j])
        matrix[i, j] += product / (count - 1)
  return matrix


def _terms(z) -> tuple[float, float, float]:
  """s of eq. (5) over D; v of eqs. (1) and (2) and c of eq. (4), of both."""
  _, count, length = z.shape
  distance = sum(
    sum((a - b) ** 2 for a, b in zip(*rows, strict=True))
    for rows in zip(z[0], z[1], strict=True)
  )
  v = c = 0.0
  for view in z:
    matrix = _covariance(view)
    for i in range(length):
      std = np.sqrt(matrix[i, i] + _CONFIG.epsilon)
      v += max(0.0, _CONFIG.target_std - std) / length
      for j in range(length):
        if j != i:
          c += matrix[i, j] ** 2 / length
  return distance / count / length, v, c


def _by_the_paper(z) -> float:
  """Eq. (6)."""
  s, v, c = _terms(z)
  return 3.0 * s + 5.0 * v + 0.5 * c


def _loss(z, axis_name=None):
  """Eq. (6) of the pure functions."""
  covariance = vicreg.covariance_matrix(z, axis_name)
  hinge = vicreg.variance_hinge(covariance, target_std=1.2, epsilon=1e-3)
  penalty = vicreg.covariance_penalty(covariance)
  return 3 * vicreg.invariance(z) + jnp.sum(5 * hinge + 0.5 * penalty)


def _views(seed, count=8, length=4):
  """Some features vary more than the hinge asks for, some less."""
  z = np.random.default_rng(seed).normal(size=(2, count, length))
  return z * np.linspace(0.2, 2.5, length) + 5


@pytest.mark.parametrize('count', [2, 8])
def test_loss_equals_the_papers_formula(count):
  z = _views(0, count)
  with jax.enable_x64(True):
    loss = _loss(jnp.asarray(z))
    matrix = vicreg.covariance_matrix(jnp.asarray(z))
  np.testing.assert_allclose(loss, _by_the_paper(z), rtol=1e-10)
  for found, view in zip(matrix, z, strict=True):
    np.testing.assert_allclose(found, np.cov(view.T), rtol=1e-8, atol=1e-12)


def test_decorrelated_features_have_the_closed_form():
  # Columns of a Hadamard matrix: variance 4 / 3, covariances exactly 0.
  h = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])
  with jax.enable_x64(True):
    matrix = vicreg.covariance_matrix(jnp.asarray(0.3 * h))
    hinge = vicreg.variance_hinge(matrix, target_std=1.0, epsilon=1e-4)
    none = vicreg.covariance_penalty(matrix)
    twice = vicreg.covariance_penalty(
      vicreg.covariance_matrix(jnp.asarray(0.3 * h[:, [0, 0, 1]]))
    )
    apart = vicreg.invariance(jnp.asarray(np.stack([h, -h])))
  np.testing.assert_allclose(hinge, 1 - np.sqrt(0.12 + 1e-4), rtol=1e-12)
  np.testing.assert_allclose(none, 0, atol=1e-12)
  np.testing.assert_allclose(twice, 2 * 0.12**2 / 3, rtol=1e-12)
  np.testing.assert_allclose(apart, 4)


def test_gradient_flows_into_both_views_and_their_moments():
  z, direction = _views(1), np.random.default_rng(2).normal(size=(2, 8, 4))
  high, low = (_by_the_paper(z + sign * 1e-5 * direction) for sign in (1, -1))
  with jax.enable_x64(True):
    grad = np.asarray(jax.grad(_loss)(jnp.asarray(z)))
  np.testing.assert_allclose(
    np.sum(grad * direction), (high - low) / 2e-5, rtol=1e-6
  )


def test_two_devices_equal_one_in_loss_and_gradient():
  # The halves of the batch have different means and spreads.
  z = _views(3).astype(np.float32)
  z[:, 4:] = 2 * z[:, 4:] - 4

  def mapped(z):
    loss, grad = jax.value_and_grad(lambda x: _loss(x, 'd'))(z)
    return jax.lax.pmean(loss, 'd'), grad

  halves = jnp.asarray(z).reshape(2, 2, 4, 4).swapaxes(0, 1)
  loss, grads = jax.pmap(mapped, axis_name='d')(halves)
  expected, expected_grad = jax.value_and_grad(_loss)(jnp.asarray(z))
  np.testing.assert_allclose(loss, [expected] * 2, rtol=1e-5)
  # Each device differentiates its own loss: the mean over devices has half.
  grads = grads.swapaxes(0, 1).reshape(2, 8, 4) / 2
  np.testing.assert_allclose(grads, expected_grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('rows', [2, 8])
@pytest.mark.parametrize('value', [0.0, 1.0, 1e3])
def test_zero_and_identical_rows_have_finite_gradients(value, rows):
  loss, grad = jax.value_and_grad(_loss)(jnp.full((2, rows, 3), value))
  np.testing.assert_allclose(loss, 2 * 5 * (1.2 - 1e-3**0.5), rtol=1e-6)
  assert np.isfinite(grad).all()


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


def test_projections_of_each_view_make_the_terms():
  views = np.random.default_rng(5).normal(size=(2, 8, 4, 4, 3))
  objective = vicreg.make(
    _CONFIG, encoder=_Mean(), axis_name=None, batch_size=8
  )
  batch = {'views': {'global': jnp.asarray(views, jnp.float32)}}
  params, state = objective.init(jax.random.key(0), batch)
  generator = np.random.default_rng(6)
  layers = jax.tree.map(lambda x: 0.3 * generator.normal(size=x.shape), params)
  output = objective.loss(
    jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), layers),
    state,
    batch,
    step=jnp.int32(0),
    rng=jax.random.key(0),
  )
  z = [_project(layers['projector'], x) for x in views.mean(axis=(2, 3))]
  z = np.stack(z)
  np.testing.assert_allclose(output.loss, _by_the_paper(z), rtol=1e-4)
  names = ('invariance_loss', 'variance_loss', 'covariance_loss')
  np.testing.assert_allclose(
    [output.metrics[name] for name in names], _terms(z), rtol=1e-4
  )
  assert all(output.metrics[name] > 0 for name in names)
  features = np.concatenate(list(views.mean(axis=(2, 3))))
  np.testing.assert_allclose(output.features, features, rtol=1e-5, atol=1e-6)


def test_batch_of_one_is_refused():
  with pytest.raises(ValueError, match=r'batch_size is 1; vicreg wants 2'):
    vicreg.make(_CONFIG, encoder=_Mean(), axis_name=None, batch_size=1)


@pytest.mark.parametrize(
  ('field', 'value'),
  [('variance_weight', -1.0), ('epsilon', 0.0), ('projector_hidden', 0)],
)
def test_fields_out_of_range_are_refused(field, value):
  with pytest.raises(ValueError, match=rf'objective\.{field} is {value}'):
    vicreg.Config(**{field: value})
