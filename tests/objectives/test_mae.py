"""MAE's loss against loops; which patches are seen, hidden and predicted."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from radio_ssl.augment import masks
from radio_ssl.models import base as models
from radio_ssl.models import vit
from radio_ssl.objectives import mae

_ROWS, _SIDE, _PATCH = 3, 8, 4


class _Pixels(nn.Module):
  """Tokens are the pixels of the patches: nothing to train."""

  patch_size: int = _PATCH

  @nn.compact
  def __call__(self, images, *, train, keep=None):
    tokens = vit.patchify(images, self.patch_size)
    if keep is not None:
      tokens = jnp.stack([t[k] for t, k in zip(tokens, keep, strict=True)])
    return models.Features(tokens.mean(axis=1), tokens)


def _batch():
  generator = np.random.default_rng(0)
  images = generator.normal(size=(1, _ROWS, _SIDE, _SIDE, 2))
  orders = generator.permuted(np.tile(np.arange(4), (1, _ROWS, 1)), axis=2)
  return {
    'views': {'global': jnp.asarray(images)},
    'masks': {'global': jnp.asarray(orders)},
  }


def _by_the_paper(p, pixels, norm_pix):
  """Section 3: squares of each hidden pixel, one at a time; and in pixels."""
  losses, errors = [], []
  for row, truth in zip(p, pixels, strict=True):
    for predicted, patch in zip(row, truth, strict=True):
      mean, scale = 0.0, 1.0
      if norm_pix:
        mean = sum(patch) / len(patch)
        variance = sum((x - mean) ** 2 for x in patch) / len(patch)
        scale = np.sqrt(variance + 1e-6)
      for guess, x in zip(predicted, patch, strict=True):
        losses.append((guess - (x - mean) / scale) ** 2)
        errors.append((guess * scale + mean - x) ** 2)
  return np.mean(losses), np.mean(errors)


@pytest.mark.parametrize('norm_pix', [True, False])
def test_loss_equals_the_papers_sum(norm_pix):
  p, pixels = np.random.default_rng(0).normal(1, 2, size=(2, 4, 3, 6))
  with jax.enable_x64(True):
    actual = mae.reconstruction_loss(
      jnp.asarray(p), jnp.asarray(pixels), norm_pix=norm_pix
    )
  np.testing.assert_allclose(
    actual, _by_the_paper(p, pixels, norm_pix), rtol=1e-10
  )


def test_nothing_predicted_has_the_closed_form():
  # Half the pixels of every patch 1, half 3: variance 1.
  pixels = jnp.tile(jnp.asarray([1.0, 3.0]), (2, 5, 4))
  p = jnp.zeros_like(pixels)
  np.testing.assert_allclose(
    mae.reconstruction_loss(p, pixels, norm_pix=True), (1, 1), rtol=1e-5
  )
  np.testing.assert_allclose(
    mae.reconstruction_loss(p, pixels, norm_pix=False), (5, 5), rtol=1e-6
  )


@pytest.mark.parametrize('norm_pix', [True, False])
@pytest.mark.parametrize('num', [1, 2])
def test_blank_patches_have_finite_gradients(norm_pix, num):
  zero = jnp.zeros((num, 2, 4))
  loss, gradient = jax.value_and_grad(
    lambda p: mae.reconstruction_loss(p, zero, norm_pix=norm_pix)[0]
  )(zero)
  assert loss == 0
  assert np.isfinite(gradient).all()


def test_sine_cosine_at_a_place_is_its_formula():
  with jax.enable_x64(True):
    actual = np.asarray(mae.sine_cosine((3, 5), 8))
  for y in range(3):
    for x in range(5):
      expected = []
      for place in (y, x):
        angles = [place / 10000 ** (k / 2) for k in range(2)]
        expected += [np.sin(a) for a in angles] + [np.cos(a) for a in angles]
      np.testing.assert_allclose(actual[5 * y + x], expected, rtol=1e-12)


def _random(tree, seed):
  generator = np.random.default_rng(seed)
  return jax.tree.map(lambda x: generator.normal(size=x.shape) / 3, tree)


def _norm(layer, x):
  x = x - x.mean(axis=-1, keepdims=True)
  x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6)
  return x * layer['scale'] + layer['bias']


def _prediction(decoder, patches, shown, position):
  """All patches of one image, in their own order, from the shown ones.

  Hidden ones are mask tokens *in place*, as in figure 1 of the paper.
  """
  embed = decoder['embed']
  tokens = np.tile(decoder['mask_token'], (len(patches), 1))
  for patch in shown:
    tokens[patch] = patches[patch] @ embed['kernel'] + embed['bias']
  pooled = np.mean([patches[patch] for patch in shown], axis=0)
  x = np.concatenate(
    [[pooled @ embed['kernel'] + embed['bias']], tokens + position]
  )
  # The block has a test of its own.
  block = vit.Block(heads=2)
  x = block.apply({'params': decoder['block1']}, jnp.asarray(x)[None])[0]
  x = _norm(decoder['norm'], np.asarray(x))[1:]
  return x @ decoder['pixels']['kernel'] + decoder['pixels']['bias']


@pytest.mark.parametrize('norm_pix', [True, False])
def test_hidden_patches_are_predicted_from_the_shown_ones_alone(norm_pix):
  config = mae.Config(
    mask_ratio=0.5,
    norm_pix=norm_pix,
    decoder_width=8,
    decoder_depth=1,
    decoder_heads=2,
  )
  objective = mae.make(config, encoder=_Pixels(), axis_name=None)
  with jax.enable_x64(True):
    batch = _batch()
    params, state = objective.init(jax.random.key(0), batch)
    params = _random(params, 1)
    output = objective.loss(params, state, batch, step=0, rng=None)
    orders = np.asarray(batch['masks']['global'][0])
    position = np.asarray(mae.sine_cosine((2, 2), 8))
    losses, pooled = [], []
    patches = np.asarray(vit.patchify(batch['views']['global'][0], _PATCH))
    for own, order in zip(patches, orders, strict=True):
      p = _prediction(params['decoder'], own, order[:2], position)
      hidden = order[2:]
      losses.append(_by_the_paper(p[hidden][None], own[hidden][None], norm_pix))
      pooled.append(own[order[:2]].mean(axis=0))
  loss, error = np.mean(losses, axis=0)
  np.testing.assert_allclose(output.loss, loss, rtol=1e-9)
  np.testing.assert_allclose(
    output.metrics['reconstruction_error'], error, rtol=1e-9
  )
  np.testing.assert_allclose(output.features, pooled, rtol=1e-9)
  assert output.model_state == {} == state


def test_what_is_shown_tells_what_is_hidden():
  encoder = vit.ViT(
    depth=1,
    features=16,
    heads=2,
    patch_size=4,
    base_size_pix=16,
    registers=0,
    pool='mean',
    dtype=jnp.float32,
  )
  config = mae.Config(
    norm_pix=False, decoder_width=16, decoder_depth=1, decoder_heads=2
  )
  objective = mae.make(config, encoder=encoder)
  tx = optax.adam(3e-3)

  def batch(rng):
    # Of one brightness each, and another one at each step: nothing can be
    # learnt by heart.
    images = jax.random.normal(rng, (1, 64, 1, 1, 1))
    views = {'global': jnp.broadcast_to(images, (1, 64, 16, 16, 1))}
    hidden = masks.make(objective.masks, views, rng, jnp.arange(64))
    return {'views': views, 'masks': hidden}

  @jax.jit
  def train(params):
    def step(carry, rng):
      params, opt_state = carry
      loss, gradients = jax.value_and_grad(
        lambda p: objective.loss(p, {}, batch(rng), step=0, rng=rng).loss
      )(params)
      updates, opt_state = tx.update(gradients, opt_state)
      return (optax.apply_updates(params, updates), opt_state), loss

    rngs = jax.random.split(jax.random.key(1), 100)
    return jax.lax.scan(step, (params, tx.init(params)), rngs)[1]

  params, _ = objective.init(jax.random.key(0), batch(jax.random.key(0)))
  losses = train(params)
  # Who sees nothing is wrong by the variance, 1.
  assert losses[-10:].mean() < 0.1


@pytest.mark.parametrize(
  ('num_patches', 'ratio', 'visible'),
  [(64, 0.75, 16), (196, 0.75, 49), (16, 0.9, 2), (100, 0.9, 10)],
)
def test_number_of_visible_patches(num_patches, ratio, visible):
  assert mae.num_visible(num_patches, ratio) == visible


@pytest.mark.parametrize('ratio', [0.99, 0.01])
def test_a_mask_of_all_or_nothing_is_refused(ratio):
  with pytest.raises(ValueError, match=rf'mask_ratio is {ratio}: of 4 patches'):
    mae.num_visible(4, ratio)


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('mask_ratio', 1.0),
    ('mask_ratio', 0.0),
    ('decoder_depth', 0),
    ('decoder_heads', 0),
    ('decoder_width', 0),
    ('decoder_width', 10),
    ('decoder_width', 130),
  ],
)
def test_a_field_without_a_meaning_is_refused(field, value):
  with pytest.raises(ValueError, match=rf'objective\.{field} is {value}'):
    mae.Config(**{field: value})
