"""SimCLR on source-centred VLA FIRST fields.

The data set comes from FITS files of yours (see README, "Your own images").
FIRST's files from SkyView do not carry the beam, and the first command keeps
the test sources of MiraBest out of pretraining; the second lists all of them:

  python -m tfds_builders.mirabest.exclusion --manual_dir M --output test.csv
  python -m tfds_builders.mirabest.exclusion --manual_dir M --all \
    --output first.csv
  python -m tfds_builders.build radio_fits --config cutouts --name first \
    --images 'FITS/*' --catalogue first.csv --beam_arcsec 5.4 --exclude test.csv
  # The tiles: --config tiles, without --catalogue.
  python main.py --config=configs/simclr_first.py --workdir=runs/simclr_first

From the radio benchmark (Cecconello et al. 2024, arXiv:2411.14078): the
temperature, the least area of a crop. Ours, for a corpus of a thousand images:
a head a quarter as wide, AdamW, the scaling of `configs/base.py`, rotations,
noise and the other views, the batch of 128, 64 pixels, the epochs.
"""

import ml_collections

from configs import base


def get_config(optimizer: str = 'adamw') -> ml_collections.ConfigDict:
  """ResNet-18, 64-pixel views.

  Args:
    optimizer: after a colon on the command line, as in
      --config=configs/simclr_first.py:lars; one of `base.optimizer`, which has
      the settings of the others (LARS: those of SimCLR in the paper).

  Cost at half the width (--config.encoder.width=0.5): 11 to 14 minutes on one
  core of a shared virtual machine. A linear probe on MiraBest Confident then
  reaches 89.9 ± 2.0 from the FITS and 88.0 ± 0.7 from the pictures, untrained
  81.0 ± 1.4 and 81.5 ± 3.7 (test accuracy, two and four seeds; README, "Results
  on real images"). With --config.num_epochs=200, cross-validated on the FITS:
  91.6 ± 0.4 beside 90.9 ± 1.1 (commit 05cdc13, seeds 0 and 1).
  """
  config = base.get_config()
  config.data.name = 'first'
  config.data.config = 'cutouts'
  config.objective = base.objective(
    'simclr', temperature=0.2, projector_hidden=1024, projector_out=128
  )
  config.optimizer = base.optimizer(optimizer)
  config.batch_size = 128
  config.num_epochs = 100
  config.warmup_epochs = 5
  return config
