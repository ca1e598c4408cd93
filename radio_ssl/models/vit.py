"""ViT-Tiny, -Small and -Base, with registers.

Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929; Tiny and Small are
those of Touvron et al. 2021, https://arxiv.org/abs/2012.12877; registers are of
Darcet et al. 2024, https://arxiv.org/abs/2309.16588. Biases, GELU and the
epsilon of the normalisations are those of timm, so that its weights fit.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from radio_ssl.models import base

_POOLS = ('class', 'mean')
_TOKEN_INIT = nn.initializers.truncated_normal(0.02)


def patchify(images: Array, patch_size: int) -> Array:
  """Square patches of images [B, H, W, C], row by row.

  Returns:
    [B, N, patch_size * patch_size * C]; a patch is flattened as [y, x, C].
  """
  num, height, width, channels = images.shape
  rows, columns = height // patch_size, width // patch_size
  x = images.reshape(num, rows, patch_size, columns, patch_size, channels)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(num, rows * columns, -1)


def on_grid(position: Array, grid: tuple[int, int]) -> Array:
  """A position embedding on another grid: bicubic, with a low-pass.

  Args:
    position: [n * n, D], of a square grid, row by row.
    grid: rows and columns that are wanted.

  Returns:
    [rows * columns, D]; on its own grid, `position` bit by bit.
  """
  side, features = math.isqrt(len(position)), position.shape[1]
  square = position.reshape(side, side, features)
  resized = jax.image.resize(
    square, (*grid, features), 'bicubic', antialias=True
  )
  return resized.reshape(-1, features)


class Block(nn.Module):
  """Self-attention, then an MLP of four times the width, eqs. (2) and (3).

  Attributes:
    heads: of the attention; they divide the width of the tokens.
    dtype: of activations; None takes that of tokens and parameters.
  """

  heads: int
  dtype: Any = None

  def _dense(self, features: int, name: str) -> nn.Dense:
    # As the MAE's appendix A.1; `nn.Dense` would draw narrower ones.
    init = nn.initializers.xavier_uniform()
    return nn.Dense(features, dtype=self.dtype, kernel_init=init, name=name)

  def _norm(self, name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name=name)

  def _attention(self, x: Array) -> Array:
    num, length, features = x.shape
    shape = (num, length, 3, self.heads, features // self.heads)
    qkv = self._dense(3 * features, 'qkv')(x).reshape(shape)
    q, k, v = (qkv[:, :, i] for i in range(3))
    logits = jnp.einsum('bqhd,bkhd->bhqk', q, k) / math.sqrt(shape[-1])
    # A sum of hundreds of bfloat16 numbers would lose the small ones.
    wide = jnp.promote_types(logits.dtype, jnp.float32)
    weights = jax.nn.softmax(logits.astype(wide)).astype(logits.dtype)
    x = jnp.einsum('bhqk,bkhd->bqhd', weights, v).reshape(x.shape)
    return self._dense(features, 'out')(x)

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps tokens [B, N, D] to [B, N, D]."""
    features = x.shape[-1]
    x = x + self._attention(self._norm('norm1')(x))
    y = self._dense(4 * features, 'mlp1')(self._norm('norm2')(x))
    return x + self._dense(features, 'mlp2')(nn.gelu(y, approximate=False))


