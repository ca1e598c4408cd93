"""What the runs of the radio benchmark share.

Cecconello et al. 2024, https://arxiv.org/abs/2411.14078, and its repository:
bicubic crops of 0.65 to 1 of the area, mirrored views, blur of every fourth,
contrast up to 0.8 of every second; no rotation, no added noise; 10 epochs of
warm-up; LARS whose local rates are clipped.
Ours: square crops, a blur in arcsec, and all else that `configs/base.py` has.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  """`configs/base.py` with the benchmark's views, batch and warm-up."""
  config = base.get_config()
  group = config.views['global']
  group.crop_area = (0.65, 1.0)
  group.bicubic = True
  group.rotate = False
  group.flip = True
  group.blur_probability = 0.25
  group.noise_sigma = (0.0, 0.0)
  group.gamma = (1.0, 1.0)
  group.contrast_probability = 0.5
  group.contrast = (0.2, 1.8)
  group.brightness = (0.0, 0.0)
  config.batch_size = 256
  config.warmup_epochs = 10
  return config
