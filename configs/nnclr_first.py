"""NNCLR on source-centred VLA FIRST fields; data set as in simclr_first.py.

python main.py --config=configs/nnclr_first.py --workdir=runs/nnclr_first
python main.py --config=configs/nnclr_first.py:multicrop --workdir=runs/nnclr_mc

Not among the methods of the radio benchmark (Cecconello et al. 2024,
arXiv:2411.14078). From the method's paper (arXiv:2104.14548): the heads'
layers, z of length 256, the temperature. Ours: heads half and a quarter as
wide, AdamW, the views, the batch of 128, and a queue of 512 where the paper has
98304: at most half of a corpus of a thousand images, so that an image's last
projection has mostly left the queue when it comes again.
"""

import ml_collections

from configs import base, dino_first, simclr_first


def get_config(variant: str = 'adamw') -> ml_collections.ConfigDict:
  """As `simclr_first`, with the objective of NNCLR.

  Args:
    variant: an optimiser as in `simclr_first` (solo-learn trains NNCLR on
      ImageNet-100 with LARS of lr 0.4 and weight_decay 1e-5); or 'multicrop',
      as the paper's best encoder has it: AdamW and the local views of
      `dino_first`.
  """
  multicrop = variant == 'multicrop'
  config = simclr_first.get_config('adamw' if multicrop else variant)
  config.objective = base.objective(
    'nnclr',
    temperature=0.1,
    projector_hidden=1024,
    projector_out=256,
    predictor_hidden=1024,
    queue_size=512,
    local_views=dino_first.LOCAL_VIEWS if multicrop else 0,
  )
  if multicrop:
    dino_first.add_local_views(config)
  return config
