"""Whether sources that are scored were seen, unlabelled, in pretraining."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from radio_ssl.data import catalogue, exclusion, pipeline
from radio_ssl.evaluate import features

_SOURCE = ('ra_deg', 'dec_deg', 'source_size_arcsec')


def with_pretraining(
  tables: Mapping[str, features.Table],
  meta: Mapping[str, Any],
  held_out: catalogue.Catalogue | None = None,
) -> dict[str, Any]:
  """Counts pretraining images that show sources of a labelled set.

  An image shows a source if the source lies in it, or beside it by less than
  30 arcsec or half the source's size: the rule of `radio_ssl.data.exclusion`.
  Images of unknown rotation are taken to be north up.

  Args:
    tables: of the labelled set, by split.
    meta: of the checkpoint.
    held_out: sources of a hold-out; they count with those of the split
      'holdout', be they of this labelled set or not.

  Returns:
    {'num_images': all of them, 'showing': {split: how many show a source of
    it}}; or {'unknown': the reason}.
  """
  try:
    dataset = pipeline.open_dataset(pathlib.Path(meta['dataset']['directory']))
  except ValueError:
    return {'unknown': f'{meta["dataset"]["directory"]} is not here'}
  if dataset.fingerprint != meta['dataset']['fingerprint']:
    return {'unknown': f'{dataset.directory} has been built anew since'}
  ra, dec, field, rotation = _footprints(
    dataset, meta['config']['data']['split']
  )
  if np.isnan(ra + dec).any():
    return {'unknown': f'{dataset.directory} has images without a position'}
  sources = {split: _sources(table) for split, table in tables.items()}
  if held_out is not None:
    its = np.array([getattr(held_out, name) for name in _SOURCE])
    sources['holdout'] = np.append(
      its, sources.get('holdout', its[:, :0]), axis=1
    )
  showing = {}
  for split, its in sources.items():
    if not np.isfinite(its[:2]).all():
      return {'unknown': f'the split {split!r} has sources without a position'}
    held = exclusion.Exclusion(*its).holds(
      ra, dec, field_arcsec=field, rotation_deg=rotation
    )
    showing[split] = int(held.sum())
  return {'num_images': len(ra), 'showing': showing}


def _sources(table: features.Table) -> np.ndarray:
  """[3, N]."""
  return np.array([table.columns[name] for name in _SOURCE])


def _footprints(dataset: pipeline.DataSet, split: str) -> tuple:
  """Position, side and rotation of each image; 0 where they are unknown."""
  side_pix = max(dataset.geometry.height, dataset.geometry.width)
  rows = [
    (
      r['ra_deg'],
      r['dec_deg'],
      r['pixel_scale_arcsec'] * side_pix,
      # Sets of the first days have none.
      r.get('rotation_deg', 0.0),
    )
    for r in dataset.source(split)
  ]
  ra, dec, field, rotation = np.array(rows, np.float64).T
  return ra, dec, np.nan_to_num(field), np.nan_to_num(rotation)
