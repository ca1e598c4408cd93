"""All4One as in the radio benchmark (Cecconello et al. 2024, arXiv:2411.14078).

python main.py --config=configs/paper/all4one.py --config.data.name=NAME \
  --workdir=runs/paper_all4one

From the benchmark's repository: heads, queue, temperature, LARS of lr 1.0 and
decay 1e-5. From the code of the method's authors (arXiv:2303.09417), on which
that repository rests: five neighbours, the transformer, the weights of the
terms, the other temperature, the decay from 0.99. Not known, and ours: the
batch of 256 and 400 epochs, both as for W-MSE. The authors' 0.1 is here as
well, the transformer's learning rate beside 1.0 of the rest.
"""

import ml_collections

from configs import base
from configs.paper import base as paper


def get_config() -> ml_collections.ConfigDict:
  """As `configs/paper/base.py`, with the objective of All4One."""
  config = paper.get_config()
  config.objective = base.objective(
    'all4one',
    temperature=0.2,
    centroid_temperature=0.1,
    neighbours=5,
    projector_hidden=2048,
    projector_out=256,
    predictor_hidden=4096,
    queue_size=98304,
    ema_decay=0.99,
  )
  config.optimizer = base.optimizer(
    'lars', lr=1.0, weight_decay=1e-5, clip=True
  )
  config.lr_factors.transformer = 0.1
  config.num_epochs = 400
  return config
