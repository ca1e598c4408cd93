"""W-MSE on source-centred VLA FIRST fields; data set as in simclr_first.py.

python main.py --config=configs/wmse_first.py --workdir=runs/wmse_first

The heads, groups of 128 and one dealing are those of the radio benchmark
(Cecconello et al. 2024, arXiv:2411.14078), whose groups are twice the length
of z as in the method's paper (arXiv:2007.06346). Ours: the ridge under the
covariance, AdamW, the views and the batch of 128, which is one group.
"""

import ml_collections

from configs import base, simclr_first


def get_config(optimizer: str = 'adamw') -> ml_collections.ConfigDict:
  """As `simclr_first`, with the objective of W-MSE.

  Args:
    optimizer: as in `simclr_first`; the paper's W-MSE has Adam of lr 2e-3 and
      weight_decay 1e-6.
  """
  config = simclr_first.get_config(optimizer)
  config.objective = base.objective(
    'wmse',
    projector_hidden=1024,
    projector_out=64,
    whitening_size=128,
    whitening_iterations=1,
    whitening_eps=1e-8,
  )
  return config
