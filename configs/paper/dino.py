"""DINO as in the radio benchmark (Cecconello et al. 2024, arXiv:2411.14078).

python main.py --config=configs/paper/dino.py --config.data.name=NAME \
  --workdir=runs/paper_dino

From the benchmark's repository: heads, 4096 prototypes, both temperatures, the
moving average from 0.9995, LARS of lr 0.3 and decay 1e-6. From the method's
paper: the centre's decay and prototypes that stay put for an epoch. Not known,
and ours: the batch of 256 and 400 epochs, both as for W-MSE; no gradient is
clipped, which the paper does for ViTs.
"""

import ml_collections

from configs import base
from configs.paper import base as paper


def get_config() -> ml_collections.ConfigDict:
  """As `configs/paper/base.py`, with the objective of DINO."""
  config = paper.get_config()
  config.objective = base.objective(
    'dino',
    projector_hidden=2048,
    projector_out=256,
    num_prototypes=4096,
    student_temperature=0.1,
    teacher_temperature=0.07,
    first_teacher_temperature=0.04,
    teacher_warmup_epochs=50,
    ema_decay=0.9995,
  )
  config.optimizer = base.optimizer(
    'lars', lr=0.3, weight_decay=1e-6, clip=True
  )
  config.num_epochs = 400
  return config
