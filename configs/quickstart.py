"""Simulated sky to probe in minutes on a laptop CPU, without a download.

  python main.py --config=configs/quickstart.py --workdir=runs/quickstart

Builds the simulated survey (`tfds_builders/radio_sim`), pretrains a narrow
ResNet-18 with SimCLR on its unlabelled training cutouts, and probes it on the
labelled ones beside the baselines. The simulation is made to look like FIRST
and is not tuned to flatter anybody.
"""

import ml_collections

from configs import base
from configs.eval import linear_sim


def get_config() -> ml_collections.ConfigDict:
  """A short run: about one minute of training on two cores."""
  config = base.get_config()
  config.data.name = 'radio_sim'
  config.data.config = 'cutouts'
  config.encoder = base.encoder('resnet18', width=0.5)
  config.objective = base.objective(
    'simclr', projector_hidden=512, projector_out=128
  )
  config.optimizer = base.optimizer('adamw', lr=4e-3)
  config.batch_size = 64
  config.num_epochs = 12
  config.warmup_epochs = 1
  config.log_every = 20
  config.save_every = 200
  config.monitor.name = 'radio_sim'
  config.monitor.config = 'cutouts'
  config.monitor.validation = 'validation'
  config.monitor.every = 100
  config.eval_after = linear_sim.get_config()
  config.eval_baselines = ('random', 'pixels', 'catalogue')
  return config
