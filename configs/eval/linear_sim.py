"""Linear probe on the simulated survey: five morphologies, sky-wise split."""

import ml_collections

from configs.eval import base


def get_config() -> ml_collections.ConfigDict:
  """The simulated cutouts; test sources lie in mosaics of their own."""
  config = base.get_config()
  config.data.name = 'radio_sim'
  config.data.config = 'cutouts'
  config.num_folds = 3
  return config
