"""A sheet of images of a data set, to look at before training on them.

python -m radio_ssl.data.show ~/tensorflow_datasets/first/cutouts/1.0.0
"""

import argparse
import pathlib
from collections.abc import Sequence

import matplotlib.figure
import matplotlib.patches
import numpy as np

from radio_ssl.data import noise, pipeline

_COLUMNS = 8
_INCHES = 1.6


def sheet(
  dataset: pipeline.DataSet,
  split: str,
  *,
  num_images: int,
  seed: int,
  interval: str,
) -> matplotlib.figure.Figure:
  """Images drawn by chance, each between limits of its own.

  North is up and east on the left, as rows are stored. Missing pixels are red;
  the ellipse in the corner is the beam.

  Args:
    dataset: any.
    split: or a slice of one.
    num_images: at most; all where there are fewer.
    seed: of the draw.
    interval: as for `noise.limits`, with the rms that the record tells where
      none can be measured; 8-bit pictures take their full range.
  """
  source = dataset.source(split)
  count = min(num_images, len(source))
  chosen = np.random.default_rng(seed).permutation(len(source))[:count]
  columns = min(count, _COLUMNS)
  rows = -(-count // columns)
  figure = matplotlib.figure.Figure(
    figsize=(_INCHES * columns, (_INCHES + 0.2) * rows + 0.4),
    layout='constrained',
  )
  panels = figure.subplots(rows, columns, squeeze=False).ravel()
  for axes in panels:
    axes.set_axis_off()
  # In the order of the records: neighbours on the sheet are not by chance.
  for axes, index in zip(panels, np.sort(chosen), strict=False):
    _draw(axes, source[int(index)], dataset.label_names, interval)
  figure.suptitle(
    f'{dataset.directory}, {split}: {count} of {len(source)} images'
  )
  return figure


def _draw(axes, record, label_names, interval: str) -> None:
  pixels = record['image'][..., 0]
  low, high = 0, 255
  if pixels.dtype != np.uint8:
    low, high = noise.limits(pixels, interval)
    if low == high and record['rms_jy_beam'] > 0:
      # Pictures without their noise, as floats: most pixels are alike.
      low, high = _told_limits(record)
  axes.imshow(
    np.ma.masked_invalid(pixels),
    cmap=matplotlib.colormaps['gray'].with_extremes(bad='red'),
    vmin=low,
    vmax=high,
    origin='lower',
    interpolation='nearest',
  )
  # A tile's place in its image stands at the end.
  title = record['name'].decode()[-34:]
  if label_names is not None:
    title = f'{label_names[record["label"]]}\n{title}'
  axes.set_title(title, fontsize=4.5, pad=2)
  scale = record['pixel_scale_arcsec']
  major, minor = (
    record[f'beam_{axis}_arcsec'] / scale for axis in ('major', 'minor')
  )
  if np.isfinite(major):
    # North through east is anticlockwise, from the y axis.
    angle = np.nan_to_num(record['beam_pa_deg'] - record['rotation_deg'])
    beam = matplotlib.patches.Ellipse(
      (major, major), minor, major, angle=angle, color='cyan'
    )
    axes.add_patch(beam)


def _told_limits(record) -> tuple[float, float]:
  background, rms = record['background_jy_beam'], record['rms_jy_beam']
  return float(background - rms), float(background + 30 * rms)


def main(argv: Sequence[str] | None = None) -> None:
  """Writes the sheet and prints its path."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('directory', type=pathlib.Path, help='of the data set')
  parser.add_argument('--split', default='train')
  parser.add_argument('--num_images', type=int, default=48)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument(
    '--interval',
    choices=('minmax', 'zscale', 'sigma_clip'),
    default='sigma_clip',
    help='what is black and white (default: sigma_clip, -1 to 30 rms)',
  )
  parser.add_argument('--output', type=pathlib.Path, default='sheet.png')
  args = parser.parse_args(argv)
  if args.num_images < 1:
    parser.error(f'--num_images {args.num_images}: wanted 1 or more.')
  try:
    figure = sheet(
      pipeline.open_dataset(args.directory),
      args.split,
      num_images=args.num_images,
      seed=args.seed,
      interval=args.interval,
    )
    figure.savefig(args.output, dpi=150)
  except (ValueError, OSError) as error:
    parser.error(str(error))
  print(args.output)


if __name__ == '__main__':
  main()
