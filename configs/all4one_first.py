"""All4One on source-centred VLA FIRST fields; data set as in simclr_first.py.

python main.py --config=configs/all4one_first.py --workdir=runs/all4one_first

From the radio benchmark (Cecconello et al. 2024, arXiv:2411.14078): z of length
256 and the temperature. From the code of the method's authors
(arXiv:2303.09417): five neighbours, the transformer, the weights of the terms,
the other temperature, the decay. Ours: heads half and a quarter as wide, AdamW,
the views, the batch of 128, and a queue of 512 where both have about 98304: at
most half of a corpus of a thousand images, so that an image's last projection
has mostly left the queue when it comes again.
"""

import ml_collections

from configs import base, simclr_first


def get_config(optimizer: str = 'adamw') -> ml_collections.ConfigDict:
  """As `simclr_first`, with the objective of All4One.

  Args:
    optimizer: as in `simclr_first`; the paper's All4One has LARS of lr 1.0 and
      weight_decay 1e-5.
  """
  config = simclr_first.get_config(optimizer)
  config.objective = base.objective(
    'all4one',
    temperature=0.2,
    projector_hidden=1024,
    projector_out=256,
    predictor_hidden=1024,
    queue_size=512,
  )
  return config
