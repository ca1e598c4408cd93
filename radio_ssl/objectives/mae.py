"""MAE, masked autoencoders, He et al. 2022, https://arxiv.org/abs/2111.06377."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from radio_ssl.models import base as models
from radio_ssl.models import vit
from radio_ssl.objectives import base

Array = jax.Array

NEEDS_PATCHES = True


@dataclasses.dataclass(frozen=True)
class Config:
  """Fields of MAE.

  The paper's decoder, of ViT-Large, has 8 blocks of width 512.

  Attributes:
    mask_ratio: share of the patches that are hidden, in (0, 1).
    norm_pix: whether each patch to reconstruct is normalised by its own mean
      and deviation, as in the paper's best models.
    decoder_width: of the decoder's tokens, a multiple of 4 and of the heads.
    decoder_depth: blocks of the decoder.
    decoder_heads: of its attentions.
  """

  mask_ratio: float = 0.75
  norm_pix: bool = True
  decoder_width: int = 128
  decoder_depth: int = 4
  decoder_heads: int = 4

  def __post_init__(self):
    if not 0 < self.mask_ratio < 1:
      raise ValueError(
        f'objective.mask_ratio is {self.mask_ratio}; wanted one in (0, 1).'
      )
    base.check_least(self, 1, 'decoder_depth', 'decoder_heads')
    width, heads = self.decoder_width, self.decoder_heads
    if width < 1 or width % 4 or width % heads:
      raise ValueError(
        f'objective.decoder_width is {width}; wanted a multiple of 4 and of '
        f'objective.decoder_heads, which is {heads}.'
      )


def num_visible(num_patches: int, mask_ratio: float) -> int:
  """How many patches the encoder sees.

  Raises:
    ValueError: all or none; names both numbers.
  """
  visible = round(num_patches * (1 - mask_ratio))
  if not 0 < visible < num_patches:
    raise ValueError(
      f'objective.mask_ratio is {mask_ratio}: of {num_patches} patches it '
      f'shows {visible}; wanted some, and some hidden.'
    )
  return visible


def reconstruction_loss(
  p: Array, pixels: Array, *, norm_pix: bool
) -> tuple[Array, Array]:
  """Mean squared error of the hidden patches, section 3 of the paper.

  Args:
    p: predictions for the hidden patches, [B, M, P].
    pixels: what they hold, [B, M, P].
    norm_pix: p predicts (pixels - mean) / deviation of each patch.

  Returns:
    The loss, and the same error in the units of the pixels; scalars, means over
    this device's B rows.
  """
  chex.assert_equal_shape([p, pixels])
  target, scale = pixels, jnp.ones_like(pixels[..., :1])
  if norm_pix:
    # Of the paper's code: a patch of empty sky has no deviation.
    scale = jnp.sqrt(pixels.var(axis=-1, keepdims=True) + 1e-6)
    target = (pixels - pixels.mean(axis=-1, keepdims=True)) / scale
  squared = (p - target) ** 2
  return jnp.mean(squared), jnp.mean(squared * scale**2)


def sine_cosine(grid: tuple[int, int], width: int) -> Array:
  """Fixed position embedding of appendix A.1: [rows * columns, width].

  A quarter of the width each: sine and cosine of the row, then of the column,
  with wavelengths from 2 pi to 10000 times that (arXiv:1706.03762).
  """
  wave = 1 / 10000 ** (jnp.arange(width // 4) / (width // 4))
  places = jnp.indices(grid).reshape(2, -1, 1)
  angles = places * wave[None, None]
  parts = [f(angle) for angle in angles for f in (jnp.sin, jnp.cos)]
  return jnp.concatenate(parts, axis=-1)


class Decoder(nn.Module):
  """Blocks that see the encoded patches, and a token for each hidden one.

  Attributes:
    width: of the tokens.
    depth: number of blocks.
    heads: of each attention.
  """

  width: int
  depth: int
  heads: int

  @nn.compact
  def __call__(
    self, features: models.Features, order: Array, grid, num_pixels: int
  ) -> Array:
    """Predicts the hidden patches.

    Args:
      features: of the visible patches, which are the first of `order`; `pooled`
        is a token more, as the paper's class token is.
      order: of all patches, [B, N].
      grid: rows and columns of patches.
      num_pixels: of a patch, times the channels.

    Returns:
      [B, M, num_pixels], of the last M of `order`.
    """
    seen = jnp.concatenate([features.pooled[:, None], features.tokens], axis=1)
    seen = self._dense(self.width, 'embed')(seen)
    num, num_hidden = len(order), order.shape[1] - features.tokens.shape[1]
    init = nn.initializers.normal(0.02)
    hidden = self.param('mask_token', init, (self.width,)).astype(seen.dtype)
    hidden = jnp.broadcast_to(hidden, (num, num_hidden, self.width))
    x = jnp.concatenate([seen, hidden], axis=1)
    position = sine_cosine(grid, self.width).astype(x.dtype)[order]
    # Attention does not mind the order of tokens: none is put back in place.
    x = x.at[:, 1:].add(position)
    for i in range(self.depth):
      x = vit.Block(self.heads, name=f'block{i + 1}')(x)
    x = nn.LayerNorm(epsilon=1e-6, name='norm')(x[:, -num_hidden:])
    return self._dense(num_pixels, 'pixels')(x)

  def _dense(self, features: int, name: str) -> nn.Dense:
    init = nn.initializers.xavier_uniform()
    return nn.Dense(features, kernel_init=init, name=name)


class Network(nn.Module):
  """Encoder of the visible patches, and decoder of the hidden ones."""

  encoder: nn.Module
  decoder: Decoder

  def __call__(self, images: Array, order: Array, visible: int):
    """Features of what is seen, and predictions of what is not.

    Args:
      images: [B, H, W, C].
      order: of their patches, [B, N].
      visible: how many of the first are seen.

    Returns:
      features [B, D] and p [B, N - visible, P].
    """
    features = self.encoder(images, train=True, keep=order[:, :visible])
    size = self.encoder.patch_size
    grid = (images.shape[1] // size, images.shape[2] // size)
    num_pixels = size * size * images.shape[3]
    return features.pooled, self.decoder(features, order, grid, num_pixels)


@dataclasses.dataclass(frozen=True)
class MAE:
  """The objective, on one view."""

  config: Config
  network: Network
  views: ClassVar[Mapping[str, int]] = {'global': 1}

  @property
  def masks(self) -> Mapping[str, int]:
    """The patches of the encoder."""
    return {'global': self.network.encoder.patch_size}

  def init(self, rng: Array, batch: Mapping):
    """Parameters of encoder and decoder; there is nothing else."""
    images = batch['views']['global'][0]
    num = vit.patchify(images, self.network.encoder.patch_size).shape[1]
    order = jnp.broadcast_to(jnp.arange(num), (len(images), num))
    visible = num_visible(num, self.config.mask_ratio)
    return self.network.init(rng, images, order, visible)['params'], {}

  def loss(self, params, model_state, batch, *, step, rng):
    """The error of the hidden patches, a random choice for each image."""
    del step, rng
    images, order = batch['views']['global'][0], batch['masks']['global'][0]
    visible = num_visible(order.shape[1], self.config.mask_ratio)
    features, p = self.network.apply({'params': params}, images, order, visible)
    pixels = vit.patchify(images, self.network.encoder.patch_size)
    loss, error = reconstruction_loss(
      p,
      jnp.take_along_axis(pixels, order[:, visible:, None], axis=1),
      norm_pix=self.config.norm_pix,
    )
    metrics = {'reconstruction_error': error}
    return base.LossOutput(loss, model_state, metrics, features)

  def after_update(self, old_params, params, model_state, step):
    """Nothing to do: MAE keeps no moving average."""
    del old_params, step
    return params, model_state


def make(config: Config, *, encoder, **context) -> MAE:
  """Builds MAE around `encoder`, which must have patches."""
  del context
  decoder = Decoder(
    config.decoder_width, config.decoder_depth, config.decoder_heads
  )
  return MAE(config, Network(encoder, decoder))
