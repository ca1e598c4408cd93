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
  sky: Mapping[str, np.ndarray] | None = None,
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
    sky: `footprints` that come with the encoder; None looks into the data set.

  Returns:
    {'num_images': all of them, 'showing': {split: how many show a source of
    it}}; or {'unknown': the reason}. Beside it 'start', the same of the encoder
    that the run began with, where it had one.
  """
  found = _showing(tables, meta, held_out, sky)
  if 'start' in meta:
    found['start'] = with_pretraining(tables, meta['start'], held_out)
  return found


def _showing(tables, meta, held_out, sky) -> dict[str, Any]:
  """The counts of the last pretraining set alone."""
  sky = sky or footprints(meta)
  if isinstance(sky, str):
    return {'unknown': sky}
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
    held = exclusion.Exclusion(*its).holds(**sky)
    showing[split] = int(held.sum())
  return {'num_images': len(sky['ra_deg']), 'showing': showing}


def _sources(table: features.Table) -> np.ndarray:
  """[3, N]."""
  return np.array([table.columns[name] for name in _SOURCE])


def footprints(meta: Mapping[str, Any]) -> dict[str, np.ndarray] | str:
  """Where the images lie that a checkpoint was trained on.

  Args:
    meta: of the checkpoint.

  Returns:
    `ra_deg`, `dec_deg`, `field_arcsec` and `rotation_deg` of each image, [N];
    side and rotation are 0 where they are unknown. Or the reason why a position
    is unknown.
  """
  try:
    dataset = pipeline.open_dataset(pathlib.Path(meta['dataset']['directory']))
  except ValueError:
    return f'{meta["dataset"]["directory"]} is not here'
  if dataset.fingerprint != meta['dataset']['fingerprint']:
    return f'{dataset.directory} has been built anew since'
  side_pix = max(dataset.geometry.height, dataset.geometry.width)
  rows = [
    (
      r['ra_deg'],
      r['dec_deg'],
      r['pixel_scale_arcsec'] * side_pix,
      # Sets of the first days have none.
      r.get('rotation_deg', 0.0),
    )
    for r in dataset.source(meta['config']['data']['split'])
  ]
  ra, dec, field, rotation = np.array(rows, np.float64).T.copy()
  if np.isnan(ra + dec).any():
    return f'{dataset.directory} has images without a position'
  return {
    'ra_deg': ra,
    'dec_deg': dec,
    'field_arcsec': np.nan_to_num(field),
    'rotation_deg': np.nan_to_num(rotation),
  }
