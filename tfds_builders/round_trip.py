"""Do the images of a data set lie where their positions say?

Each is compared with the FITS file that it was cut from, at the pixels where
that file's own WCS puts its position, pixel scale and rotation.
"""

import json
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from radio_ssl.data import cutouts, fits, pipeline, places, resample, windows

# A shift by one pixel of noise on a beam of three pixels gives 0.86.
_ALIKE = 0.95
# Only the middle is compared: towards the edges of a tile a projection may have
# moved the sky by a pixel.
_COMPARED_PIX = 24
# What `fits.opened` would look for is none of this program's business.
_LOOKED_AT = windows.Statistics(1.0, 0.0, 1.0)
_OVERRIDES = ('unit', 'beam_arcsec', 'channel', 'stokes')


def problems(dataset: pipeline.DataSet, pattern: str) -> Iterator[str]:
  """A line for each kind of fault.

  Args:
    dataset: with positions, made of FITS images.
    pattern: of the images' paths (`places.fits_files`).

  Raises:
    ValueError: no file, or images that were smoothed on the way.
  """
  paths = places.fits_files(pattern)
  if not paths:
    raise ValueError(f'{pattern}: no such files. Correct --images.')
  metadata = json.loads((dataset.directory / 'metadata.json').read_text())
  options = metadata.get('options', {})
  if options.get('target_beam_arcsec'):
    raise ValueError(
      f'{dataset.directory}: its images were smoothed and cannot be compared '
      'with those of the files. Leave out --images.'
    )
  overrides = {k: options[k] for k in _OVERRIDES if options.get(k) is not None}
  for split in dataset.num_examples:
    yield from _of_split(dataset, split, paths, overrides)


def _of_split(
  dataset: pipeline.DataSet,
  split: str,
  paths: Sequence[pathlib.Path],
  overrides: dict[str, Any],
) -> Iterator[str]:
  source = dataset.source(split)
  of_file: dict[str, list[int]] = {}
  for number in range(len(source)):
    name = source[number]['source_file'].decode()
    of_file.setdefault(name, []).append(number)
  elsewhere, lost = [], []
  for name, numbers in of_file.items():
    left = dict.fromkeys(numbers)
    # Pointings of a survey often have one file name, each in its folder.
    files = [path for path in paths if path.name == name]
    for path in files:
      with fits.opened(path, statistics=_LOOKED_AT, **overrides) as image:
        found = [n for n in left if likeness(source[n], image) >= _ALIKE]
      for number in found:
        del left[number]
    named = [source[n]['name'].decode() for n in left]
    (elsewhere if files else lost).extend(named)
  for what, names in (
    ('do not show what the file has at their position', elsewhere),
    ('come from files that are not among --images', lost),
  ):
    if names:
      yield f'{split}: {len(names)} images {what}, such as {names[0]}'


def likeness(example: dict[str, Any], image: fits.Image) -> float:
  """Correlation of an example's middle with what an image has there.

  Args:
    example: a record, its `image` in Jy/beam.
    image: that it may have been cut from.

  Returns:
    -1 to 1; 0 where the two have nothing to compare.
  """
  mine = example['image'][..., 0]
  edge = max(0, (len(mine) - _COMPARED_PIX) // 2)
  mine = mine[edge : len(mine) - edge, edge : len(mine) - edge]
  scale = float(example['pixel_scale_arcsec'])
  y, x = cutouts.grid(
    image,
    float(example['ra_deg']),
    float(example['dec_deg']),
    len(mine),
    scale,
    float(np.nan_to_num(example['rotation_deg'])),
  )
  ratio = scale / image.pixel_scale_arcsec
  theirs = resample.sample(image.pixels_jy_beam, y, x, ratio)
  both = np.isfinite(mine) & np.isfinite(theirs)
  if not both.any():
    return 0.0
  # The logarithm of a bright source would be all of a correlation.
  a, b = (_even(values[both]) for values in (mine, theirs))
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Constant images correlate with nothing.
    return float(np.nan_to_num(np.corrcoef(a, b)[0, 1]))


def _even(values: np.ndarray) -> np.ndarray:
  """With the bright pixels brought nearer to the noise."""
  middle = np.median(values)
  spread = np.median(np.abs(values - middle)) or 1.0
  return np.arcsinh((values - middle) / spread)
