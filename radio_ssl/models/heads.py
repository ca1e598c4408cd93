"""Projectors, predictors and the like: the small nets that SSL losses use."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array


class MLP(nn.Module):
  """Dense layers, each but the last followed by BatchNorm and ReLU.

  SimCLR (Chen et al. 2020, arXiv:2002.05709): `use_bias=False`,
  `use_bias_last=False`, `norm_last=True`. BYOL (Grill et al. 2020,
  arXiv:2006.07733), projector and predictor: `hidden=(4096,)`, `out=256`,
  `use_bias_last=False`.

  Attributes:
    hidden: widths of the hidden layers, 0 for that of the input; () for one
      linear map.
    out: width of the output.
    norm: BatchNorm after the hidden layers.
    norm_last: BatchNorm after the last layer, with a scale and no shift, as
      in SimCLR's code.
    scale_last: that scale; False leaves it out, as in MoCo v3's code.
    use_bias: biases in the hidden layers. BatchNorm takes them out again:
      they matter to `norm=False` and to copied weights alone.
    use_bias_last: a bias in the last layer.
    axis_name: the pmap axis over which BatchNorm is synchronised.
    dtype: of activations; parameters and statistics are float32.
  """

  hidden: Sequence[int]
  out: int
  norm: bool = True
  norm_last: bool = False
  scale_last: bool = True
  use_bias: bool = True
  use_bias_last: bool = True
  axis_name: str | None = None
  dtype: Any = jnp.float32

  def _norm(self, train: bool, name: str, **affine: bool) -> nn.BatchNorm:
    return nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      epsilon=1e-5,
      dtype=self.dtype,
      axis_name=self.axis_name,
      name=name,
      **affine,
    )

  @nn.compact
  def __call__(self, features: Array, *, train: bool) -> Array:
    """Maps [B, D] to [B, out]; `train` normalises by this batch."""
    x = features.astype(self.dtype)
    for i, width in enumerate(self.hidden, start=1):
      x = nn.Dense(
        width or features.shape[-1],
        use_bias=self.use_bias,
        dtype=self.dtype,
        name=f'dense{i}',
      )(x)
      if self.norm:
        x = self._norm(train, f'norm{i}')(x)
      x = nn.relu(x)
    x = nn.Dense(
      self.out, use_bias=self.use_bias_last, dtype=self.dtype, name='dense_last'
    )(x)
    if self.norm_last:
      x = self._norm(
        train, 'norm_last', use_bias=False, use_scale=self.scale_last
      )(x)
    return x


def positions(count: int, length: int) -> Array:
  """Sinusoidal positional encoding, section 3.5 of arXiv:1706.03762.

  Args:
    count: of positions.
    length: of each encoding, even.

  Returns:
    [count, length]: sine and cosine of position / 10000^(2 i / length) in the
    features 2 i and 2 i + 1.
  """
  rates = 10000 ** (-jnp.arange(0, length, 2) / length)
  angles = jnp.arange(count)[:, None] * rates[None]
  return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(
    count, length
  )


class CentroidTransformer(nn.Module):
  """Self-attention over a short sequence; its first output stands for it.

  All4One (Estepa et al. 2023, arXiv:2303.09417): 3 layers of 8 heads, dropout
  0.1. Layers are those of Vaswani et al. 2017, arXiv:1706.03762, with
  LayerNorm after each sum and hidden layers of twice the width.

  Attributes:
    layers: how many.
    heads: of each.
    dropout: of attention weights, of hidden units and of both branches.
  """

  layers: int
  heads: int
  dropout: float

  @nn.compact
  def __call__(self, sequence: Array) -> Array:
    """Maps [K, D] of unit norm to [D]; dropout wants a key 'dropout'."""
    count, length = sequence.shape
    # Vectors of norm 1 would drown in encodings of norm sqrt(length / 2).
    x = sequence * length**0.5 + positions(count, length)

    def drop(branch):
      return nn.Dropout(self.dropout, deterministic=False)(branch)

    def norm(total, name):
      return nn.LayerNorm(epsilon=1e-5, name=name)(total)

    for i in range(1, self.layers + 1):
      # Of the last layer's outputs the first alone is wanted.
      asking = x[:1] if i == self.layers else x
      attended = nn.MultiHeadDotProductAttention(
        num_heads=self.heads,
        dropout_rate=self.dropout,
        deterministic=False,
        broadcast_dropout=False,
        name=f'attention{i}',
      )(asking, x)
      x = norm(asking + drop(attended), f'norm_attention{i}')
      hidden = nn.relu(nn.Dense(2 * length, name=f'dense_in{i}')(x))
      branch = nn.Dense(length, name=f'dense_out{i}')(drop(hidden))
      x = norm(x + drop(branch), f'norm_dense{i}')
    return x[0]
