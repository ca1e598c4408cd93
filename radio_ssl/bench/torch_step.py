"""SimCLR on ResNet-18 in plain PyTorch: what `bench.step` compares with.

channels_last, one thread, same images, projector, loss and Adam as ours.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def _conv_norm(c_in: int, c_out: int, size: int, stride: int) -> nn.Sequential:
  return nn.Sequential(
    nn.Conv2d(c_in, c_out, size, stride, size // 2, bias=False),
    nn.BatchNorm2d(c_out),
  )


class _Block(nn.Module):
  def __init__(self, c_in: int, c_out: int, stride: int):
    super().__init__()
    self.first = _conv_norm(c_in, c_out, 3, stride)
    self.second = _conv_norm(c_out, c_out, 3, 1)
    same = c_in == c_out
    self.skip = nn.Identity() if same else _conv_norm(c_in, c_out, 1, stride)

  def forward(self, x):
    y = functional.relu(self.first(x), inplace=True)
    return functional.relu(self.second(y) + self.skip(x), inplace=True)


def _network() -> nn.Sequential:
  blocks, c_in = [], 64
  for i in range(4):
    for j in range(2):
      stride = 2 if i > 0 and j == 0 else 1
      blocks.append(_Block(c_in, 64 * 2**i, stride))
      c_in = 64 * 2**i
  stem = [_conv_norm(1, 64, 7, 2), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)]
  projector = [
    nn.Linear(512, 1024, bias=False),
    nn.BatchNorm1d(1024),
    nn.ReLU(True),
    nn.Linear(1024, 128, bias=False),
    nn.BatchNorm1d(128),
  ]
  pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
  return nn.Sequential(*stem, *blocks, *pool, *projector)


def make(
  views: np.ndarray, *, device: str = 'cpu', dtype: str = 'float32'
) -> Callable[[], None]:
  """Returns one training step on views [2, B, H, W, 1].

  Args:
    views: float32.
    device: 'cpu', with one thread, or 'cuda'.
    dtype: 'float32', or 'bfloat16' for automatic mixed precision.
  """
  torch.set_num_threads(1)
  # As JAX does on a GPU.
  torch.backends.cuda.matmul.allow_tf32 = True
  torch.backends.cudnn.allow_tf32 = True
  torch.backends.cudnn.benchmark = True
  network = _network().to(device, memory_format=torch.channels_last)
  optimizer = torch.optim.Adam(network.parameters(), 1e-3)
  count = views.shape[1]
  images = torch.tensor(views.reshape(2 * count, 1, *views.shape[2:4]))
  images = images.to(device, memory_format=torch.channels_last)
  target = ((torch.arange(2 * count) + count) % (2 * count)).to(device)
  mixed = torch.autocast(device, torch.bfloat16, enabled=dtype != 'float32')

  def step():
    with mixed:
      z = functional.normalize(network(images))
      logits = (z @ z.T / 0.2).fill_diagonal_(-torch.inf)
      loss = functional.cross_entropy(logits, target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if device != 'cpu':
      torch.cuda.synchronize()

  return step
