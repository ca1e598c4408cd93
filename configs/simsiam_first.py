"""SimSiam on source-centred VLA FIRST fields; data set as in simclr_first.py.

python main.py --config=configs/simsiam_first.py --workdir=runs/simsiam_first

Not among the methods of the radio benchmark (Cecconello et al. 2024,
arXiv:2411.14078). From the method's paper (arXiv:2011.10566): the heads'
layers, a predictor with a bottleneck of a quarter of z and a learning rate that
stays where the others begin to fall. Ours: heads half as wide, AdamW, the
warm-up (which the predictor does without), views and batch.
"""

import ml_collections

from configs import base, simclr_first


def get_config(optimizer: str = 'adamw') -> ml_collections.ConfigDict:
  """As `simclr_first`, with the objective of SimSiam.

  Args:
    optimizer: as in `simclr_first`; the paper's SimSiam has SGD of lr 0.05 and
      weight_decay 1e-4.
  """
  config = simclr_first.get_config(optimizer)
  config.objective = base.objective(
    'simsiam',
    projector_hidden=1024,
    projector_out=1024,
    predictor_hidden=256,
  )
  config.constant_lr = ('predictor',)
  return config
