"""ViTs of timm, solo-learn and DINO: their names, which are timm's, in ours.

The number of heads is in no shape: it is taken to be that of the encoder. Nor
is what was pooled: the features are the class token's, as those of all three
are by default. LayerScale (arXiv:2103.17239; timm's DINOv2 has it) is
multiplied into the layer before it.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from radio_ssl.models import base as models
from radio_ssl.models import vit

# Tells an encoder from the rest of a file.
MARKS = ('patch_embed.proj.weight', 'blocks.0.attn.qkv.weight')

_TOKENS = ('cls_token', 'reg_token', 'pos_embed')
_LAYERS = {
  'norm1': 'norm1',
  'attn.qkv': 'qkv',
  'attn.proj': 'out',
  'norm2': 'norm2',
  'mlp.fc1': 'mlp1',
  'mlp.fc2': 'mlp2',
}
# Of a block: scale of the channels -> the layer whose outputs it scales.
_SCALES = {'ls1.gamma': 'out', 'ls2.gamma': 'mlp2'}
_BLOCK = re.compile(r'blocks\.(\d+)\.(.+)')
# A head is no part of the encoder.
_LEFT_OUT = re.compile(r'head\.')


def from_torch(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """The variables of `models.vit`.

  Args:
    state: PyTorch's `state_dict` as arrays, matrices [out, in]. The classifier
      `head` is left out.

  Returns:
    {'params': ...}, float32. The class token's position is 0 where the file has
    none; positions of registers are added to the registers.

  Raises:
    ValueError: an entry that no ViT here has, such as `fc_norm`, or a
      `pos_embed` that is missing or of no square grid.
  """
  params = _first(state)
  strange, scales = [], []
  for name, value in state.items():
    if name in _TOKENS or _LEFT_OUT.match(name):
      continue
    path, leaf = _place(name)
    if not path or np.ndim(value) != {'kernel': 2, 'patches': 4}.get(leaf, 1):
      strange.append(f'{name} {np.shape(value)}')
    elif leaf == 'gamma':
      scales.append((path, value))
    else:
      leaf, value = _array(leaf, value)
      _branch(params, path)[leaf] = value
  if strange:
    raise ValueError(
      f'no ViT here has {", ".join(strange)}.'
      + (
        ' fc_norm normalises the mean over the patches, a ViT here its tokens.'
        if any('fc_norm.' in name for name in strange)
        else ''
      )
    )
  for path, scale in scales:
    layer = _branch(params, path)
    for leaf, value in layer.items():
      layer[leaf] = value * np.asarray(scale, np.float32)
  return {'params': params}


def fields(
  encoder: str, state: Mapping[str, np.ndarray]
) -> tuple[dict[str, int], int]:
  """What the shapes of the file's arrays say.

  Args:
    encoder: its name in `models.vit`.
    state: as for `from_torch`.

  Returns:
    `patch_size`, `base_size_pix` and `registers` for the encoder's config; and
    the channels of the images.

  Raises:
    ValueError: another depth or width than the encoder's, patches that are not
      square, or a `pos_embed` as for `from_torch`.
  """
  width, channels, *sides = state['patch_embed.proj.weight'].shape
  if len(set(sides)) != 1:
    raise ValueError(f'patches of {sides} pixels; wanted square ones.')
  depth = 1 + max(int(m[1]) for m in map(_BLOCK.match, state) if m)
  known = {name: models.make_encoder({'name': name}) for name in vit.ENCODERS}
  if (depth, width) != (known[encoder].depth, known[encoder].features):
    sizes = (f'{n} {e.depth} of {e.features}' for n, e in known.items())
    raise ValueError(
      f'{depth} blocks of width {width}; {encoder} has {known[encoder].depth} '
      f'of width {known[encoder].features}. There are: {", ".join(sizes)}.'
    )
  position, registers = _position(state), _registers(state)
  patches = len(position) - _without_patch(len(position), len(registers))
  return {
    'patch_size': sides[0],
    'base_size_pix': sides[0] * math.isqrt(patches),
    'registers': len(registers),
  }, channels


def _first(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """The tokens before the patches, and the positions of both."""
  position, registers = _position(state), _registers(state)
  others = _without_patch(len(position), len(registers))
  patches, others = position[others:], position[:others]
  of_class = others[:1] if len(others) else np.zeros_like(position[:1])
  params = {'position': np.concatenate([of_class, patches])}
  if 'cls_token' in state:
    params['class_token'] = _rows(state, 'cls_token')
  if len(registers):
    own = others[1:] if len(others) > 1 else 0
    params['registers'] = registers + own
  return params


def _position(state) -> np.ndarray:
  if 'pos_embed' not in state:
    raise ValueError('no pos_embed; wanted a learnt embedding of positions.')
  return _rows(state, 'pos_embed')


def _registers(state) -> np.ndarray:
  """[R, D]; R is 0 where the file has none."""
  if 'reg_token' not in state:
    return np.zeros((0, 0), np.float32)
  return _rows(state, 'reg_token')


def _rows(state, name: str) -> np.ndarray:
  """[N, D] of [1, N, D]."""
  value = state[name]
  if np.ndim(value) != 3 or len(value) != 1:
    raise ValueError(f'{name} is {np.shape(value)}; wanted [1, N, D].')
  return np.asarray(value[0], np.float32)


def _without_patch(rows: int, registers: int) -> int:
  """How many rows of `pos_embed` come before those of the patches.

  timm gives positions to all tokens or to the patches alone; DINOv2 to the
  class token as well, but not to the registers.
  """
  found = [
    n
    for n in sorted({0, 1, 1 + registers})
    if n < rows and math.isqrt(rows - n) ** 2 == rows - n
  ]
  if len(found) != 1:
    raise ValueError(
      f'pos_embed has {rows} rows; wanted those of a square of patches, alone, '
      f'behind that of the class token, or behind {1 + registers} of class '
      'token and registers.'
    )
  return found[0]


def _place(name: str) -> tuple[tuple[str, ...], str]:
  """Our path, and what the entry is to become; no path for a strange one."""
  layer, _, entry = name.rpartition('.')
  if entry not in ('weight', 'bias', 'gamma'):
    return (), ''
  if name in ('patch_embed.proj.weight', 'patch_embed.proj.bias'):
    return ('patches',), 'patches' if entry == 'weight' else entry
  if layer == 'norm':
    return ('norm',), 'scale' if entry == 'weight' else entry
  match = _BLOCK.fullmatch(name)
  if not match:
    return (), ''
  block, rest = f'block{int(match[1]) + 1}', match[2]
  if rest in _SCALES:
    return (block, _SCALES[rest]), 'gamma'
  ours = _LAYERS.get(rest.rpartition('.')[0])
  if ours is None or entry == 'gamma':
    return (), ''
  if entry == 'weight':
    entry = 'scale' if ours.startswith('norm') else 'kernel'
  return (block, ours), entry


def _array(leaf: str, value: np.ndarray) -> tuple[str, np.ndarray]:
  value = np.asarray(value, np.float32)
  if leaf == 'kernel':
    value = value.T
  elif leaf == 'patches':
    # A patch is flattened as [y, x, channel] here.
    value = value.transpose(2, 3, 1, 0).reshape(-1, len(value))
    leaf = 'kernel'
  return leaf, np.ascontiguousarray(value)


def _branch(tree: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
  for name in path:
    tree = tree.setdefault(name, {})
  return tree
