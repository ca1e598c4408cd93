import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.models import base

# Of the published networks, without their classification layer.
_PARAMETERS = {'resnet18': 11_176_512, 'resnet50': 23_508_032}


def _init(encoder, images):
  rng = jax.random.key(0)
  return jax.jit(functools.partial(encoder.init, train=False))(rng, images)


def _randomise(variables):
  """Every value random, variances positive."""
  leaves, tree = jax.tree.flatten(variables)
  rng = np.random.default_rng(0)
  leaves = [
    a + rng.uniform(0.1, 0.2, a.shape).astype(a.dtype) * (a.ndim == 1)
    for a in leaves
  ]
  return jax.tree.unflatten(tree, leaves)


@pytest.mark.parametrize('name', _PARAMETERS)
def test_parameter_count_is_the_published_one(name):
  encoder = base.make_encoder({'name': name})
  images = jnp.zeros((1, 32, 32, 3))
  variables = jax.eval_shape(
    functools.partial(encoder.init, train=False), jax.random.key(0), images
  )
  count = sum(a.size for a in jax.tree.leaves(variables['params']))
  assert count == _PARAMETERS[name]


def _torch_resnet(torch, name, stem, channels):
  """The paper's network, written with PyTorch's own layers."""
  nn = torch.nn

  def conv_norm(c_in, c_out, size, stride):
    return nn.Sequential(
      nn.Conv2d(c_in, c_out, size, stride, size // 2, bias=False),
      nn.BatchNorm2d(c_out),
    )

  class Block(nn.Module):
    def __init__(self, c_in, width, stride):
      super().__init__()
      if name == 'resnet50':
        c_out = 4 * width
        sizes = [(c_in, width, 1, 1), (width, width, 3, stride)]
        sizes += [(width, c_out, 1, 1)]
      else:
        c_out = width
        sizes = [(c_in, width, 3, stride), (width, width, 3, 1)]
      self.layers = nn.ModuleList(conv_norm(*size) for size in sizes)
      if stride > 1 or c_in != c_out:
        self.skip = conv_norm(c_in, c_out, 1, stride)
      else:
        self.skip = nn.Identity()

    def forward(self, x):
      y = x
      for layer in self.layers[:-1]:
        y = torch.relu(layer(y))
      return torch.relu(self.layers[-1](y) + self.skip(x))

  counts = (3, 4, 6, 3) if name == 'resnet50' else (2, 2, 2, 2)
  layers = [
    *conv_norm(channels, 64, *((7, 2) if stem == 'imagenet' else (3, 1)))
  ]
  layers += [nn.ReLU()]
  layers += [nn.MaxPool2d(3, 2, 1)] if stem == 'imagenet' else []
  c_in = 64
  for i, count in enumerate(counts):
    for j in range(count):
      layers.append(Block(c_in, 64 * 2**i, 2 if i and not j else 1))
      c_in = 64 * 2**i * (4 if name == 'resnet50' else 1)
  return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _torch_names(name):
  """Our name of each of PyTorch's convolutions and norms, in its order."""
  counts, layers = ((3, 4, 6, 3), 3) if name == 'resnet50' else ((2,) * 4, 2)
  names = ['stem_conv', 'stem_norm']
  for i, count in enumerate(counts):
    for j in range(count):
      block = f'stage{i + 1}_block{j + 1}'
      for k in range(1, layers + 1):
        names += [f'{block}_conv{k}', f'{block}_norm{k}']
      if j == 0 and (i > 0 or name == 'resnet50'):
        names += [f'{block}_skip_conv', f'{block}_skip_norm']
  return names


def _copy_to_torch(torch, network, variables, name):
  modules = [
    m
    for m in network.modules()
    if isinstance(m, torch.nn.Conv2d | torch.nn.BatchNorm2d)
  ]
  params, stats = variables['params'], variables['batch_stats']
  for ours, module in zip(_torch_names(name), modules, strict=True):
    if isinstance(module, torch.nn.Conv2d):
      values = {'weight': params[ours]['kernel'].transpose(3, 2, 0, 1)}
    else:
      values = {
        'weight': params[ours]['scale'],
        'bias': params[ours]['bias'],
        'running_mean': stats[ours]['mean'],
        'running_var': stats[ours]['var'],
      }
    for key, value in values.items():
      getattr(module, key).data.copy_(torch.tensor(np.asarray(value)))


@pytest.mark.parametrize(
  ('name', 'stem', 'channels', 'size', 'train'),
  [
    ('resnet18', 'imagenet', 1, 64, True),
    ('resnet18', 'imagenet', 3, 61, False),
    ('resnet18', 'small', 1, 16, False),
    ('resnet50', 'imagenet', 1, 64, False),
    ('resnet50', 'small', 3, 17, True),
  ],
)
def test_features_equal_those_of_an_independent_network_in_pytorch(
  name, stem, channels, size, train
):
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    torch = pytest.importorskip('torch')
  encoder = base.make_encoder({'name': name, 'stem': stem})
  rng = np.random.default_rng(1)
  images = rng.normal(size=(4, size, size, channels)).astype(np.float32)
  variables = _randomise(_init(encoder, images))
  network = _torch_resnet(torch, name, stem, channels).train(train)
  _copy_to_torch(torch, network, variables, name)
  with torch.no_grad():
    expected = network(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()
  features, _ = jax.jit(
    lambda v, x: encoder.apply(v, x, train=train, mutable=['batch_stats'])
  )(variables, images)
  assert features.tokens is None
  np.testing.assert_allclose(features.pooled, expected, rtol=1e-3, atol=1e-4)


def test_width_multiplies_the_features():
  encoder = base.make_encoder({'name': 'resnet18', 'width': 0.25})
  images = jnp.zeros((2, 32, 32, 1))
  variables = _init(encoder, images)
  assert encoder.apply(variables, images, train=False).pooled.shape == (2, 128)


def test_blocks_with_zero_init_start_as_the_identity():
  config = {'name': 'resnet18', 'width': 0.125, 'zero_init_last': True}
  encoder = base.make_encoder(config)
  images = jax.random.normal(jax.random.key(1), (2, 32, 32, 1))
  params = _init(encoder, images)['params']
  for i in range(1, 5):
    assert not params[f'stage{i}_block2_norm2']['scale'].any()
    assert params[f'stage{i}_block2_norm1']['scale'].all()


def test_all_zero_images_give_finite_gradients():
  encoder = base.make_encoder({'name': 'resnet18', 'width': 0.125})
  images = jnp.zeros((2, 32, 32, 1))
  variables = _init(encoder, images)

  @jax.jit
  @jax.grad
  def gradient(params):
    out, _ = encoder.apply(
      {**variables, 'params': params},
      images,
      train=True,
      mutable=['batch_stats'],
    )
    return out.pooled.sum()

  gradients = gradient(variables['params'])
  assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradients))


