"""VICReg on source-centred VLA FIRST fields; data set as in simclr_first.py.

python main.py --config=configs/vicreg_first.py --workdir=runs/vicreg_first

Not among the methods of the radio benchmark (Cecconello et al. 2024,
arXiv:2411.14078). From the method's paper (arXiv:2105.04906): the three layers
of the projector, the weights of the terms, gamma and epsilon. Ours: AdamW,
views, the batch of 128, and 1024 features where the paper has 8192. Covariances
over n images are off by about 1 / sqrt(n), which of D features gives a
covariance term of D / n: 8 here, as with solo-learn's 2048 and 256, and twice
that of the paper's 8192 and 2048.
"""

import ml_collections

from configs import base, simclr_first


def get_config(optimizer: str = 'adamw') -> ml_collections.ConfigDict:
  """As `simclr_first`, with the objective of VICReg.

  Args:
    optimizer: as in `simclr_first`; the paper's VICReg has LARS of lr 0.2 and
      weight_decay 1e-6, its authors' code trust_coefficient 1e-3.
  """
  config = simclr_first.get_config(optimizer)
  config.objective = base.objective(
    'vicreg',
    invariance_weight=25.0,
    variance_weight=25.0,
    covariance_weight=1.0,
    projector_hidden=1024,
    projector_out=1024,
  )
  return config
