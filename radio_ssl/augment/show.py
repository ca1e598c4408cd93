"""A sheet of what each augmentation does to images of a data set.

python -m radio_ssl.augment.show --config=configs/simclr_first.py \
  --output=views.png

One row an image: as the encoder's evaluator sees it, after each change alone,
and as whole views of the config. A change that the config has on is shown at
its strongest there; one that is off at the strength that its title tells.
Stretches are shown between the least and the greatest value of the field: up to
a thousand rms, half of them leave most sources black.
"""

import dataclasses
from collections.abc import Mapping

import jax
import matplotlib.figure
import ml_collections
import numpy as np
from absl import flags
from ml_collections import config_flags

from radio_ssl import cli
from radio_ssl.augment import inputs, stretch, views
from radio_ssl.data import pipeline, places

_INCHES = 1.0
_NUM_VIEWS = 4
# Shown where the config has them off.
_EXAMPLES = {
  'blur_sigma_arcsec': (2.0, 2.0),
  'noise_sigma': (1.0, 1.0),
  'beam_factor': (2.0, 2.0),
  'background_sigma': 5.0,
  'floor_percentile': (80.0, 80.0),
  'zscale_contrast': (0.25, 0.25),
  'contrast': (1.25, 1.25),
  # The paper's "mixed".
  'channel_stretches': (
    ('power', 'squared', 'sinh'),
    ('linear',),
    ('log', 'sqrt', 'asinh'),
  ),
}
_OFF = {
  'rotate': False,
  'flip': False,
  'blur_probability': 0.0,
  'noise_sigma': (0.0, 0.0),
  'stretches': (),
  'gamma': (1.0, 1.0),
  'contrast_probability': 0.0,
  'beam_factor': (1.0, 1.0),
  'background_sigma': 0.0,
  'floor_percentile': (0.0, 0.0),
  'zscale_contrast': (0.0, 0.0),
  'channel_stretches': (),
}


def _plain(group: views.ViewGroup) -> views.ViewGroup:
  widest = group.crop_area[1]
  return dataclasses.replace(group, **_OFF, crop_area=(widest, widest))


def stretched(group: views.ViewGroup) -> dict[str, views.ViewGroup]:
  """Title -> a group of three channels that bends them and does no more."""
  families = group.channel_stretches or _EXAMPLES['channel_stretches']
  changes = {
    **{f'stretch {s}': {'stretches': (s,)} for s in stretch.STRETCHES},
    'stretch by channel': {'channel_stretches': families},
  }
  return {
    title: dataclasses.replace(_plain(group), **fields)
    for title, fields in changes.items()
  }


def alone(group: views.ViewGroup) -> dict[str, views.ViewGroup]:
  """Title -> a group that makes one change only, at its strongest."""
  plain = _plain(group)

  def value(field):
    mine = getattr(group, field)
    if mine == _OFF.get(field):
      return _EXAMPLES[field]
    return (mine[1], mine[1]) if isinstance(mine, tuple) else mine

  changes = {
    f'crop to {group.crop_area[0]:g}': {
      'crop_area': (group.crop_area[0], group.crop_area[0])
    },
    'turn and mirror': {'rotate': True, 'flip': True},
    f'blur {value("blur_sigma_arcsec")[0]:g} arcsec': {
      'blur_probability': 1.0,
      'blur_sigma_arcsec': value('blur_sigma_arcsec'),
    },
    f'noise {value("noise_sigma")[0]:g} rms': {
      'noise_sigma': value('noise_sigma')
    },
    f'beam x {value("beam_factor")[0]:g}': {
      'beam_factor': value('beam_factor')
    },
    f'background {value("background_sigma"):g} rms': {
      'background_sigma': value('background_sigma')
    },
    f'floor {value("floor_percentile")[0]:g} %': {
      'floor_percentile': value('floor_percentile')
    },
    f'z-scale {value("zscale_contrast")[0]:g}': {
      'zscale_contrast': value('zscale_contrast')
    },
    **{
      f'gamma {g:g}': {'gamma': (g, g)} for g in sorted({*group.gamma} - {1.0})
    },
    f'contrast {value("contrast")[0]:g}': {
      'contrast_probability': 1.0,
      'contrast': value('contrast'),
      'brightness': (0.0, 0.0),
    },
  }
  return {
    title: dataclasses.replace(plain, **fields)
    for title, fields in changes.items()
  }