@pytest.mark.skipif(jax.device_count() < 2, reason='needs two devices')
def test_two_devices_with_an_axis_equal_one():
  config = {'name': 'resnet18', 'width': 0.125}
  one = base.make_encoder(config)
  two = base.make_encoder(config, axis_name='device')
  images = jax.random.normal(jax.random.key(1), (8, 32, 32, 1))
  variables = _init(one, images)
  expected, state = jax.jit(
    lambda x: one.apply(variables, x, train=True, mutable=['batch_stats'])
  )(images)
  features, states = jax.pmap(
    lambda x: two.apply(variables, x, train=True, mutable=['batch_stats']),
    axis_name='device',
  )(images.reshape(2, 4, 32, 32, 1))
  np.testing.assert_allclose(
    features.pooled.reshape(8, -1), expected.pooled, rtol=1e-3, atol=1e-4
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-4),
    states,
    state,
  )


def test_images_without_a_channel_axis_are_refused():
  encoder = base.make_encoder({'name': 'resnet18'})
  with pytest.raises(ValueError, match=r'\(2, 32, 32\).*B, H, W, C'):
    encoder.init(jax.random.key(0), jnp.zeros((2, 32, 32)), train=False)


def test_tokens_to_keep_are_refused():
  encoder = base.make_encoder({'name': 'resnet18'})
  with pytest.raises(ValueError, match='keep'):
    encoder.init(
      jax.random.key(0),
      jnp.zeros((2, 32, 32, 1)),
      train=False,
      keep=jnp.zeros((2, 3), int),
    )
