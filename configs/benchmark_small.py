"""The benchmark at a size for one or two CPU cores: six methods, real images.

  python -m radio_ssl.benchmark --config=configs/benchmark_small.py \
    --workdir=runs/benchmark --dry_run       # the cells, and what is wrong
  python -m radio_ssl.benchmark ... --status # how far it is, at any time

Which encoder is best, what centring of the pretraining images does, how many
labels it saves, and what fine-tuning adds. All images are VLA FIRST's around
sources of MiraBest: all fields hold a catalogued radio galaxy, the tiles' too,
so that this is no measure of what *blind* survey images would teach.

Each method has the best of three learning rates, searched with this budget on
855 of these images (README, "The benchmark's six methods"; `learning_rates`
searches again, in three times the runs of a seed). The methods that are
fine-tuned are chosen by cross-validation away from the hold-out; what the table
at the end scores is the hold-out, and the test split of FR-DEEP, which chose
nothing.

Data sets, in $TFDS_DATA_DIR (M has the files of MiraBest, FITS the images):

  python -m tfds_builders.build mirabest --config fits
  python -m tfds_builders.build frg --config clean
  python -m tfds_builders.build fr_deep --config first      # and nvss
  python -m tfds_builders.holdout .../mirabest/fits/1.0.0 \
    .../frg/clean/1.0.0 --output holdout.csv
  python -m tfds_builders.mirabest.exclusion --manual_dir M --all \
    --output first.csv
  B="python -m tfds_builders.build radio_fits --images FITS \
    --beam_arcsec 5.4 --exclude holdout.csv"
  $B --config cutouts --name first --catalogue first.csv
  $B --config cutouts --name first_resized --catalogue first.csv \
    --source_factor 2.5 --size_pix 128 --allow_coarse_pixels
  $B --config tiles --name first --size_pix 150 --stride_pix 75

and the weights of ImageNet, as configs/simclr_lite0_first.py tells, in
runs/lite0, and once more with `--size_pix 96` in runs/lite0_96.

On one core of a shared virtual machine a seed takes 85 minutes of pretraining
(18 runs of 4 to 8) and 35 of linear and kNN evaluation, without ImageNet's.
Scores: README, "The small benchmark".
"""

import ml_collections

from configs import (
  all4one_first,
  base,
  byol_first,
  dino_first,
  simclr_first,
  swav_first,
  wmse_first,
)
from configs.eval import (
  few_labels_mirabest,
  finetune_mirabest,
  linear_mirabest,
)

# With the learning rate of each.
_METHODS = {
  'simclr': (simclr_first, 6e-3),
  'byol': (byol_first, 2e-3),
  'dino': (dino_first, 6e-3),
  'swav': (swav_first, 7e-4),
  'wmse': (wmse_first, 2e-3),
  'all4one': (all4one_first, 2e-3),
}


def get_config() -> ml_collections.ConfigDict:
  """Every field of a benchmark; names of entries are free, and name folders."""
  config = ml_collections.ConfigDict()
  config.title = 'Six methods on FIRST, small ResNet-18'

  # The fields that a pretraining has, for checks alone.
  config.base = base.get_config()
  # {name: config of a pretraining}; its data, encoder and seed are replaced.
  config.methods = ml_collections.ConfigDict(
    {name: _method(*settings) for name, settings in _METHODS.items()}
  )
  config.encoders = ml_collections.ConfigDict(
    {'resnet18_half': base.encoder('resnet18', width=0.5)}
  )
  config.corpora = _corpora()
  # Of the pretraining.
  config.seeds = (0, 1, 2)
  # Tried for every method and encoder; () takes those of the methods.
  config.learning_rates = ()
  # Where they are compared: always by cross-validation in the training split,
  # without what is held out.
  config.search = ml_collections.ConfigDict(
    {
      'corpus': 'centred',
      'seed': 0,
      'label_set': 'mirabest',
      'protocol': 'linear',
    }
  )

  config.label_sets = _label_sets()
  config.protocols = _protocols()
  # Protocols for the best so many methods alone, on these label sets alone, of
  # encoders pretrained on these corpora alone: all that are not named.
  config.protocol_of_best = ml_collections.ConfigDict(
    {'label_fraction': 2, 'finetune': 2}
  )
  config.protocol_label_sets = ml_collections.ConfigDict(
    {'label_fraction': ('mirabest',), 'finetune': ('mirabest',)}
  )
  config.protocol_corpora = ml_collections.ConfigDict(
    {'finetune': ('centred',)}
  )

  config.baselines = _baselines()
  config.checkpoints = _checkpoints()
  # A:B, fixed before any result is seen; p is corrected for all of them.
  config.comparisons = tuple(
    [f'{name}@centred:untrained' for name in _METHODS]
    + [f'{name}@centred:imagenet_lite0' for name in _METHODS]
    + [f'{name}@centred:{name}@off_centre' for name in _METHODS]
    + [f'{name}@centred:{name}@resized' for name in _METHODS]
  )
  return config


