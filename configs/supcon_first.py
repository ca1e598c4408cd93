"""SupCon on the training sources of MiraBest, told of their classes.

  python -m tfds_builders.build mirabest --config fits --manual_dir M
  python main.py --config=configs/supcon_first.py --workdir=runs/supcon_first

The images are of VLA FIRST as in simclr_first.py, and labelled: FRI or FRII,
728 of the split `train` in Jy/beam. What MiraBest tests on is not among them;
but scores by cross-validation inside `train` are of sources whose classes this
encoder was taught, and no measure of it.

Not among the methods of the radio benchmark (Cecconello et al. 2024,
arXiv:2411.14078). From the method's paper (arXiv:2004.11362): the head, z of
length 128, the temperature. Ours: AdamW, the batch of 128, the views, but for
their noise, as the declination changes FIRST's beam; and the epochs, which make
as many steps as simclr_first.
"""

import ml_collections

from configs import base, simclr_first


def get_config(optimizer: str = 'adamw') -> ml_collections.ConfigDict:
  """As `simclr_first`, with the objective of SupCon and a labelled set.

  Args:
    optimizer: as in `simclr_first`; solo-learn trains SupCon on ImageNet-100
      with SGD of lr 0.5 and weight_decay 1e-5.
  """
  config = simclr_first.get_config(optimizer)
  config.data.name = 'mirabest'
  config.data.config = 'fits'
  config.data.split = 'train'
  # Noise is correlated by one beam of the whole set, and these images have two.
  config.views['global'].noise_sigma = (0.0, 0.0)
  config.objective = base.objective(
    'supcon', temperature=0.1, projector_hidden=0, projector_out=128
  )
  config.num_epochs = 160
  return config
