"""EfficientNet-Lite0: Tan & Le 2019, https://arxiv.org/abs/1905.11946.

Lite is the variant for small devices (Liu 2020, blog.tensorflow.org): without
squeeze-and-excitation, with ReLU6 for swish. Paddings are TensorFlow's "SAME",
where its weights on ImageNet come from; they expect images (x - 127) / 128 of
224 pixels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from flax import linen as nn
from jax import Array

from radio_ssl.models import base, conv


class Stage(NamedTuple):
  """Blocks of one kind, table 1 of the paper.

  Attributes:
    blocks: how many.
    size: of the depthwise kernel.
    stride: of the first block; 1 in the others.
    expand: hidden channels over input channels.
    features: output channels.
  """

  blocks: int
  size: int
  stride: int
  expand: int
  features: int


_STEM, _HEAD = 32, 1280
_STAGES = (
  Stage(1, 3, 1, 1, 16),
  Stage(2, 3, 2, 6, 24),
  Stage(2, 5, 2, 6, 40),
  Stage(3, 3, 2, 6, 80),
  Stage(3, 5, 1, 6, 112),
  Stage(4, 5, 2, 6, 192),
  Stage(1, 3, 1, 6, 320),
)


class EfficientNet(nn.Module):
  """Inverted bottlenecks, then the global average; 1280 features.

  Stochastic depth, which the paper's training has, is left out.

  Attributes:
    stages: of the body.
    mean: of the images, taken from each channel; 127 / 255 for those weights.
    std: what they are divided by then; 128 / 255.
    dtype: of activations; parameters and statistics are float32.
    axis_name: the pmap axis over which BatchNorm is synchronised.
  """

  stages: tuple[Stage, ...]
  dtype: Any
  axis_name: str | None
  mean: Sequence[float] = (0.0,)
  std: Sequence[float] = (1.0,)

  def _layer(
    self,
    x: Array,
    features: int,
    size: int,
    train: bool,
    name: str,
    *,
    stride: int = 1,
    groups: int = 1,
  ) -> Array:
    """Convolution and BatchNorm."""
    x = nn.Conv(
      features,
      (size, size),
      strides=(stride, stride),
      padding='SAME',
      feature_group_count=groups,
      use_bias=False,
      dtype=self.dtype,
      conv_general_dilated=conv.conv,
      kernel_init=nn.initializers.variance_scaling(2.0, 'fan_out', 'normal'),
      name=f'{name}_conv',
    )(x)
    return nn.BatchNorm(
      use_running_average=not train,
      # Of the running statistics: with the paper's 0.99 those of a fine-tuning
      # of 100 steps are still for a third the photographs'.
      momentum=0.9,
      epsilon=1e-3,
      dtype=self.dtype,
      axis_name=self.axis_name,
      name=f'{name}_norm',
    )(x)

  def _block(
    self, x: Array, stage: Stage, stride: int, train: bool, name: str
  ) -> Array:
    y, hidden = x, x.shape[-1] * stage.expand
    if stage.expand > 1:
      y = nn.relu6(self._layer(y, hidden, 1, train, f'{name}_expand'))
    y = self._layer(
      y,
      hidden,
      stage.size,
      train,
      f'{name}_depthwise',
      stride=stride,
      groups=hidden,
    )
    y = self._layer(nn.relu6(y), stage.features, 1, train, f'{name}_project')
    return x + y if x.shape == y.shape else y

  @nn.compact
  def __call__(
    self, images: Array, *, train: bool, keep: Any = None, mask: Any = None
  ) -> base.Features:
    """Encodes images.

    Args:
      images: [B, H, W, C], any number of channels; weights of ImageNet need 3.
      train: normalise by this batch and update the running statistics.
      keep: must be None: a convolution cannot leave tokens out.
      mask: must be None.

    Returns:
      `Features` with the average over the last map, [B, 1280], and no tokens.
    """
    if images.ndim != 4:
      raise ValueError(f'images are {images.shape}; wanted [B, H, W, C].')
    if keep is not None or mask is not None:
      raise ValueError('An EfficientNet takes no keep or mask; use a ViT.')
    x = base.standardised(images.astype(self.dtype), self.mean, self.std)
    x = nn.relu6(self._layer(x, _STEM, 3, train, 'stem', stride=2))
    number = 0
    for stage in self.stages:
      for first in range(stage.blocks):
        stride = stage.stride if first == 0 else 1
        number += 1
        x = self._block(x, stage, stride, train, f'block{number}')
    x = nn.relu6(self._layer(x, _HEAD, 1, train, 'head'))
    return base.Features(pooled=x.mean(axis=(1, 2)), tokens=None)


def _lite0(
  *,
  mean: Sequence[float] = (0.0,),
  std: Sequence[float] = (1.0,),
  dtype: str = 'float32',
  axis_name: str | None = None,
) -> EfficientNet:
  """From the fields of a config."""
  return EfficientNet(
    stages=_STAGES,
    dtype=base.activation_dtype(dtype),
    axis_name=axis_name,
    mean=tuple(mean),
    std=tuple(std),
  )


ENCODERS = {'efficientnet_lite0': _lite0}
