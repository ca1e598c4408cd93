"""The schema that every image data set of this package shares.

Pixels are linear: float32 in Jy/beam with NaN where nothing was measured, or
uint8 where a source is published as an 8-bit picture. Rows follow FITS: row 0
is the southern edge and east is on the left, but for a turn by `rotation_deg`,
the angle of the columns from the north through east (NaN: not known).
"""

import dataclasses
from collections.abc import Iterable, Sequence
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


@dataclasses.dataclass(frozen=True)
class Geometry:
  """What holds for every image of a data set.

  Attributes:
    height: rows, in pixels.
    width: columns, in pixels.
    dtype: 'float32' (Jy/beam) or 'uint8'.
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
    dtype: np.float32 (Jy/beam, NaN = missing) or np.uint8.
    label_names: names of the classes; None for a set without labels.

  Returns:
    `image` [height, width, 1]; `name` and `source_file`; the position in
    degrees, ICRS, float64: of the source in cutouts, of the centre of the image
    in tiles; the scalars of `FLOAT_FIELDS`, NaN where unknown; and `label`.
  """
  # Bytes read 2 to 3 times faster than zlib; array_record compresses anyway.
  # A float64 `Scalar` would come back as float32.
  degrees = tfds.features.Tensor(shape=(), dtype=np.float64, encoding='bytes')
  fields = {
    'image': tfds.features.Tensor(
      shape=(height, width, 1), dtype=np.dtype(dtype), encoding='bytes'
    ),
    'name': tfds.features.Text(),
    'source_file': tfds.features.Text(),
    'ra_deg': degrees,
    'dec_deg': degrees,
  }
  for field in FLOAT_FIELDS:
    fields[field] = tfds.features.Scalar(np.float32)
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
