"""BYOL on source-centred VLA FIRST fields; data set as in simclr_first.py.

python main.py --config=configs/byol_first.py --workdir=runs/byol_first
"""

import ml_collections

from configs import base, simclr_first


def get_config() -> ml_collections.ConfigDict:
  """As `simclr_first`, with BYOL's objective; no score is claimed yet."""
  config = simclr_first.get_config()
  config.objective = base.objective(
    'byol', hidden=1024, out=256, ema_decay=0.999, norm_z=True
  )
  return config
