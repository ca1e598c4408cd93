"""A split of FRG that shares no sky between its sides, nor with MiraBest's.

The published splits put overlapping pieces of sky on two sides, and most of
MiraBest's test sources into the training set.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from radio_ssl.data import exclusion, splits
from tfds_builders import first_survey
from tfds_builders.frg import pictures
from tfds_builders.mirabest import batches

_FRACTIONS = {'train': 0.8, 'valid': 0.1, 'test': 0.1}
_SEED = 0
FIELD_ARCSEC = pictures.SIZE_PIX * first_survey.PIXEL_SCALE_ARCSEC


def split(
  members: Sequence[pictures.Picture], held_out: Sequence[batches.Source]
) -> list[pictures.Picture]:
  """Gives every picture a new split.

  Pictures whose footprints touch, be it over others, share a split. Those that
  show a held-out source, by the rule of `radio_ssl.data.exclusion`, are in
  `test`, with all that share a split with them; empty ones in `train`.

  Args:
    members: of all classes; the order does not matter.
    held_out: sources of another set's test.

  Returns:
    The same pictures, by name; about 80, 10 and 10 % of each class.
  """
  members = sorted(members, key=lambda p: p.name)
  ra_deg, dec_deg = (
    np.array([getattr(p, axis) for p in members])
    for axis in ('ra_deg', 'dec_deg')
  )
  # No two squares touch whose centres are farther apart than a diagonal.
  groups = splits.groups_by_position(ra_deg, dec_deg, FIELD_ARCSEC * np.sqrt(2))
  shown = exclusion.Exclusion(
    [s.ra_deg for s in held_out],
    [s.dec_deg for s in held_out],
    [s.size_arcsec for s in held_out],
  ).holds(ra_deg, dec_deg, field_arcsec=FIELD_ARCSEC)
  # An image without a source scores no encoder.
  empty = np.array([not p.pixels.any() for p in members])
  names = splits.stratified_split(
    np.array([p.label for p in members]),
    fractions=_FRACTIONS,
    seed=_SEED,
    groups=groups,
    fixed=np.select([shown, empty], ['test', 'train'], ''),
  )
  return [
    dataclasses.replace(p, split=str(name))
    for p, name in zip(members, names, strict=True)
  ]
