"""BYOL as in the radio benchmark (Cecconello et al. 2024, arXiv:2411.14078).

python main.py --config=configs/paper/byol.py --config.data.name=NAME \
  --workdir=runs/paper_byol

From the benchmark's repository: heads, the moving average from 0.99 to 1, LARS
of lr 0.5 and decay 1e-6. Not known, and ours: the batch of 256 and 400 epochs,
both as for W-MSE.
"""

import ml_collections

from configs import base
from configs.paper import base as paper


def get_config() -> ml_collections.ConfigDict:
  """As `configs/paper/base.py`, with the objective of BYOL."""
  config = paper.get_config()
  config.objective = base.objective(
    'byol', hidden=1024, out=256, ema_decay=0.99, norm_z=False
  )
  config.optimizer = base.optimizer(
    'lars', lr=0.5, weight_decay=1e-6, clip=True
  )
  config.num_epochs = 400
  return config
