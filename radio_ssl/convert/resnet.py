"""ResNets of torchvision, timm and solo-learn: their names in ours."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

_NORM = {
  'weight': ('params', 'scale'),
  'bias': ('params', 'bias'),
  'running_mean': ('batch_stats', 'mean'),
  'running_var': ('batch_stats', 'var'),
}
_LEFT_OUT = re.compile(r'fc\.|.*\.num_batches_tracked$')
_BLOCK = re.compile(r'layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.(\w+)')

# Tells an encoder from the rest of a file: no other name ends like these.
MARKS = ('conv1.weight', 'layer1.0.conv1.weight', 'bn1.running_mean')


def from_torch(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """The variables of `models.resnet`.

  Args:
    state: PyTorch's `state_dict` as arrays, kernels [out, in, H, W]. The
      classifier `fc` is left out.

  Returns:
    {'params': ..., 'batch_stats': ...}, float32.

  Raises:
    ValueError: an entry that no ResNet has.
  """
  variables: dict[str, Any] = {'params': {}, 'batch_stats': {}}
  strange = []
  for name, value in state.items():
    if _LEFT_OUT.match(name):
      continue
    layer, kind = _place(name)
    if layer is None or np.ndim(value) != (4 if kind == 'kernel' else 1):
      strange.append(f'{name} {np.shape(value)}')
      continue
    collection, leaf = ('params', kind)
    if kind == 'kernel':
      value = value.transpose(2, 3, 1, 0)
    else:
      collection, leaf = _NORM[kind]
    variables[collection].setdefault(layer, {})[leaf] = np.asarray(
      value, np.float32
    )
  if strange:
    raise ValueError(f'no ResNet has {", ".join(strange)}.')
  return variables


def _place(name: str) -> tuple[str | None, str]:
  """Our layer, and 'kernel' or the name of a BatchNorm's array."""
  if name == 'conv1.weight':
    return 'stem_conv', 'kernel'
  if name.startswith('bn1.') and name[4:] in _NORM:
    return 'stem_norm', name[4:]
  match = _BLOCK.fullmatch(name)
  if not match:
    return None, ''
  stage, block, kind, number, leaf = match.groups()
  ours = f'stage{stage}_block{int(block) + 1}'
  # Of the shortcut, 0 is the convolution and 1 the BatchNorm.
  if kind == 'downsample.':
    kind, layer = ('conv', 'bn')[number != '0'], f'{ours}_skip_'
    number = ''
  else:
    layer = f'{ours}_'
  if kind == 'conv' and leaf == 'weight':
    return f'{layer}conv{number}', 'kernel'
  if kind == 'bn' and leaf in _NORM:
    return f'{layer}norm{number}', leaf
  return None, ''
