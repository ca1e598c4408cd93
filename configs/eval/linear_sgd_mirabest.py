"""The radio benchmark's linear evaluation, on MiraBest Confident.

  python -m radio_ssl.evaluate --config=configs/eval/linear_sgd_mirabest.py \
    --checkpoint=runs/x --output=runs/x/linear_sgd

Of Cecconello et al. 2024 (arXiv:2411.14078): SGD of learning rate 0.3 for 256
images, no weight decay, 100 epochs, a tenth of the rate after epochs 10 and 80,
crops of 0.95 to 1 and flips. `configs/eval/linear_mirabest.py` finds the
optimum instead, and chooses its penalty.
"""

import ml_collections

from configs import base
from configs.eval import linear_mirabest


def get_config() -> ml_collections.ConfigDict:
  """As `linear_mirabest`, by SGD; one view an image is scored, as there."""
  config = linear_mirabest.get_config()
  config.protocol = 'linear_sgd'
  config.training.optimizer = base.optimizer('sgd', lr=0.3, weight_decay=0.0)
  config.training.lr_drops = (10, 80)
  config.rotations = 1
  return config
