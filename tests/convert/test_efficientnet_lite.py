"""The converted weights give what PyTorch's own layers give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.convert import efficientnet_lite
from radio_ssl.models import base

# Blocks, kernel, stride, expansion, channels: table 1 of arXiv:1905.11946.
STAGES = [
  (1, 3, 1, 1, 16),
  (2, 3, 2, 6, 24),
  (2, 5, 2, 6, 40),
  (3, 3, 2, 6, 80),
  (3, 5, 1, 6, 112),
  (4, 5, 2, 6, 192),
  (1, 3, 1, 6, 320),
]


def _blocks():
  """(kernel, stride, expansion, in, out) of the 16 blocks."""
  channels = 32
  for count, size, stride, expand, out in STAGES:
    for n in range(count):
      yield size, stride if n == 0 else 1, expand, channels, out
      channels = out


@pytest.fixture(scope='module')
def state():
  """A state_dict of random weights, under the names of the file."""
  rng = np.random.default_rng(0)
  made = {}

  def conv(name, out, into, size):
    scale = 1 / np.sqrt(into * size * size)
    made[f'{name}.weight'] = rng.normal(0, scale, (out, into, size, size))

  def norm(name, channels):
    made[f'{name}.weight'] = rng.uniform(0.5, 1.5, channels)
    made[f'{name}.bias'] = rng.normal(0, 0.2, channels)
    made[f'{name}.running_mean'] = rng.normal(0, 0.2, channels)
    made[f'{name}.running_var'] = rng.uniform(0.5, 1.5, channels)
    made[f'{name}.num_batches_tracked'] = np.array(3)

  conv('_conv_stem', 32, 3, 3)
  norm('_bn0', 32)
  for n, (size, _, expand, into, out) in enumerate(_blocks()):
    hidden = into * expand
    if expand > 1:
      conv(f'_blocks.{n}._expand_conv', hidden, into, 1)
      norm(f'_blocks.{n}._bn0', hidden)
    conv(f'_blocks.{n}._depthwise_conv', hidden, 1, size)
    norm(f'_blocks.{n}._bn1', hidden)
    conv(f'_blocks.{n}._project_conv', out, hidden, 1)
    norm(f'_blocks.{n}._bn2', out)
  conv('_conv_head', 1280, 320, 1)
  norm('_bn1', 1280)
  made['_fc.weight'], made['_fc.bias'] = np.zeros((10, 1280)), np.zeros(10)
  return {k: np.asarray(v, np.float32) for k, v in made.items()}


def _torch_features(state, images):
  torch = pytest.importorskip('torch')
  functional = torch.nn.functional
  weights = {k: torch.tensor(v) for k, v in state.items()}

  def layer(x, conv, norm, stride=1, groups=1):
    kernel = weights[f'{conv}.weight']
    size = kernel.shape[-1]
    total = max(
      (-(-x.shape[-1] // stride) - 1) * stride + size - x.shape[-1], 0
    )
    before = total // 2
    x = functional.pad(x, (before, total - before) * 2)
    x = functional.conv2d(x, kernel, stride=stride, groups=groups)
    mean, var, scale, bias = (
      weights[f'{norm}.{k}']
      for k in ('running_mean', 'running_var', 'weight', 'bias')
    )
    return functional.batch_norm(x, mean, var, scale, bias, eps=1e-3)

  x = torch.tensor(images.transpose(0, 3, 1, 2))
  x = functional.relu6(layer(x, '_conv_stem', '_bn0', 2))
  for n, (_, stride, expand, into, _) in enumerate(_blocks()):
    name, y = f'_blocks.{n}', x
    if expand > 1:
      y = functional.relu6(layer(y, f'{name}._expand_conv', f'{name}._bn0'))
    y = layer(
      y, f'{name}._depthwise_conv', f'{name}._bn1', stride, into * expand
    )
    y = layer(functional.relu6(y), f'{name}._project_conv', f'{name}._bn2')
    x = x + y if x.shape == y.shape else y
  x = functional.relu6(layer(x, '_conv_head', '_bn1'))
  return x.mean(dim=(2, 3)).numpy()


def test_tree_and_number_of_parameters_are_those_of_lite0(state):
  variables = efficientnet_lite.from_torch(state)
  encoder = base.make_encoder({'name': 'efficientnet_lite0'})
  images = jnp.zeros((1, 64, 64, 3))
  wanted = jax.eval_shape(
    lambda: encoder.init(jax.random.key(0), images, train=False)
  )
  shapes = jax.tree.map(lambda x: x.shape, (variables, wanted))
  assert shapes[0] == shapes[1]
  # 4 652 008 of the published network, without its classifier of 1000 classes.
  count = sum(x.size for x in jax.tree.leaves(variables['params']))
  assert count == 4652008 - 1281 * 1000


@pytest.mark.parametrize('size', [64, 50])
def test_features_are_pytorchs(state, size):
  rng = np.random.default_rng(1)
  images = rng.normal(size=(2, size, size, 3)).astype(np.float32)
  wanted = _torch_features(state, images)
  encoder = base.make_encoder({'name': 'efficientnet_lite0'})
  found = jax.jit(lambda v, x: encoder.apply(v, x, train=False).pooled)(
    efficientnet_lite.from_torch(state), images
  )
  assert found.shape == (2, 1280)
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_entry_of_another_network_is_refused(state):
  with pytest.raises(ValueError, match=r'layer1\.0\.weight: not an entry'):
    efficientnet_lite.from_torch(state | {'layer1.0.weight': np.zeros(3)})


@pytest.mark.parametrize(
  ('images', 'keep', 'message'),
  [
    (np.zeros((8, 8, 3)), None, r'wanted \[B, H, W, C\]'),
    (np.zeros((1, 8, 8, 3)), [0], 'takes no keep'),
  ],
)
def test_what_it_cannot_encode_is_refused(images, keep, message):
  encoder = base.make_encoder({'name': 'efficientnet_lite0'})
  with pytest.raises(ValueError, match=message):
    encoder.init(jax.random.key(0), images, train=False, keep=keep)
