"""Linear probe on FR-DEEP: FRI against FRII of FIRST or of NVSS, 550 / 50.

  python -m tfds_builders.build fr_deep --config first
  python -m radio_ssl.evaluate --config=configs/eval/linear_fr_deep.py \
    --checkpoint=runs/x --output=runs/x/fr_deep_first
  # NVSS, of a beam 8.3 times as wide: as many beams as of FIRST.
  python -m tfds_builders.build fr_deep --config nvss
  python -m radio_ssl.evaluate --config=configs/eval/linear_fr_deep.py:nvss \
    --checkpoint=runs/x --output=runs/x/fr_deep_nvss

Scores are descriptive: its sources have no positions, so that nobody can say
which of them an encoder has seen; and 50 test sources are few.
"""

import ml_collections

from configs.eval import base


def get_config(survey: str = 'first') -> ml_collections.ConfigDict:
  """The published split.

  Args:
    survey: 'first' or 'nvss'.
  """
  config = base.get_config()
  config.data.name = 'fr_deep'
  config.data.config = survey
  if survey == 'nvss':
    config.fields_arcsec = (1440.0,)
  return config
