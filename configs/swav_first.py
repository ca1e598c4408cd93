"""SwAV on source-centred VLA FIRST fields; data set as in simclr_first.py.

python main.py --config=configs/swav_first.py --workdir=runs/swav_first
python main.py --config=configs/swav_first.py:multicrop --workdir=runs/swav_mc

Heads, temperature and Sinkhorn are those of the radio benchmark (Cecconello et
al. 2024, arXiv:2411.14078); all of its SwAV is in `configs/paper/swav.py`.
Ours, for a corpus of a thousand images: 100 prototypes, a queue of less than
half the corpus, AdamW, views and batch.
"""

import ml_collections

from configs import base, dino_first, simclr_first


def get_config(variant: str = 'adamw') -> ml_collections.ConfigDict:
  """As `simclr_first`, with the objective of SwAV.

  Args:
    variant: an optimiser as in `simclr_first` (the benchmark's SwAV has LARS of
      lr 0.6 and decay 1e-6); or 'multicrop': AdamW and the local views of
      `dino_first`, some of which hold one lobe of a source, or nothing of it.
  """
  multicrop = variant == 'multicrop'
  config = simclr_first.get_config('adamw' if multicrop else variant)
  config.objective = base.objective(
    'swav',
    num_prototypes=100,
    queue_size=512,
    local_views=dino_first.LOCAL_VIEWS if multicrop else 0,
  )
  if multicrop:
    dino_first.add_local_views(config)
  return config
