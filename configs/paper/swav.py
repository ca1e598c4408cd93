"""SwAV as in the radio benchmark (Cecconello et al. 2024, arXiv:2411.14078).

python main.py --config=configs/paper/swav.py --config.data.name=NAME \
  --workdir=runs/paper_swav

From the benchmark's repository: heads, 3000 prototypes (300 are seen there
too), the queue, temperature, Sinkhorn, LARS of lr 0.6 and decay 1e-6. From the
code of the method's authors (arXiv:2006.09882): a queue that is used from epoch
15 on and prototypes that stay put for an epoch. Not known, and ours: the batch
of 256 and 400 epochs, both as for W-MSE.
"""

import ml_collections

from configs import base
from configs.paper import base as paper


def get_config() -> ml_collections.ConfigDict:
  """As `configs/paper/base.py`, with the objective of SwAV."""
  config = paper.get_config()
  config.objective = base.objective(
    'swav',
    projector_hidden=2048,
    projector_out=128,
    num_prototypes=3000,
    temperature=0.1,
    sinkhorn_epsilon=0.05,
    sinkhorn_iterations=3,
    queue_size=3840,
    queue_start_epoch=15,
    freeze_prototypes_epochs=1,
  )
  config.optimizer = base.optimizer(
    'lars', lr=0.6, weight_decay=1e-6, clip=True
  )
  config.num_epochs = 400
  return config
