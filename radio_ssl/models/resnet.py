"""ResNet-18 and -50, He et al. 2015, https://arxiv.org/abs/1512.03385.

ResNet-10, one block a stage, is not the paper's: it compiles in half the time.
ResNet-50 is "v1.5": the stride sits in the 3x3 convolution. Paddings are those
of PyTorch, so that its weights give its outputs.
"""

import functools
from collections.abc import Sequence
from typing import Any

from flax import linen as nn
from jax import Array

from radio_ssl.models import base, conv, pool

_STEMS = ('imagenet', 'small')


class ResNet(nn.Module):
  """A residual network that ends in the global average.

  Attributes:
    blocks: residual blocks in each stage.
    bottleneck: blocks of 1x1, 3x3, 1x1 (as in -50) instead of two 3x3.
    features: channels of the stem.
    stem: 'imagenet' (7x7 stride 2, max-pool stride 2: the first stage sees
      a quarter of the side) or 'small' (3x3 stride 1: it sees all of it).
    zero_init_last: start the last BatchNorm scale of each block at 0, so that
      every block starts as the identity (Goyal et al. 2017, arXiv:1706.02677).
    mean: of the images, taken from each channel, as weights of ImageNet want.
    std: what they are divided by then.
    dtype: of activations; parameters and statistics are float32.
    axis_name: the pmap axis over which BatchNorm is synchronised.
  """

  blocks: Sequence[int]
  bottleneck: bool
  features: int
  stem: str
  zero_init_last: bool
  dtype: Any
  axis_name: str | None
  mean: Sequence[float] = (0.0,)
  std: Sequence[float] = (1.0,)

  def _norm(self, train: bool, name: str, *, zero_init: bool = False):
    return nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      epsilon=1e-5,
      dtype=self.dtype,
      axis_name=self.axis_name,
      scale_init=nn.initializers.constant(0.0 if zero_init else 1.0),
      name=name,
    )

  def _conv(self, features: int, size: int, stride: int, name: str):
    pad = size // 2
    return nn.Conv(
      features,
      (size, size),
      strides=(stride, stride),
      padding=((pad, pad), (pad, pad)),
      use_bias=False,
      dtype=self.dtype,
      conv_general_dilated=conv.conv,
      kernel_init=nn.initializers.variance_scaling(2.0, 'fan_out', 'normal'),
      name=name,
    )

  def _block(self, x: Array, width: int, stride: int, train: bool, name: str):
    if self.bottleneck:
      layers = ((width, 1, 1), (width, 3, stride), (4 * width, 1, 1))
    else:
      layers = ((width, 3, stride), (width, 3, 1))
    y = x
    for i, (features, size, step) in enumerate(layers, start=1):
      last = i == len(layers)
      y = self._conv(features, size, step, f'{name}_conv{i}')(y)
      y = self._norm(
        train, f'{name}_norm{i}', zero_init=last and self.zero_init_last
      )(y)
      y = y if last else nn.relu(y)
    if x.shape != y.shape:
      x = self._conv(y.shape[-1], 1, stride, f'{name}_skip_conv')(x)
      x = self._norm(train, f'{name}_skip_norm')(x)
    return nn.relu(x + y)

  @nn.compact
  def __call__(
    self, images: Array, *, train: bool, keep: Any = None, mask: Any = None
  ) -> base.Features:
    """Encodes images.

    Args:
      images: [B, H, W, C], any number of channels.
      train: normalise by this batch and update the running statistics.
      keep: must be None: a convolution cannot leave tokens out.
      mask: must be None.

    Returns:
      `Features` with the average over the last map, [B, D], and no tokens.
    """
    if images.ndim != 4:
      raise ValueError(f'images are {images.shape}; wanted [B, H, W, C].')
    if keep is not None or mask is not None:
      raise ValueError('A ResNet takes no keep or mask; use a ViT.')
    x = base.standardised(images.astype(self.dtype), self.mean, self.std)
    imagenet = self.stem == 'imagenet'
    x = self._conv(
      self.features, 7 if imagenet else 3, 2 if imagenet else 1, 'stem_conv'
    )(x)
    x = nn.relu(self._norm(train, 'stem_norm')(x))
    if imagenet:
      x = pool.max_pool(x)
    for i, count in enumerate(self.blocks):
      for j in range(count):
        stride = 2 if i > 0 and j == 0 else 1
        name = f'stage{i + 1}_block{j + 1}'
        x = self._block(x, self.features * 2**i, stride, train, name)
    return base.Features(pooled=x.mean(axis=(1, 2)), tokens=None)


# Residual blocks in each stage, and whether they are bottlenecks.
_LAYOUTS = {
  10: ((1, 1, 1, 1), False),
  18: ((2, 2, 2, 2), False),
  50: ((3, 4, 6, 3), True),
}


def _resnet(
  depth: int,
  *,
  width: float = 1.0,
  stem: str = 'imagenet',
  zero_init_last: bool = False,
  mean: Sequence[float] = (0.0,),
  std: Sequence[float] = (1.0,),
  dtype: str = 'float32',
  axis_name: str | None = None,
) -> ResNet:
  """A ResNet from the fields of a config; `width` multiplies all channels."""
  features = round(64 * width)
  if features < 1:
    raise ValueError(f'width={width} leaves no channels; wanted >= 1/64.')
  if stem not in _STEMS:
    raise ValueError(f'No stem {stem!r}; there are: {", ".join(_STEMS)}.')
  blocks, bottleneck = _LAYOUTS[depth]
  return ResNet(
    blocks=blocks,
    bottleneck=bottleneck,
    features=features,
    stem=stem,
    zero_init_last=zero_init_last,
    mean=tuple(mean),
    std=tuple(std),
    dtype=base.activation_dtype(dtype),
    axis_name=axis_name,
  )


ENCODERS = {
  f'resnet{depth}': functools.partial(_resnet, depth) for depth in _LAYOUTS
}
