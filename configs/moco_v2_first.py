"""MoCo v2 on source-centred VLA FIRST fields; data set as in simclr_first.py.

python main.py --config=configs/moco_v2_first.py --workdir=runs/moco_v2_first

Not among the methods of the radio benchmark (Cecconello et al. 2024,
arXiv:2411.14078). From the method's papers (arXiv:2003.04297, 1911.05722): the
head, z of length 128, the temperature. From arXiv:2011.10566: both views are
query and key. Ours: AdamW, the views, the batch of 128; a queue of 512 keys
where the papers have 65536, of the two last batches, so that an image's keys
have mostly left it when the image comes again; an average of decay 0.99, not
0.999: of a run of 800 steps that would still be half its first weights.
"""

import ml_collections

from configs import base, simclr_first


def get_config(optimizer: str = 'adamw') -> ml_collections.ConfigDict:
  """As `simclr_first`, with the objective of MoCo v2.

  Args:
    optimizer: as in `simclr_first`; the papers' MoCo has SGD of lr 0.03 and
      weight_decay 1e-4.
  """
  config = simclr_first.get_config(optimizer)
  config.objective = base.objective(
    'moco_v2',
    temperature=0.2,
    projector_hidden=0,
    projector_out=128,
    queue_size=512,
    symmetric=True,
    ema_decay=0.99,
  )
  return config