class ViT(nn.Module):
  """A vision transformer without its classification head.

  Attributes:
    depth: number of blocks.
    features: width of the tokens.
    heads: of each attention.
    patch_size: side of a patch in pixels.
    base_size_pix: side of the images whose grid of patches the position
      embedding has as a parameter; on other grids it is interpolated.
    registers: number of tokens beside class and patches that nothing reads.
    pool: 'class', the class token, or 'mean', of the patch tokens.
    dtype: of activations; parameters are float32.
    mean: of the images, taken from each channel, as weights of ImageNet want.
    std: what they are divided by then.
  """

  depth: int
  features: int
  heads: int
  patch_size: int
  base_size_pix: int
  registers: int
  pool: str
  dtype: Any
  mean: Sequence[float] = (0.0,)
  std: Sequence[float] = (1.0,)

  @nn.compact
  def __call__(
    self,
    images: Array,
    *,
    train: bool,
    keep: Array | None = None,
    mask: Any = None,
  ) -> base.Features:
    """Encodes images.

    Args:
      images: [B, H, W, C], sides multiples of the patch's.
      train: changes nothing: there are no batch statistics and no dropout.
      keep: the patches that are seen, [B, K] of 0 .. N - 1, row by row; None
        shows all.
      mask: must be None.

    Returns:
      `Features`: pooled [B, D], and the tokens of the patches in their order,
      or in that of `keep`: [B, N, D] or [B, K, D].
    """
    del train
    if images.ndim != 4:
      raise ValueError(f'images are {images.shape}; wanted [B, H, W, C].')
    if mask is not None:
      raise ValueError('A ViT takes no mask; use keep.')
    for side in images.shape[1:3]:
      base.check_size(self, side, 'The side of the images')
    x = self._embedded(base.standardised(images, self.mean, self.std), keep)
    for i in range(self.depth):
      x = Block(self.heads, self.dtype, name=f'block{i + 1}')(x)
    x = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name='norm')(x)
    tokens = x[:, 1 + self.registers :]
    pooled = x[:, 0] if self.pool == 'class' else tokens.mean(axis=1)
    return base.Features(pooled=pooled, tokens=tokens)

  def _embedded(self, images: Array, keep: Array | None) -> Array:
    """Class token, registers, patches, eq. (1): [B, 1 + registers + K, D]."""
    features, side = self.features, self.base_size_pix // self.patch_size
    class_token = self.param('class_token', _TOKEN_INIT, (1, features))
    # The class token has a position as well: row 0.
    position = self.param('position', _TOKEN_INIT, (1 + side**2, features))
    first = [class_token + position[:1]]
    if self.registers:
      shape = (self.registers, features)
      first.append(self.param('registers', _TOKEN_INIT, shape))
    grid = tuple(n // self.patch_size for n in images.shape[1:3])
    patches = nn.Dense(
      features,
      dtype=self.dtype,
      kernel_init=nn.initializers.xavier_uniform(),
      name='patches',
    )(patchify(images, self.patch_size))
    patches = patches + on_grid(position[1:], grid)[None].astype(self.dtype)
    if keep is not None:
      patches = jnp.take_along_axis(patches, keep[..., None], axis=1)
    first = jnp.concatenate(first).astype(self.dtype)
    first = jnp.broadcast_to(first, (len(images), *first.shape))
    return jnp.concatenate([first, patches], axis=1)


# Depth, width and heads.
_SIZES = {
  'tiny': (12, 192, 3),
  'small': (12, 384, 6),
  'base': (12, 768, 12),
}


def _vit(
  size: str,
  *,
  patch_size: int = 8,
  base_size_pix: int = 64,
  registers: int = 4,
  pool: str = 'class',
  mean: Sequence[float] = (0.0,),
  std: Sequence[float] = (1.0,),
  dtype: str = 'float32',
  axis_name: str | None = None,
) -> ViT:
  """A ViT from the fields of a config."""
  del axis_name  # Nothing is normalised over the batch.
  if patch_size < 1:
    raise ValueError(f'encoder.patch_size is {patch_size}; wanted 1 or more.')
  if base_size_pix < patch_size or base_size_pix % patch_size:
    raise ValueError(
      f'encoder.base_size_pix is {base_size_pix}; wanted a multiple of '
      f'encoder.patch_size, which is {patch_size}.'
    )
  if registers < 0:
    raise ValueError(f'encoder.registers is {registers}; wanted 0 or more.')
  if pool not in _POOLS:
    raise ValueError(f'No pool {pool!r}; there are: {", ".join(_POOLS)}.')
  depth, features, heads = _SIZES[size]
  return ViT(
    depth=depth,
    features=features,
    heads=heads,
    patch_size=patch_size,
    base_size_pix=base_size_pix,
    registers=registers,
    pool=pool,
    mean=tuple(mean),
    std=tuple(std),
    dtype=base.activation_dtype(dtype),
  )


ENCODERS = {f'vit_{size}': functools.partial(_vit, size) for size in _SIZES}
