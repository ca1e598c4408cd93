"""MoCo v3 on source-centred VLA FIRST fields; data set as in simclr_first.py.

python main.py --config=configs/moco_v3_first.py --workdir=runs/moco_v3_first
python main.py --config=configs/moco_v3_first.py:vit --workdir=runs/moco_v3_vit

Not among the methods of the radio benchmark (Cecconello et al. 2024,
arXiv:2411.14078). From the method's paper (arXiv:2104.02057): the heads'
layers, z of length 256, the decay; for a ViT the frozen projection of patches
and the weight decay. From its authors' code for ViTs, and solo-learn's for
ResNet-18: the temperature; the authors have 1.0 for ResNets. Ours: heads a
quarter as wide, AdamW for a ResNet too, learning rate and warm-up, the views,
and the batch, which is all the negatives there are: 128 where the paper has
4096.
"""

import ml_collections

from configs import base, simclr_first


def get_config(variant: str = 'adamw') -> ml_collections.ConfigDict:
  """As `simclr_first`, with the objective of MoCo v3.

  Args:
    variant: an optimiser as in `simclr_first` (the authors' code has LARS of lr
      0.3 and weight_decay 1.5e-6 for ResNets); or 'vit': ViT-Tiny with patches
      of 8 pixels, AdamW of weight_decay 0.1.
  """
  vit = variant == 'vit'
  config = simclr_first.get_config('adamw' if vit else variant)
  config.objective = base.objective(
    'moco_v3',
    temperature=0.2,
    projector_hidden=1024,
    projector_out=256,
    predictor_hidden=1024,
    ema_decay=0.99,
    freeze_patch_embedding=vit,
  )
  if vit:
    config.encoder = base.encoder('vit_tiny', patch_size=8)
    config.optimizer = base.optimizer('adamw', weight_decay=0.1)
  return config
