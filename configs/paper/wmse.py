"""W-MSE as in the radio benchmark (Cecconello et al. 2024, arXiv:2411.14078).

python main.py --config=configs/paper/wmse.py --config.data.name=NAME \
  --workdir=runs/paper_wmse

From the benchmark's repository: heads, groups of 128, Adam of lr 2e-3 and decay
1e-6, 128 images on each of two devices, 400 epochs; one dealing is the default
there. It deals groups inside a device, here they are dealt over all devices.
Ours: the ridge under the covariance, where it has none.
"""

import ml_collections

from configs import base
from configs.paper import base as paper


def get_config() -> ml_collections.ConfigDict:
  """As `configs/paper/base.py`, with the objective of W-MSE."""
  config = paper.get_config()
  config.objective = base.objective(
    'wmse',
    projector_hidden=1024,
    projector_out=64,
    whitening_size=128,
    whitening_iterations=1,
    whitening_eps=1e-8,
  )
  config.optimizer = base.optimizer('adam', lr=2e-3, weight_decay=1e-6)
  config.num_epochs = 400
  return config
