"""Barlow Twins on source-centred VLA FIRST fields.

Data set as in simclr_first.py.

  python main.py --config=configs/barlow_twins_first.py \
    --workdir=runs/barlow_twins_first

Not among the methods of the radio benchmark (Cecconello et al. 2024,
arXiv:2411.14078). From the method's paper (arXiv:2103.03230): the three layers
of the projector; from its authors' code, lambda. Ours: AdamW, views, the batch
of 128, and 1024 features where the paper has 8192. Correlations over N images
are off by about 1 / sqrt(N): with D features these errors alone give lambda D^2
/ N, beside D from a diagonal at 0. At 1024 and 128 their share is that of
solo-learn's 2048 and 256, and twice that of the paper's 8192 and 2048.
"""

import ml_collections

from configs import base, simclr_first


def get_config(optimizer: str = 'adamw') -> ml_collections.ConfigDict:
  """As `simclr_first`, with the objective of Barlow Twins.

  Args:
    optimizer: as in `simclr_first`; the authors' code has LARS of lr 0.2,
      weight_decay 1e-6 and trust_coefficient 1e-3, and a lower rate for biases:
      objective.scale_loss 0.024.
  """
  config = simclr_first.get_config(optimizer)
  config.objective = base.objective(
    'barlow_twins',
    redundancy_weight=0.0051,
    projector_hidden=1024,
    projector_out=1024,
  )
  return config
