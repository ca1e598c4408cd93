"""Linear probe on MiraBest Confident, taught by a few labels of each class.

  python -m radio_ssl.evaluate --config=configs/eval/few_labels_mirabest.py \
    --checkpoint=runs/x --output=runs/x/few_labels

Twenty draws each of 1, 2, 5, 10 and 30 labels of a class, beside the probe that
has all of them; `label_curve.png` shows the scores.
"""

import ml_collections

from configs.eval import linear_mirabest


def get_config() -> ml_collections.ConfigDict:
  """As `linear_mirabest`, with the numbers of labels."""
  config = linear_mirabest.get_config()
  config.label_counts = (1, 2, 5, 10, 30)
  return config
