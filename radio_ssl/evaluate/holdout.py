"""Which images of a labelled set a hold-out takes, by their place on the sky.

A hold-out is a catalogue, such as `tfds_builders.holdout` writes. Names do not
matter: the same source goes by another one in another set.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from radio_ssl.data import catalogue, exclusion, manifest, splits

USES = ('leave_out', 'test')
# What becomes of an image: it is of a hold-out source; it shares sky with one
# or with an image of one; neither.
HELD, BESIDE, FREE = 'held', 'beside', 'free'


@dataclasses.dataclass(frozen=True)
class HoldOut:
  """Sources that only the final score may use.

  Attributes:
    sources: of the catalogue.
    sha256: of its file.
  """

  sources: catalogue.Catalogue
  sha256: str

  def facts(self) -> dict[str, Any]:
    """What a report tells of it, JSON-ready."""
    return {
      'file': str(self.sources.path),
      'sha256': self.sha256,
      'num_sources': len(self.sources),
    }


def read(path: str | pathlib.Path) -> HoldOut:
  """Reads the catalogue of a hold-out.

  Raises:
    ValueError: no file, or none that can be read.
  """
  sources = catalogue.read(path)
  return HoldOut(sources, manifest.sha256(sources.path))


def judge(
  held_out: HoldOut,
  names: Sequence[str],
  sky: np.ndarray,
  directory: pathlib.Path,
) -> np.ndarray:
  """What becomes of each image.

  An image is of a hold-out source if it is centred within 30 arcsec of one: so
  far do positions of one radio source in two catalogues differ. One that is
  beside it has a circle (`exclusion.reach_arcsec`) that touches the source or
  an image of it: such a frame can share pixels with what is held out, or with
  what is scored. No image of a set that took part in the draw is beside one.

  Args:
    held_out: sources.
    names: [N] of the images, for messages.
    sky: [N, 4] RA and Dec of the centre in degrees, side of the image and size
      of the source in arcsec; only the last may be NaN.
    directory: of the set, for messages.

  Returns:
    [N] of HELD, BESIDE and FREE.

  Raises:
    ValueError: an image whose place or field nobody knows.
  """
  unknown = ~np.isfinite(sky[:, :3]).all(axis=1)
  if unknown.any():
    raise ValueError(
      f'{directory}: {unknown.sum()} images have no position or pixel scale, '
      f'such as {names[int(np.argmax(unknown))]}; nobody can tell whether '
      f'{held_out.sources.path} holds them out. Build the set again with them, '
      'or set holdout= (none).'
    )
  ra, dec, field, size = sky.T
  sources, num = held_out.sources, len(sky)
  places = (
    np.append(ra, sources.ra_deg),
    np.append(dec, sources.dec_deg),
  )
  is_source = np.arange(num + len(sources)) >= num
  held = _touched(places, is_source * exclusion.GROW_ARCSEC, is_source)
  reach = exclusion.reach_arcsec(
    np.append(field, np.zeros(len(sources))),
    np.append(size, sources.source_size_arcsec),
  )
  beside = _touched(places, reach, held)
  return np.select([held, beside], [HELD, BESIDE], FREE)[:num]


def _touched(
  places: tuple[np.ndarray, np.ndarray], reach: np.ndarray, by: np.ndarray
) -> np.ndarray:
  """Whether each circle is or touches one that `by` marks; bool [N]."""
  first, second = splits.touching(*places, reach)
  result = np.zeros(len(by), bool)
  result[first[by[second]]] = True
  return result
