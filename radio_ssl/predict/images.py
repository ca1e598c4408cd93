"""What the images of sources are like, and what is wrong with them."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from radio_ssl.augment import inputs
from radio_ssl.data import cutouts, pipeline
from radio_ssl.evaluate import features

_LOG = logging.getLogger(__name__)

# Below it a source's brightest pixel may be noise.
_FAINT = 5.0
# By how much beam and pixels may differ from those the encoder was trained on.
_TOLERANCE = 0.2
# Where nobody knows the beam: of the middle, in pixels.
_MIDDLE_PIX = 3.0


def described(
  frozen: features.FrozenEncoder, dataset: pipeline.DataSet, split: str
) -> dict[str, np.ndarray]:
  """Columns of every record, [N] each, NaN where unknown.

  Returns:
    'image', the file; 'rms_jy_beam'; 'beam_major_arcsec';
    'pixel_scale_arcsec'; 'missing', the share of pixels without a value in the
    largest field that the encoder is shown; 'missing_centre', whether there is
    one within a beam, or half the source's size, of the centre.
  """
  field = max(inputs.field_pix(i, dataset.geometry) for i in frozen.inputs)
  source, rows = dataset.source(split), []
  for record in (source[i] for i in range(len(source))):
    row = {
      name: _known(dataset, record, name)
      for name in ('beam_major_arcsec', 'pixel_scale_arcsec')
    }
    gaps = ~np.isfinite(cutouts.middle(record['image'][..., 0], field))
    rows.append(
      row
      | {
        'image': record['source_file'].decode(),
        'rms_jy_beam': record['rms_jy_beam'],
        'missing': gaps.mean(),
        'missing_centre': gaps[_centre(gaps.shape, record, row)].any(),
      }
    )
  return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _known(dataset: pipeline.DataSet, record, field: str) -> float:
  of_all = getattr(dataset.geometry, field)
  return float(record[field] if of_all is None else of_all)


def _centre(shape, record: Mapping[str, Any], row) -> np.ndarray:
  """Pixels of the source: within half its size of the centre, or a beam."""
  reach = np.fmax(row['beam_major_arcsec'], record['source_size_arcsec'] / 2)
  reach = np.fmax(reach / row['pixel_scale_arcsec'], _MIDDLE_PIX)
  y, x = np.indices(shape)
  return np.hypot(y - (shape[0] - 1) / 2, x - (shape[1] - 1) / 2) <= reach


def flags(
  columns: Mapping[str, np.ndarray], peak_snr: np.ndarray, meta
) -> list[str]:
  """What is wrong with each image: words separated by spaces, or 'none'.

  'faint': brightest pixel below 5 times the noise. 'missing': pixels without a
  value in the field. 'missing_centre': at the source. 'beam': a major axis that
  differs by more than 20 % from that of the images the encoder was trained on.
  'pixels': more than 20 % coarser than theirs. The last two are not raised
  where one side is unknown; a warning tells so.

  Args:
    columns: of `described`.
    peak_snr: [N].
    meta: of the encoder.
  """
  trained = meta['dataset'].get('geometry', {})
  ratios = {}
  for flag, field in (
    ('beam', 'beam_major_arcsec'),
    ('pixels', 'pixel_scale_arcsec'),
  ):
    ratios[flag] = columns[field] / (trained.get(field) or np.nan)
    if unknown := int(np.isnan(ratios[flag]).sum()):
      _LOG.warning(
        'The flag %r is not raised for %d of %d sources: %s of their images or '
        'of the pretraining set (%s) is unknown or varies.',
        flag,
        unknown,
        len(ratios[flag]),
        field,
        meta['dataset']['directory'],
      )
  raised = {
    'faint': peak_snr < _FAINT,
    'missing': columns['missing'] > 0,
    'missing_centre': columns['missing_centre'],
    'beam': np.abs(ratios['beam'] - 1) > _TOLERANCE,
    'pixels': ratios['pixels'] - 1 > _TOLERANCE,
  }
  return [
    ' '.join(word for word, is_so in raised.items() if is_so[row]) or 'none'
    for row in range(len(peak_snr))
  ]
