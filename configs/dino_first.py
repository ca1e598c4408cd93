"""DINO on source-centred VLA FIRST fields; data set as in simclr_first.py.

python main.py --config=configs/dino_first.py --workdir=runs/dino_first
python main.py --config=configs/dino_first.py:multicrop --workdir=runs/dino_mc

Heads are those of the radio benchmark (Cecconello et al. 2024,
arXiv:2411.14078); all of its DINO is in `configs/paper/dino.py`. Ours, for a
corpus of a thousand images: 100 prototypes, an average that forgets ten times
as fast, a temperature of the average that stays at 0.04, AdamW, views, batch.
"""

import ml_collections

from configs import base, simclr_first

LOCAL_VIEWS = 6


def get_config(variant: str = 'adamw') -> ml_collections.ConfigDict:
  """As `simclr_first`, with the objective of DINO.

  Args:
    variant: an optimiser as in `simclr_first` (the benchmark's DINO has LARS of
      lr 0.3 and decay 1e-6); or 'multicrop': AdamW and local views beside the
      two global ones, see `add_local_views`.

  Outputs are cosines, of about 1/16 either way at first. With the benchmark's
  rise of the temperature to 0.07 (over 10 epochs) the targets came to an
  entropy of 4.5 of ln 100 = 4.6, and told the student nothing: over 30 epochs
  of 855 fields at half the width (--config.encoder.width=0.5), AdamW of 2e-3, a
  probe of MiraBest's FITS was at 81.4 (510 sources, cross-validated, seed 0).
  At 0.04 it was at 83.5, and with AdamW of 6e-3 at 85.7; untrained 83.9 ± 0.7.
  """
  multicrop = variant == 'multicrop'
  config = simclr_first.get_config('adamw' if multicrop else variant)
  config.objective = base.objective(
    'dino',
    num_prototypes=100,
    ema_decay=0.995,
    first_teacher_temperature=0.04,
    teacher_temperature=0.04,
    teacher_warmup_epochs=0,
    local_views=LOCAL_VIEWS if multicrop else 0,
  )
  if multicrop:
    add_local_views(config)
  return config


def add_local_views(config: ml_collections.ConfigDict) -> None:
  """Gives `config` the group of views that the local ones of a method need.

  They show a fifth to half of the field's area, anywhere in it: some hold one
  lobe of a source, and some no part of it. At 48 pixels they are as sharp as
  global views; at 32 their pixels would be larger than half of FIRST's beam.
  """
  group = config.views['global'].copy_and_resolve_references()
  group.crop_area = (0.2, 0.5)
  group.size_pix = 48
  config.views['local'] = group
