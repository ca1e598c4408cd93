"""What the runs of the radio benchmark share.

Cecconello et al. 2024, https://arxiv.org/abs/2411.14078, and its repository:
images of 224 pixels, scaled between their own least and greatest value, in
three channels that each bend them by a stretch drawn from a family ("mixed");
bicubic crops of 0.65 to 1 of the area, mirrored views, blur of every fourth,
contrast up to 0.8 of every second; no rotation, no added noise; 10 epochs of
warm-up; LARS whose local rates are clipped.
Ours: square crops, a blur in arcsec, all channels linear in evaluation, and all
else that `configs/base.py` has. An empty field becomes amplified noise in such
a scaling, and in FIRST the least value is an artefact: it is for comparison.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  """`configs/base.py` with the benchmark's views, batch and warm-up."""
  config = base.get_config()
  config.input.size_pix = 224
  config.input.channels = 3
  config.input.interval = 'minmax'
  config.input.stretch = 'linear'
  config.input.stretch_a = 1.0
  group = config.views['global']
  group.crop_area = (0.65, 1.0)
  group.bicubic = True
  # The first two are one function: two chances of three, as there.
  group.channel_stretches = (
    ('power', 'squared', 'sinh'),
    ('linear',),
    ('log', 'sqrt', 'asinh'),
  )
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
