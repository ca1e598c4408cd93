"""Linear probe on FRG: FRI, FRII, compact and bent, split by sky.

  python -m radio_ssl.evaluate --config=configs/eval/linear_frg.py \
    --checkpoint=runs/x --output=runs/x/frg

Build it with: python -m tfds_builders.build frg --config clean

`--config.data.holdout=holdout.csv` leaves out what `tfds_builders.holdout` held
out, here and in MiraBest; for the final table add
`--config.data.holdout_use=test`.
"""

import ml_collections

from configs.eval import base


def get_config() -> ml_collections.ConfigDict:
  """The split without leaks; `valid` is left for the choice of settings."""
  config = base.get_config()
  config.data.name = 'frg'
  config.data.config = 'clean'
  return config
