"""W-MSE against loops over the paper's section 3."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from radio_ssl.models import base as base_model
from radio_ssl.objectives import wmse

_EPS = 1e-3


def _whiten(v: np.ndarray) -> np.ndarray:
  """W_V (v - mu_V) of one group [G, D], element by element."""
  count, length = v.shape
  mean = [sum(v[k, i] for k in range(count)) / count for i in range(length)]
  sigma = np.zeros((length, length))
  for i in range(length):
    for j in range(length):
      for k in range(count):
        sigma[i, j] += (v[k, i] - mean[i]) * (v[k, j] - mean[j]) / (count - 1)
  mean_variance = sum(sigma[i, i] for i in range(length)) / length
  sigma += _EPS * (mean_variance + 1e-6) * np.identity(length)
  w = np.linalg.inv(np.linalg.cholesky(sigma))
  np.testing.assert_allclose(w.T @ w, np.linalg.inv(sigma), rtol=1e-6)
  return np.stack([w @ (row - np.asarray(mean)) for row in v])


def _orders(rng, iterations: int, count: int) -> list[np.ndarray]:
  """How the batch is dealt, the only thing taken from jax."""
  rngs = jax.random.split(rng, iterations)
  return [np.asarray(jax.random.permutation(r, count)) for r in rngs]


def _by_the_paper(z, rng, size: int, iterations: int) -> np.ndarray:
  """2 - 2 cos of each image, the mean over dealings and pairs of views."""
  num_views, count, _ = z.shape
  distances = np.zeros(count)
  pairs = num_views * (num_views - 1) / 2
  for order in _orders(rng, iterations, count):
    for group in order.reshape(-1, size):
      white = [_whiten(view[group]) for view in z]
      for k, row in enumerate(group):
        for i in range(num_views):
          for j in range(i + 1, num_views):
            a, b = white[i][k], white[j][k]
            cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
            distances[row] += (2 - 2 * cosine) / pairs / iterations
  return distances


def _both(z, rng, size, iterations=1, eps=_EPS, axis_name=None):
  return wmse.w_mse(
    z,
    rng,
    whitening_size=size,
    whitening_iterations=iterations,
    whitening_eps=eps,
    axis_name=axis_name,
  )


def _loss(*args, **fields):
  return _both(*args, **fields)[0]


@pytest.mark.parametrize(
  ('num_views', 'size', 'iterations'), [(2, 12, 1), (2, 6, 3), (4, 6, 2)]
)
def test_loss_equals_the_papers_formula(num_views, size, iterations):
  generator = np.random.default_rng(0)
  z = generator.normal(size=(1, 12, 4)) @ generator.normal(size=(4, 4))
  z = z + 0.3 * generator.normal(size=(num_views, 12, 4)) + 5
  rng = jax.random.key(3)
  expected = _by_the_paper(z, rng, size, iterations).mean()
  with jax.enable_x64(True):
    loss = _loss(jnp.asarray(z), rng, size, iterations)
  np.testing.assert_allclose(loss, expected, rtol=1e-9)


def test_gradient_flows_into_both_views_and_the_covariance():
  generator = np.random.default_rng(9)
  z, direction = generator.normal(size=(2, 2, 8, 3))
  rng, h = jax.random.key(1), 1e-5
  high, low = (
    _by_the_paper(z + sign * h * direction, rng, 8, 1).mean()
    for sign in (1, -1)
  )
  with jax.enable_x64(True):
    grad = np.asarray(jax.grad(lambda x: _loss(x, rng, 8))(jnp.asarray(z)))
  np.testing.assert_allclose(
    np.sum(grad * direction), (high - low) / (2 * h), rtol=1e-6
  )


def test_whitened_rows_have_mean_zero_and_unit_covariance():
  generator = np.random.default_rng(1)
  v = generator.normal(size=(3, 20, 5)) @ generator.normal(size=(5, 5)) + 2
  with jax.enable_x64(True):
    white = np.asarray(wmse.whiten(jnp.asarray(v), eps=0.0))
  for group in white:
    np.testing.assert_allclose(group.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(group.T), np.identity(5), atol=1e-10)


@pytest.mark.parametrize('scale', [1e-2, 1e4])
def test_loss_does_not_depend_on_the_scale_of_z(scale):
  z = np.random.default_rng(2).normal(size=(2, 16, 3))
  rng = jax.random.key(0)
  with jax.enable_x64(True):
    losses = [_loss(jnp.asarray(x), rng, 16) for x in (z, scale * z)]
  np.testing.assert_allclose(*losses, rtol=1e-4)


def test_equal_and_opposite_views_have_the_closed_form():
  z = jnp.asarray(np.random.default_rng(3).normal(size=(8, 3)), jnp.float32)
  rng = jax.random.key(0)
  np.testing.assert_allclose(_loss(jnp.stack([z, z]), rng, 4), 0, atol=1e-6)
  np.testing.assert_allclose(_loss(jnp.stack([z, -z]), rng, 4), 4, rtol=1e-5)


def test_one_dimension_counts_disagreeing_signs():
  # Whitened numbers of one dimension are at +-1 when normalised: a pair is 0
  # apart or 4. The means are 0, two of the eight signs differ.
  first = np.array([1, 1, 1, 1, -1, -1, -1, -1.0])
  second = np.array([1, 1, 1, -1, 1, -1, -1, -1.0])
  z = jnp.asarray(np.stack([first, 7 * second])[..., None], jnp.float32)
  loss = _loss(z, jax.random.key(0), 8)
  np.testing.assert_allclose(loss, 4 * 2 / 8, rtol=1e-6)


def test_two_devices_equal_one_in_loss_and_gradient():
  z = np.random.default_rng(4).normal(size=(2, 16, 3)).astype(np.float32)
  rng = jax.random.key(5)

  def mapped(z):
    return jax.value_and_grad(
      lambda x: _both(x, rng, 8, 2, axis_name='d'), has_aux=True
    )(z)

  halves = jnp.asarray(z).reshape(2, 2, 8, 3).transpose(1, 0, 2, 3)
  (loss, trace), grads = jax.pmap(mapped, axis_name='d')(halves)
  (expected, expected_trace), expected_grad = jax.value_and_grad(
    lambda x: _both(x, rng, 8, 2), has_aux=True
  )(jnp.asarray(z))
  np.testing.assert_allclose(loss.mean(), expected, rtol=1e-5)
  of_rows = _by_the_paper(z.astype(np.float64), rng, 8, 2)
  np.testing.assert_allclose(
    loss, of_rows.reshape(2, 8).mean(axis=1), rtol=1e-4
  )
  np.testing.assert_allclose(trace, [expected_trace] * 2, rtol=1e-5)
  # Each device differentiates its own mean: the mean over devices has half.
  grads = grads.transpose(1, 0, 2, 3).reshape(2, 16, 3) / 2
  np.testing.assert_allclose(grads, expected_grad, atol=1e-5)


@pytest.mark.parametrize('rows', [2, 8])
@pytest.mark.parametrize('value', [0.0, 1.0, 1e3])
def test_zero_and_identical_rows_have_finite_gradients(value, rows):
  z = jnp.full((2, rows, rows - 1), value)
  loss, grad = jax.value_and_grad(
    lambda x: _loss(x, jax.random.key(0), rows, eps=1e-8)
  )(z)
  assert np.isfinite(loss)
  assert np.isfinite(grad).all()


def test_rows_on_a_line_have_finite_gradients():
  line = jnp.arange(128.0)[:, None] * jnp.ones((1, 64))
  loss, grad = jax.value_and_grad(
    lambda x: _loss(x, jax.random.key(0), 128, eps=1e-8)
  )(jnp.stack([line, line[::-1]]))
  np.testing.assert_allclose(loss, 4, rtol=1e-5)
  assert np.isfinite(grad).all()


def test_whitened_dimensions_show_what_the_ridge_hides():
  z = np.random.default_rng(5).normal(size=(2, 64, 4))
  # At one ten thousandth of the first, the others are below this ridge.
  hidden = z * np.array([1, 1e-4, 1e-4, 1e-4])
  with jax.enable_x64(True):
    rng = jax.random.key(0)
    even, all_but_one, at_default = (
      _both(jnp.asarray(x), rng, 64, eps=eps)[1]
      for x, eps in ((z, 1e-4), (hidden, 1e-4), (hidden, 1e-10))
    )
  np.testing.assert_allclose([even, all_but_one], [4, 1], rtol=5e-3)
  np.testing.assert_allclose(at_default, 4, rtol=0.05)


def test_small_dimensions_are_whitened_in_float32():
  sizes = np.logspace(0, -3, 64)
  z = np.random.default_rng(6).normal(size=(1, 128, 64)) * sizes
  z = z + 0.1 * sizes * np.random.default_rng(7).normal(size=(2, 128, 64)) + 5
  rng = jax.random.key(0)
  loss, trace = _both(jnp.asarray(z, jnp.float32), rng, 128, eps=1e-8)
  with jax.enable_x64(True):
    expected = _loss(jnp.asarray(z), rng, 128, eps=1e-8)
  np.testing.assert_allclose(loss, expected, rtol=1e-3)
  np.testing.assert_allclose(trace, 64, rtol=0.01)


class _Mean(nn.Module):
  """Features are the mean colour: nothing to train, nothing to get wrong."""

  @nn.compact
  def __call__(self, images, *, train):
    return base_model.Features(images.mean(axis=(1, 2)), None)


def test_projector_sees_both_views_in_one_batch():
  views = np.random.default_rng(6).normal(size=(2, 8, 4, 4, 3))
  config = wmse.Config(
    projector_hidden=6,
    projector_out=3,
    whitening_size=4,
    whitening_iterations=2,
    whitening_eps=_EPS,
  )
  objective = wmse.make(config, encoder=_Mean(), axis_name=None, batch_size=8)
  batch = {'views': {'global': jnp.asarray(views, jnp.float32)}}
  params, state = objective.init(jax.random.key(0), batch)
  generator = np.random.default_rng(7)
  params = jax.tree.map(
    lambda x: jnp.asarray(generator.normal(size=x.shape), jnp.float32), params
  )
  rng = jax.random.key(8)
  output = objective.loss(params, state, batch, step=jnp.int32(0), rng=rng)

  layers = jax.tree.map(
    lambda x: np.asarray(x, np.float64), params['projector']
  )
  features = np.concatenate(list(views.mean(axis=(2, 3))))
  x = features @ layers['dense1']['kernel'] + layers['dense1']['bias']
  x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
  x = np.maximum(x * layers['norm1']['scale'] + layers['norm1']['bias'], 0)
  z = x @ layers['dense_last']['kernel'] + layers['dense_last']['bias']
  expected = _by_the_paper(z.reshape(2, 8, 3), rng, 4, 2).mean()
  np.testing.assert_allclose(output.loss, expected, rtol=1e-4)
  np.testing.assert_allclose(output.features, features, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  ('size', 'out', 'batch_size', 'message'),
  [
    (128, 64, 64, r'whitening_size is 128, batch_size 64'),
    (96, 64, 128, r'whitening_size is 96, batch_size 128'),
    (64, 64, 128, r'whitening_size is 64, objective\.projector_out 64'),
  ],
)
def test_groups_that_do_not_fit_are_refused(size, out, batch_size, message):
  config = wmse.Config(whitening_size=size, projector_out=out)
  with pytest.raises(ValueError, match=message):
    wmse.make(config, encoder=_Mean(), axis_name=None, batch_size=batch_size)


@pytest.mark.parametrize(
  'fields',
  [
    {'num_views': 1},
    {'whitening_size': 0},
    {'projector_out': 0},
    {'whitening_iterations': 0},
    {'whitening_eps': 0.0},
    {'whitening_eps': 1.0},
  ],
)
def test_fields_out_of_range_are_refused(fields):
  (name, value), *_ = fields.items()
  with pytest.raises(ValueError, match=rf'objective\.{name} is {value}'):
    wmse.Config(**fields)
