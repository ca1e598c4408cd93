"""The ViT against NumPy in float64; its position embedding; its sizes."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.models import base, vit


def _tiny(**fields):
  default = {
    'depth': 2,
    'features': 12,
    'heads': 3,
    'patch_size': 4,
    'base_size_pix': 16,
    'registers': 2,
    'pool': 'class',
    'dtype': jnp.float32,
  }
  return vit.ViT(**(default | fields))


def _images(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape)


def _init(encoder, images):
  init = jax.jit(functools.partial(encoder.init, train=False))
  return init(jax.random.key(0), jnp.asarray(images, jnp.float32))


def _random(tree, seed=1):
  """float64 parameters of that shape, biases and scales among them."""
  generator = np.random.default_rng(seed)
  return jax.tree.map(lambda x: generator.normal(size=x.shape) / 3, tree)


def _dense(layer, x):
  return x @ layer['kernel'] + layer['bias']


def _norm(layer, x):
  x = x - x.mean(axis=-1, keepdims=True)
  x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6)
  return x * layer['scale'] + layer['bias']


def _attention(layers, x, heads):
  """Scaled dot products, one head and one token at a time, [N, D]."""
  q, k, v = np.split(_dense(layers['qkv'], x), 3, axis=1)
  width = x.shape[1] // heads
  result = np.zeros_like(x)
  for head in range(heads):
    part = slice(head * width, (head + 1) * width)
    for i in range(len(x)):
      scores = [np.exp(q[i, part] @ row / np.sqrt(width)) for row in k[:, part]]
      share = np.array(scores) / sum(scores)
      result[i, part] = share @ v[:, part]
  return _dense(layers['out'], result)


def _block(layers, x, heads):
  x = x + _attention(layers, _norm(layers['norm1'], x), heads)
  y = _dense(layers['mlp1'], _norm(layers['norm2'], x))
  y = np.vectorize(lambda u: u * (1 + math.erf(u / math.sqrt(2))) / 2)(y)
  return x + _dense(layers['mlp2'], y)


def _forward(params, image, encoder, keep):
  """(class token, tokens) of one image, eqs. (1) to (4) of the paper."""
  size = encoder.patch_size
  patches = [
    image[y : y + size, x : x + size].ravel()
    for y in range(0, image.shape[0], size)
    for x in range(0, image.shape[1], size)
  ]
  position = params['position']
  x = _dense(params['patches'], np.array(patches)) + position[1:]
  first = params['class_token'] + position[:1]
  x = np.concatenate([first, params['registers'], x[list(keep)]])
  for i in range(encoder.depth):
    x = _block(params[f'block{i + 1}'], x, encoder.heads)
  x = _norm(params['norm'], x)
  return x[0], x[1 + encoder.registers :]


def test_attention_block_equals_its_equations():
  x = _images(2, 5, 12)
  block = vit.Block(heads=3)
  params = _random(block.init(jax.random.key(0), jnp.asarray(x))['params'])
  with jax.enable_x64(True):
    actual = block.apply({'params': params}, jnp.asarray(x))
  expected = [_block(params, tokens, heads=3) for tokens in x]
  np.testing.assert_allclose(actual, expected, rtol=1e-9)


@pytest.mark.parametrize('pool', ['class', 'mean'])
@pytest.mark.parametrize('keep', [None, [7, 0, 12, 3]])
def test_features_equal_those_of_the_equations(pool, keep):
  images = _images(2, 16, 16, 3)
  encoder = _tiny(pool=pool, dtype=jnp.float64)
  params = _random(_init(_tiny(), images)['params'])
  # Another choice for each image.
  kept = None if keep is None else np.array([keep, keep[::-1]])
  with jax.enable_x64(True):
    features = encoder.apply(
      {'params': params},
      jnp.asarray(images),
      train=False,
      keep=None if kept is None else jnp.asarray(kept),
    )
  kept = [range(16)] * 2 if kept is None else kept
  for i, (image, order) in enumerate(zip(images, kept, strict=True)):
    pooled, tokens = _forward(params, image, encoder, order)
    if pool == 'mean':
      pooled = tokens.mean(axis=0)
    np.testing.assert_allclose(features.tokens[i], tokens, rtol=1e-8)
    np.testing.assert_allclose(features.pooled[i], pooled, rtol=1e-8)


def test_all_patches_in_order_are_as_good_as_no_choice():
  images = jnp.asarray(_images(2, 16, 16, 1), jnp.float32)
  encoder = _tiny()
  variables = _init(encoder, images)
  keep = jnp.tile(jnp.arange(16), (2, 1))
  chosen = encoder.apply(variables, images, train=True, keep=keep)
  everything = encoder.apply(variables, images, train=True)
  np.testing.assert_array_equal(chosen.pooled, everything.pooled)
  np.testing.assert_array_equal(chosen.tokens, everything.tokens)


def test_position_on_its_own_grid_is_the_parameter():
  position = jnp.asarray(_images(36, 5), jnp.float32)
  np.testing.assert_array_equal(vit.on_grid(position, (6, 6)), position)


def _ramp(side):
  """Rows and columns of the centres of patches, in [0, 1]: [side * side, 2]."""
  centres = (np.arange(side) + 0.5) / side
  return np.stack(np.meshgrid(centres, centres, indexing='ij'), -1).reshape(
    -1, 2
  )


@pytest.mark.parametrize(('old', 'new', 'edge'), [(8, 16, 4), (16, 8, 2)])
def test_position_on_another_grid_keeps_a_ramp(old, new, edge):
  actual = vit.on_grid(jnp.asarray(_ramp(old), jnp.float32), (new, new))
  # The outermost ones are made of what lies inside alone.
  inner = np.s_[edge:-edge, edge:-edge]
  np.testing.assert_allclose(
    actual.reshape(new, new, 2)[inner],
    _ramp(new).reshape(new, new, 2)[inner],
    atol=1e-6,
  )


def test_position_on_a_coarser_grid_is_smoothed():
  stripes = np.tile(np.arange(16) % 4 == 0, 16)[:, None]
  coarse = vit.on_grid(jnp.asarray(stripes, jnp.float32), (4, 4))
  np.testing.assert_allclose(coarse, 0.25, atol=0.1)


def test_position_knows_rows_from_columns():
  position = jnp.arange(16.0)[:, None]
  wide = vit.on_grid(position, (4, 8)).reshape(4, 8)
  np.testing.assert_allclose(np.diff(wide, axis=0), 4, atol=1e-5)


def test_one_set_of_parameters_takes_crops_of_two_sizes():
  encoder = base.make_encoder({'name': 'vit_tiny'})
  encoder = encoder.clone(depth=1)
  variables = _init(encoder, np.zeros((1, 32, 32, 1)))
  for size, num_patches in ((64, 64), (32, 16)):
    images = jnp.asarray(_images(2, size, size, 1), jnp.float32)
    features = encoder.apply(variables, images, train=True)
    assert features.pooled.shape == (2, 192)
    assert features.tokens.shape == (2, num_patches, 192)
    assert np.isfinite(features.tokens).all()


# Of Touvron et al. 2021, table 1 and their code, in millions, with a layer for
# 1000 classes.
@pytest.mark.parametrize(
  ('name', 'width', 'published'),
  [('vit_tiny', 192, 5.7), ('vit_small', 384, 22.1), ('vit_base', 768, 86.6)],
)
def test_parameter_count_is_the_published_one(name, width, published):
  fields = {'patch_size': 16, 'base_size_pix': 224, 'registers': 0}
  encoder = base.make_encoder({'name': name, **fields})
  init = functools.partial(encoder.init, train=False)
  images = jnp.zeros((1, 224, 224, 3))
  params = jax.eval_shape(init, jax.random.key(0), images)['params']
  count = sum(a.size for a in jax.tree.leaves(params))
  patches = 16 * 16 * 3 * width + width
  position, class_token = (14 * 14 + 1) * width, width
  attention = width * 3 * width + 3 * width + width * width + width
  mlp = width * 4 * width + 4 * width + 4 * width * width + width
  norm = 2 * width
  block = attention + mlp + 2 * norm
  assert count == patches + position + class_token + 12 * block + norm
  assert round((count + 1000 * width + 1000) / 1e6, 1) == published


@pytest.mark.parametrize('registers', [0, 4])
def test_registers_are_no_patches(registers):
  images = jnp.zeros((1, 16, 16, 1))
  init = functools.partial(
    _tiny(registers=registers).init_with_output, train=False
  )
  features, variables = jax.eval_shape(init, jax.random.key(0), images)
  assert features.tokens.shape == (1, 16, 12)
  assert ('registers' in variables['params']) == (registers > 0)


def test_bfloat16_keeps_its_parameters_in_float32():
  images = jnp.asarray(_images(2, 16, 16, 1), jnp.float32)
  encoder = _tiny(dtype=jnp.bfloat16)
  variables = _init(encoder, images)
  assert {x.dtype.name for x in jax.tree.leaves(variables)} == {'float32'}
  features = encoder.apply(variables, images, train=True)
  assert features.tokens.dtype == jnp.bfloat16
  exact = _tiny().apply(variables, images, train=True)
  np.testing.assert_allclose(
    np.asarray(features.pooled, np.float32), exact.pooled, atol=0.1
  )


def test_blank_images_have_finite_gradients():
  images = jnp.zeros((2, 16, 16, 1))
  encoder = _tiny()
  variables = _init(encoder, images)

  def total(variables):
    return encoder.apply(variables, images, train=True).pooled[:, 0].sum()

  gradients = jax.tree.leaves(jax.grad(total)(variables))
  assert all(jnp.isfinite(g).all() for g in gradients)


def test_images_that_patches_do_not_tile_are_refused():
  with pytest.raises(ValueError, match=r'is 30; .*patch_size, which is 4'):
    _init(_tiny(), np.zeros((1, 16, 30, 1)))


def test_images_without_a_channel_axis_are_refused():
  with pytest.raises(ValueError, match=r'\(2, 16, 16\).*B, H, W, C'):
    _init(_tiny(), np.zeros((2, 16, 16)))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'patch_size': 0}, 'patch_size is 0'),
    ({'base_size_pix': 60}, 'base_size_pix is 60; .* which is 8'),
    ({'base_size_pix': 0}, 'base_size_pix is 0'),
    ({'registers': -1}, 'registers is -1'),
    ({'pool': 'max'}, "No pool 'max'; there are: class, mean"),
    ({'dtype': 'int8'}, "No dtype 'int8'"),
  ],
)
def test_a_field_without_a_meaning_is_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    base.make_encoder({'name': 'vit_tiny', **fields})
