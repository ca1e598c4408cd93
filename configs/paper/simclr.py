"""SimCLR as in the radio benchmark (Cecconello et al. 2024, arXiv:2411.14078).

python main.py --config=configs/paper/simclr.py --config.data.name=NAME \
  --workdir=runs/paper_simclr

From the benchmark's repository: heads, temperature, LARS of lr 0.3 and decay
1e-4. Not known, and ours: the batch of 256 and 400 epochs, both as for W-MSE.
"""

import ml_collections

from configs import base
from configs.paper import base as paper


def get_config() -> ml_collections.ConfigDict:
  """As `configs/paper/base.py`, with the objective of SimCLR."""
  config = paper.get_config()
  config.objective = base.objective(
    'simclr', temperature=0.2, projector_hidden=4096, projector_out=512
  )
  config.optimizer = base.optimizer(
    'lars', lr=0.3, weight_decay=1e-4, clip=True
  )
  config.num_epochs = 400
  return config