def _method(module, lr: float) -> ml_collections.ConfigDict:
  config = module.get_config()
  config.optimizer.lr = lr
  config.num_epochs = 30
  return config


def _corpora() -> ml_collections.ConfigDict:
  """{name: changes of the pretraining's `data`}, equal numbers of images.

  Of its `input` and `views` under these names.
  """
  return ml_collections.ConfigDict(
    {
      'centred': {
        'name': 'first',
        'config': 'cutouts',
        'split': 'train[:849]',
      },
      'resized': {
        'name': 'first_resized',
        'config': 'cutouts',
        'split': 'train[:849]',
        # A source fills the same share of every image, whatever its size.
        'input': {'field_arcsec': None, 'allow_coarse_pixels': True},
        # In arcsec, of which a pixel has no one number here.
        'views': {
          'global': {'blur_probability': 0.0, 'noise_sigma': (0.0, 0.0)}
        },
      },
      'off_centre': {
        'name': 'first',
        'config': 'tiles',
        'split': 'train[:849]',
      },
    }
  )


def _label_sets() -> ml_collections.ConfigDict:
  """{name: changes of the evaluation's `data`}, and its `fields_arcsec`.

  One field for all encoders, so that all see the same sky; of NVSS as many
  beams.
  """
  held_out = {'holdout': 'holdout.csv', 'holdout_use': 'test'}
  first = {'fields_arcsec': (172.8,)}
  return ml_collections.ConfigDict(
    {
      'mirabest': {'name': 'mirabest', 'config': 'fits', **first, **held_out},
      'frg': {'name': 'frg', 'config': 'clean', **first, **held_out},
      'fr_deep_first': {'name': 'fr_deep', 'config': 'first', **first},
      'fr_deep_nvss': {
        'name': 'fr_deep',
        'config': 'nvss',
        'fields_arcsec': (1440.0,),
      },
    }
  )


def _protocols() -> ml_collections.ConfigDict:
  """{name: config of an evaluation}; its data are replaced."""
  protocols = ml_collections.ConfigDict(
    {
      'linear': linear_mirabest.get_config(),
      'knn': linear_mirabest.get_config(),
      'label_fraction': few_labels_mirabest.get_config(),
      'finetune': finetune_mirabest.get_config(),
    }
  )
  protocols.knn.protocol = 'knn'
  # Two trainings on half of the sources, and the one that is scored.
  protocols.finetune.num_folds = 2
  return protocols


def _baselines() -> ml_collections.ConfigDict:
  """{name: a baseline of the evaluator, its seeds and label sets}, default all.

  The untrained encoder, fine-tuned, is training from scratch; sizes and fluxes
  come with MiraBest alone.
  """
  return ml_collections.ConfigDict(
    {
      'untrained': {'baseline': 'random', 'seeds': (0, 1, 2)},
      'pixels': {'baseline': 'pixels', 'seeds': (0,)},
      'catalogue': {
        'baseline': 'catalogue',
        'seeds': (0,),
        'label_sets': ('mirabest',),
      },
    }
  )


def _checkpoints() -> ml_collections.ConfigDict:
  """{name: a run or an export from elsewhere}, its protocols and label sets.

  To fine-tune ImageNet's at 224 pixels takes hours on a core: at 96 it is done.
  """
  return ml_collections.ConfigDict(
    {
      'imagenet_lite0': {
        'path': 'runs/lite0',
        'seeds': (0,),
        'protocols': ('linear', 'knn', 'label_fraction'),
      },
      'imagenet_lite0_96': {
        'path': 'runs/lite0_96',
        'seeds': (0,),
        'protocols': ('linear', 'finetune'),
      },
    }
  )
