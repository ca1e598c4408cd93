"""The schema that every image data set of this package shares.

Pixels are linear: float32 in Jy/beam with NaN where nothing was measured, or
uint8 where a source is published as an 8-bit picture. Rows follow FITS: row 0
is the southern edge and east is on the left, but for a turn by `rotation_deg`,
the angle of the columns from the north through east (NaN: not known).

On disk, images may take half the room: float16 in units of the rms above the
background, to 2^-11 of that value. `stored` makes them, `restored` is the one
way back, and whoever reads through `pipeline` sees float32 Jy/beam.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

FLOAT_FIELDS = (
  'pixel_scale_arcsec',
  'rotation_deg',
  'beam_major_arcsec',
  'beam_minor_arcsec',
  'beam_pa_deg',
  'background_jy_beam',
  'rms_jy_beam',
  'source_size_arcsec',
  'flux_jy',
  'redshift',
)
# Of float16 images: Jy/beam of a stored 1, which is the rms wherever it can be.
SCALE_FIELD = 'image_scale_jy_beam'
SCALED_UNIT = f'{SCALE_FIELD} above background_jy_beam'
_DTYPES = ('float32', 'float16', 'uint8')
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
# Stands for the brightest pixel where there is no noise to measure it by.
_WITHOUT_NOISE = 2.0**15


@dataclasses.dataclass(frozen=True)
class Geometry:
  """What holds for every image of a data set.

  Attributes:
    height: rows, in pixels.
    width: columns, in pixels.
    dtype: 'float32' (Jy/beam) or 'uint8', as readers see them.
    pixel_scale_arcsec: side of a pixel, None where images differ.
    beam_major_arcsec: major axis of the beam (FWHM), None where images differ
      or nobody knows it.
    beam_minor_arcsec: minor axis, None as well where nobody noted it.
  """

  height: int
  width: int
  dtype: str
  pixel_scale_arcsec: float | None
  beam_major_arcsec: float | None
  beam_minor_arcsec: float | None = None


def features(
  height: int,
  width: int,
  *,
  dtype: Any = np.float32,
  label_names: Sequence[str] | None = None,
) -> tfds.features.FeaturesDict:
  """The features of one example.

  Args:
    height: rows of the image.
    width: columns of the image.
    dtype: of the images on disk: float32 (Jy/beam, NaN = missing), float16 (see
      `stored`) or uint8.
    label_names: names of the classes; None for a set without labels.

  Returns:
    `image` [height, width, 1]; `name` and `source_file`; the position in
    degrees, ICRS, float64: of the source in cutouts, of the centre of the image
    in tiles; the scalars of `FLOAT_FIELDS`, NaN where unknown; `label`; and
    `SCALE_FIELD` for float16.

  Raises:
    ValueError: another dtype.
  """
  dtype = np.dtype(dtype)
  if dtype.name not in _DTYPES:
    raise ValueError(
      f'dtype {dtype.name!r} of images: wanted one of {", ".join(_DTYPES)}.'
    )
  # From 150 pixels on bytes read twice as fast as zlib and are written 7 times
  # as fast as the default, in as little room: `radio_ssl.bench.read`.
  # A float64 `Scalar` would come back as float32.
  degrees = tfds.features.Tensor(shape=(), dtype=np.float64, encoding='bytes')
  fields = {
    'image': tfds.features.Tensor(
      shape=(height, width, 1), dtype=dtype, encoding='bytes'
    ),
    'name': tfds.features.Text(),
    'source_file': tfds.features.Text(),
    'ra_deg': degrees,
    'dec_deg': degrees,
  }
  for field in FLOAT_FIELDS:
    fields[field] = tfds.features.Scalar(np.float32)
  if dtype == np.float16:
    fields[SCALE_FIELD] = tfds.features.Scalar(np.float32)
  if label_names is not None:
    fields['label'] = tfds.features.ClassLabel(names=list(label_names))
  return tfds.features.FeaturesDict(fields)


def example(
  image: np.ndarray,
  *,
  name: str,
  source_file: str,
  ra_deg: float,
  dec_deg: float,
  label: str | int | None = None,
  **known: float,
) -> dict[str, Any]:
  """One example of `features`; every number that is not given is NaN.

  Args:
    image: [H, W], in the units of the set.
    name: what identifies the source or tile, unique in its split.
    source_file: file name of the image it comes from, without folders.
    ra_deg: right ascension, ICRS.
    dec_deg: declination, ICRS.
    label: name or number of the class, in labelled sets.
    **known: any of `FLOAT_FIELDS`.

  Returns:
    A dictionary ready for `features(...).encode_example`.
  """
  if unknown := set(known) - set(FLOAT_FIELDS):
    raise TypeError(f'not fields of an example: {sorted(unknown)}')
  values: dict[str, Any] = {
    'image': image[..., None],
    'name': name,
    'source_file': source_file,
    'ra_deg': np.float64(ra_deg),
    'dec_deg': np.float64(dec_deg),
  }
  for field in FLOAT_FIELDS:
    value = known.get(field)
    values[field] = np.float32(np.nan if value is None else value)
  if label is not None:
    values['label'] = label
  return values


def stored(example: Mapping[str, Any], dtype: str) -> dict[str, Any]:
  """An example as a data set of that dtype keeps it.

  float16 holds (pixels - background) / scale. The scale is the rms, doubled as
  often as it takes for the brightest pixel to fit: no value becomes infinite,
  and none gets less precise until pixels differ by a factor of 10^9. Without
  noise to go by (rms 0 or unknown) it is 2^-15 of the brightest pixel.

  Args:
    example: of `example`, float32 Jy/beam.
    dtype: 'float32', which changes nothing, or 'float16'.

  Returns:
    Fits `features(..., dtype=dtype)`. Missing pixels stay NaN.

  Raises:
    ValueError: another dtype; pixels that are infinite, or that have no
      background to be above. Names the example.
  """
  if dtype not in ('float32', 'float16'):
    raise ValueError(f'dtype {dtype!r}: wanted float32 or float16.')
  if dtype == 'float32':
    return dict(example)
  # In double precision, so that rounding to float16 is the only one.
  above = example['image'] - np.float64(example['background_jy_beam'])
  missing = np.isnan(example['image'])
  brightest = np.abs(above).max(where=~missing, initial=0.0)
  if not np.isfinite(brightest):
    raise ValueError(
      f'{example["name"]} of {example["source_file"]}: infinite pixels, or no '
      'background; float16 needs both finite. Leave it out, or store float32.'
    )
  scale = example['rms_jy_beam']
  if not (np.isfinite(scale) and scale > 0):
    scale = np.float32(brightest / _WITHOUT_NOISE) or np.float32(1)
  _, doublings = np.frexp(brightest / scale / _LARGEST_FLOAT16)
  scale = np.ldexp(scale, max(0, int(doublings)))
  return {
    **example,
    'image': (above / scale).astype(np.float16),
    SCALE_FIELD: scale,
  }


def restored(record: Mapping[str, Any]) -> dict[str, Any]:
  """A record with float32 Jy/beam for what `stored` made of it.

  Args:
    record: decoded; without `SCALE_FIELD` it is returned as it is.
  """
  record = dict(record)
  if SCALE_FIELD in record:
    pixels = record['image'].astype(np.float32)
    pixels *= record.pop(SCALE_FIELD)
    pixels += record['background_jy_beam']
    record['image'] = pixels
  return record


def shared(values: Iterable[float]) -> float | None:
  """The one value that all images have in common, else None.

  Args:
    values: the distinct values seen, in arcsec. Values that agree to one part
      in 10^5 count as one: headers are rounded.
  """
  values = np.asarray(list(values), np.float64)
  if not values.size or not np.isfinite(values).all():
    return None
  # Seven digits: what a float32 holds.
  middle = float(f'{np.median(values):.7g}')
  return middle if np.allclose(values, middle, rtol=1e-5, atol=0) else None
