"""Fine-tuning on MiraBest Confident, or training from scratch.

  python -m radio_ssl.evaluate --config=configs/eval/finetune_mirabest.py \
    --checkpoint=runs/x --output=runs/x/finetune
  python -m radio_ssl.evaluate --config=configs/eval/finetune_mirabest.py \
    --baseline=random --output=runs/scratch

Of Cecconello et al. 2024 (arXiv:2411.14078): AdamW of learning rate 5e-4 for
256 images, 100 epochs with a warm-up and a half cosine. Ours: 10 epochs of
warm-up, the weight decay, and crops and flips as in the linear evaluation.

The encoder is taught once for every fold, and once for the test split.
"""

import ml_collections

from configs.eval import linear_mirabest


def get_config() -> ml_collections.ConfigDict:
  """As `linear_mirabest`; three folds, and one view an image is scored."""
  config = linear_mirabest.get_config()
  config.protocol = 'finetune'
  config.training.warmup_epochs = 10
  config.num_folds = 3
  config.rotations = 1
  return config
