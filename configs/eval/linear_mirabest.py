"""Linear probe on MiraBest Confident: FRI against FRII, 729 / 104.

  python -m radio_ssl.evaluate --config=configs/eval/linear_mirabest.py \
    --checkpoint=runs/x --output=runs/x/eval

`--config.data.config=fits` takes the same sources from FITS, in Jy/beam. Build
them with: python -m tfds_builders.build mirabest --config confident

`--config.data.holdout=holdout.csv` leaves out what `tfds_builders.holdout` held
out, here and in FRG; for the final table add `--config.data.holdout_use=test`.
"""

import ml_collections

from configs.eval import base


def get_config() -> ml_collections.ConfigDict:
  """The official batches and split."""
  config = base.get_config()
  config.data.name = 'mirabest'
  config.data.config = 'confident'
  return config
