"""SupCon against loops over eq. (2) of arXiv:2004.11362."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from configs import supcon_first
from radio_ssl.augment import inputs, views
from radio_ssl.data import examples
from radio_ssl.models import base as base_model
from radio_ssl.objectives import base, simclr, supcon


def _by_the_paper(z, labels, temperature: float) -> float:
  """L_out of eq. (2) over 2 N views, divided by their number.

  Images with a negative label are a class of their own.
  """
  n = len(labels)
  labels = [label if label >= 0 else -1 - i for i, label in enumerate(labels)]
  z, labels = np.concatenate(list(z)), 2 * labels

  def s(i, j):
    cosine = z[i] @ z[j] / (np.linalg.norm(z[i]) * np.linalg.norm(z[j]))
    return cosine / temperature

  total = 0.0
  for i in range(2 * n):
    others = [a for a in range(2 * n) if a != i]
    positives = [p for p in others if labels[p] == labels[i]]
    bottom = sum(np.exp(s(i, a)) for a in others)
    terms = [np.log(np.exp(s(i, p)) / bottom) for p in positives]
    total -= sum(terms) / len(positives)
  return total / (2 * n)


@pytest.mark.parametrize('temperature', [0.1, 0.5])
@pytest.mark.parametrize(
  'labels',
  [[0, 1, 1, 0, 2, 1], [3] * 6, [0, -1, 1, -1, 1, -1]],
  ids=['classes', 'one class', 'some without'],
)
def test_loss_equals_the_papers_formula(labels, temperature):
  z = np.random.default_rng(0).normal(size=(2, 6, 5))
  with jax.enable_x64(True):
    loss, _ = supcon.supervised_contrast(
      jnp.asarray(z), jnp.asarray(labels), temperature=temperature
    )
  expected = _by_the_paper(z, labels, temperature)
  np.testing.assert_allclose(loss, expected, rtol=1e-10)


@pytest.mark.parametrize('labels', [[4, 0, 3, 1], [-1] * 4, [-2, 0, -2, 1]])
def test_images_of_different_classes_and_unlabelled_ones_make_it_simclr(labels):
  z = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 5)), jnp.float32)
  loss, metrics = supcon.supervised_contrast(
    z, jnp.asarray(labels), temperature=0.3
  )
  expected, found = simclr.nt_xent(z, temperature=0.3)
  np.testing.assert_allclose(loss, expected, rtol=1e-6)
  assert metrics['contrastive_accuracy'] == found
  assert metrics['positives'] == 1


def test_classes_that_are_points_have_the_closed_form():
  # Two images of each of three orthogonal classes: three exponentials of 1 / t
  # against a view and eight ones.
  labels = np.asarray([0, 1, 2, 2, 0, 1])
  z = np.stack([np.eye(3)[labels], 2 * np.eye(3)[labels]])
  with jax.enable_x64(True):
    loss, metrics = supcon.supervised_contrast(
      jnp.asarray(z), jnp.asarray(labels), temperature=0.5
    )
  own = np.exp(2)
  np.testing.assert_allclose(loss, -np.log(own / (3 * own + 8)), rtol=1e-12)
  assert float(metrics['contrastive_accuracy']) == 1
  assert float(metrics['positives']) == 3


def test_accuracy_counts_nearest_views_of_the_class():
  # The second view of image 0 lies with image 1, of the other class.
  a, b = np.eye(2)
  z = jnp.asarray([[a, b], [0.1 * a + b, b]])
  _, metrics = supcon.supervised_contrast(
    z, jnp.asarray([0, 1]), temperature=0.5
  )
  assert metrics['contrastive_accuracy'] == 0.75


def test_two_devices_equal_one_in_loss_and_gradient():
  z = np.random.default_rng(2).normal(size=(2, 8, 5)).astype(np.float32)
  labels = np.asarray([0, 1, -1, 2, 0, -1, 1, 0], np.int32)

  def loss(z, labels, axis_name=None):
    return supcon.supervised_contrast(
      z, labels, temperature=0.2, axis_name=axis_name
    )

  def mapped(z, labels):
    out, grad = jax.value_and_grad(loss, has_aux=True)(z, labels, 'd')
    return jax.lax.pmean(out, 'd'), grad

  halves = jnp.asarray(z).reshape(2, 2, 4, 5).transpose(1, 0, 2, 3)
  found, grads = jax.pmap(mapped, axis_name='d')(halves, labels.reshape(2, 4))
  expected, expected_grad = jax.value_and_grad(loss, has_aux=True)(
    jnp.asarray(z), jnp.asarray(labels)
  )
  for device in (0, 1):
    jax.tree.map(
      lambda a, b, d=device: np.testing.assert_allclose(a[d], b, rtol=1e-6),
      found,
      expected,
    )
  # Each device differentiates its own mean: the mean over devices has half.
  grads = grads.transpose(1, 0, 2, 3).reshape(2, 8, 5) / 2
  np.testing.assert_allclose(grads, expected_grad, atol=1e-6)


@pytest.mark.parametrize('labels', [[0, 0], [0, 1], [-1, -1]])
@pytest.mark.parametrize('value', [0.0, 1.0])
def test_identical_and_zero_rows_have_finite_gradients(value, labels):
  z = jnp.full((2, 2, 3), value)
  loss, grad = jax.value_and_grad(
    lambda x: supcon.supervised_contrast(
      x, jnp.asarray(labels), temperature=0.1
    )[0]
  )(z)
  np.testing.assert_allclose(loss, np.log(3), rtol=1e-6)
  assert np.isfinite(grad).all()


class _Mean(nn.Module):
  """Features are the mean colour: nothing to train, nothing to get wrong."""

  @nn.compact
  def __call__(self, images, *, train):
    return base_model.Features(images.mean(axis=(1, 2)), None)


def test_whole_loss_contrasts_both_views_of_all_images_by_their_labels():
  images = np.random.default_rng(3).normal(size=(2, 6, 4, 4, 3))
  labels = np.asarray([1, 0, -1, 1, 1, 0])
  config = supcon.Config(temperature=0.3, projector_out=5)
  objective = supcon.make(config, encoder=_Mean(), axis_name=None)
  batch = {
    'views': {'global': jnp.asarray(images, jnp.float32)},
    'label': jnp.asarray(labels),
  }
  # The first state is made of images without labels.
  params, state = objective.init(
    jax.random.key(0), {'views': batch['views'], 'index': jnp.arange(6)}
  )
  generator = np.random.default_rng(4)
  params = jax.tree.map(
    lambda x: jnp.asarray(generator.normal(size=x.shape), jnp.float32), params
  )
  output = objective.loss(
    params, state, batch, step=jnp.int32(0), rng=jax.random.key(0)
  )
  head = jax.tree.map(lambda x: np.asarray(x, np.float64), params['projector'])
  # As wide as the features, and without BatchNorm.
  assert set(head) == {'dense1', 'dense_last'}
  assert head['dense1']['kernel'].shape == (3, 3)
  x = images.mean(axis=(2, 3)) @ head['dense1']['kernel']
  x = np.maximum(x + head['dense1']['bias'], 0)
  z = x @ head['dense_last']['kernel'] + head['dense_last']['bias']
  np.testing.assert_allclose(
    output.loss, _by_the_paper(z, labels, 0.3), rtol=1e-5
  )
  assert output.features.shape == (12, 3)
  assert set(output.model_state) == set(state)


def test_labels_are_declared():
  assert base.needs_labels(base.module('supcon'))
  assert not base.needs_labels(base.module('simclr'))


def test_temperature_must_be_positive():
  with pytest.raises(ValueError, match=r'objective\.temperature is 0'):
    supcon.Config(temperature=0)


def test_config_makes_its_views_of_mirabests_fits():
  config = supcon_first.get_config()
  assert config.data.split == 'train'
  # No single beam: the declination changes it.
  mirabest = examples.Geometry(300, 300, 'float32', 1.8, None, None)
  group = views.parse(config.views['global'], 'global')
  make = views.make_views(
    inputs.parse(config.input),
    {'global': group},
    supcon.SupCon.views,
    mirabest,
  )
  blank = {
    'image': jnp.zeros((1, 300, 300, 1)),
    'background': jnp.zeros(1),
    'rms': jnp.ones(1),
    'row': jnp.arange(1),
  }
  made = jax.eval_shape(make, blank, jax.random.key(0))
  assert made['global'].shape == (2, 1, 64, 64, 1)
