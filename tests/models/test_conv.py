import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from radio_ssl.models import conv

_LAYOUT = ('NHWC', 'HWIO', 'NHWC')
_CASES = [
  # sides of the image, of the kernel, stride, padding
  *itertools.product(
    [(1, 1), (2, 2), (4, 3), (5, 8)],
    [(1, 1), (3, 3)],
    [1, 2],
    [((0, 0), (0, 0)), ((1, 1), (1, 1)), 'SAME'],
  ),
  ((9, 8), (7, 7), 2, ((3, 3), (3, 3))),
  ((3, 3), (7, 7), 2, ((3, 3), (3, 3))),
  ((4, 4), (3, 2), 3, ((2, 0), (0, 5))),
  ((4, 4), (3, 3), 1, ((4, 4), (4, 4))),
]


def _pull(function, x, kernel, dy):
  y, pull = jax.vjp(function, x, kernel)
  return y, *pull(dy)


@pytest.mark.parametrize('groups', [1, 5])
@pytest.mark.parametrize(('image', 'size', 'stride', 'padding'), _CASES)
def test_value_and_both_gradients_equal_the_native_ones(
  image, size, stride, padding, groups
):
  if padding == ((0, 0), (0, 0)) and min(image) < max(size):
    pytest.skip('nothing comes out')
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(6, *image, 5)), jnp.float32)
  channels = (5, 4) if groups == 1 else (1, 5)
  kernel = jnp.asarray(rng.normal(size=(*size, *channels)) / 7, jnp.float32)

  def native(x, kernel):
    return lax.conv_general_dilated(
      x,
      kernel,
      (stride, stride),
      padding,
      dimension_numbers=_LAYOUT,
      feature_group_count=groups,
    )

  def ours(x, kernel):
    return conv.conv(
      x,
      kernel,
      (stride, stride),
      padding,
      feature_group_count=groups,
      backend='cpu',
    )

  shape = jax.eval_shape(native, x, kernel).shape
  dy = jnp.asarray(rng.normal(size=shape), jnp.float32)
  results = (
    jax.jit(_pull, static_argnums=0)(f, x, kernel, dy) for f in (ours, native)
  )
  for got, expected in zip(*results, strict=True):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('batch', [1, 7, 24])
def test_kernel_gradient_takes_every_image_once(batch, monkeypatch):
  monkeypatch.setattr(conv, '_CHUNK_PIXELS', 5 * 64)
  x = jnp.arange(batch * 64.0).reshape(batch, 8, 8, 1)
  _, _, gradient = _pull(
    lambda x, k: conv.conv(x, k, (1, 1), 'SAME', backend='cpu'),
    x,
    jnp.ones((1, 1, 1, 1)),
    jnp.ones_like(x),
  )
  np.testing.assert_allclose(gradient.item(), x.sum(), rtol=1e-6)


def _uses_native(**options):
  x = options.pop('x', jnp.zeros((2, 2, 2, 4)))
  kernel = options.pop('kernel', jnp.zeros((3, 3, 4, 4)))
  options = {'window_strides': (1, 1), 'padding': 'SAME', **options}
  jaxpr = jax.make_jaxpr(lambda x, k: conv.conv(x, k, **options))(x, kernel)
  return 'conv_general_dilated' in str(jaxpr)


@pytest.mark.parametrize(
  'options',
  [
    {'backend': 'gpu'},
    {'backend': 'tpu'},
    {'rhs_dilation': (2, 2)},
    {'lhs_dilation': (2, 2), 'padding': ((1, 1), (1, 1))},
    {'feature_group_count': 2, 'kernel': jnp.zeros((3, 3, 2, 4))},
    {'precision': lax.Precision.HIGHEST},
    {'dimension_numbers': ('NCHW', 'OIHW', 'NCHW'),
     'kernel': jnp.zeros((4, 2, 3, 3))},
    {'padding': ((-1, 1), (1, 1))},
    {'x': jnp.zeros((2, 2, 2, 4), jnp.bfloat16),
     'kernel': jnp.zeros((3, 3, 4, 4), jnp.bfloat16)},
  ],
  ids=lambda o: next(iter(o)),
)  # fmt: skip
def test_other_backends_and_unusual_convolutions_are_native(options):
  assert _uses_native(**{'backend': 'cpu', **options})


def test_tiny_maps_are_matmuls_on_cpu():
  assert not _uses_native(backend='cpu')
  assert not _uses_native(backend='cpu', rhs_dilation=(1, 1), precision=None)


def test_flax_convolution_takes_it_by_default_on_this_backend():
  module = nn.Conv(4, (3, 3), conv_general_dilated=conv.conv)
  x = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
  variables = module.init(jax.random.key(1), x)
  np.testing.assert_allclose(
    module.apply(variables, x),
    nn.Conv(4, (3, 3)).apply(variables, x),
    rtol=1e-5,
    atol=1e-5,
  )
  jaxpr = str(jax.make_jaxpr(module.apply)(variables, x))
  assert 'conv_general_dilated' not in jaxpr