def panels(
  config: ml_collections.ConfigDict, num_images: int
) -> tuple[list[str], Mapping[str, np.ndarray]]:
  """Names of the images, and title -> [V, N, S, S, C] in [0, 1].

  Args:
    config: of a pretraining run.
    num_images: spread over the split.

  Raises:
    ValueError: no data set, or settings that do not fit it.
  """
  place = {k: config.data[k] for k in ('dir', 'name', 'config', 'data_dir')}
  dataset = pipeline.open_dataset(places.find(**place))
  source = dataset.source(config.data.split)
  count = min(num_images, len(source))
  chosen = np.linspace(0, len(source) - 1, count).astype(int)
  records = [source[int(n)] for n in chosen]
  rows = [pipeline.to_example(n, record) for n, record in enumerate(records)]
  batch = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
  batch['row'] = np.arange(count)
  image_input = inputs.parse(config.input)
  made = {
    'input': np.asarray(inputs.prepare(batch, image_input, dataset.geometry))[
      None
    ]
  }
  for name in config.views:
    group = views.parse(config.views[name], name)
    bent = dataclasses.replace(image_input, interval='minmax', channels=3)
    for shown, groups, count in (
      (image_input, alone(group), 1),
      (bent, stretched(group), 1),
      (image_input, {'views': group}, _NUM_VIEWS),
    ):
      make = views.make_views(
        shown, groups, dict.fromkeys(groups, count), dataset.geometry
      )
      found = jax.device_get(jax.jit(make)(batch, jax.random.key(config.seed)))
      # Under jit dictionaries come back in the order of their keys.
      made |= {f'{name}: {title}': found[title] for title in groups}
  return [record['name'].decode() for record in records], made


def sheet(
  names: list[str], made: Mapping[str, np.ndarray]
) -> matplotlib.figure.Figure:
  """A row an image; north is up where nothing was turned."""
  columns = [
    (title if number == 0 else '', images)
    for title, stack in made.items()
    for number, images in enumerate(stack)
  ]
  figure = matplotlib.figure.Figure(
    figsize=(_INCHES * len(columns), (_INCHES + 0.1) * len(names) + 0.5),
    layout='constrained',
  )
  grid = figure.subplots(len(names), len(columns), squeeze=False)
  for column, (title, images) in enumerate(columns):
    for row, image in enumerate(images):
      axes = grid[row, column]
      axes.set_axis_off()
      colours = image if image.shape[-1] == 3 else image[..., 0]
      axes.imshow(colours, cmap='gray', vmin=0, vmax=1, origin='lower')
      if row == 0:
        axes.set_title(title.replace(': ', ':\n'), fontsize=5)
      if column == 0:
        axes.text(
          0,
          -0.05,
          names[row][-24:],
          fontsize=4,
          va='top',
          transform=axes.transAxes,
        )
  return figure


def main() -> None:
  """Writes the sheet and prints its path."""
  values = flags.FLAGS
  if values.num_images < 1:
    raise ValueError(f'--num_images {values.num_images}: wanted 1 or more.')
  sheet(*panels(values.config, values.num_images)).savefig(
    values.output, dpi=150
  )
  print(values.output)


if __name__ == '__main__':
  config_flags.DEFINE_config_file('config', None, 'A file of configs/.')
  flags.DEFINE_string('output', 'views.png', 'The picture.')
  flags.DEFINE_integer('num_images', 6, 'Rows of the sheet.')
  cli.run(main, required=('config',))
