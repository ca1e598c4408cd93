"""Keeps the evaluation's sources out of the images used for training.

A piece of sky is dropped when its footprint, grown by the larger of 30 arcsec
and half the source's size, holds an excluded source.
"""

import astropy.coordinates
import astropy.units as u
import numpy as np

GROW_ARCSEC = 30.0


def reach_arcsec(
  field_arcsec: float | np.ndarray, source_size_arcsec: np.ndarray
) -> np.ndarray:
  """Radius round an image, so that touching images are what must not part.

  Two images whose circles do not touch share no sky, and neither, once grown,
  holds the other's source.

  Args:
    field_arcsec: side of the square images, one or [N]; 0 of a bare position.
    source_size_arcsec: [N] largest angular sizes; NaN where unknown.

  Returns:
    [N], arcsec; NaN where `field_arcsec` is.
  """
  return np.maximum(
    np.asarray(field_arcsec) / np.sqrt(2), _grow_arcsec(source_size_arcsec)
  )


def _grow_arcsec(source_size_arcsec: np.ndarray) -> np.ndarray:
  size = np.nan_to_num(np.asarray(source_size_arcsec, float))
  return np.maximum(GROW_ARCSEC, size / 2)


class Exclusion:
  """Answers, for footprints on the sky, which hold an excluded source."""

  def __init__(
    self,
    ra_deg: np.ndarray,
    dec_deg: np.ndarray,
    source_size_arcsec: np.ndarray,
  ):
    """Takes the excluded sources.

    Args:
      ra_deg: [N], ICRS.
      dec_deg: [N], ICRS.
      source_size_arcsec: [N] largest angular sizes; NaN where unknown.
    """
    self._sky = astropy.coordinates.SkyCoord(ra_deg, dec_deg, unit='deg')
    self._grow_arcsec = _grow_arcsec(source_size_arcsec)

  def holds(
    self,
    ra_deg: np.ndarray,
    dec_deg: np.ndarray,
    *,
    field_arcsec: float | np.ndarray,
    rotation_deg: float | np.ndarray = 0.0,
  ) -> np.ndarray:
    """Whether each square footprint, once grown, holds an excluded source.

    Arguments are those of `pairs`.

    Returns:
      bool [M].
    """
    at, _ = self.pairs(
      ra_deg, dec_deg, field_arcsec=field_arcsec, rotation_deg=rotation_deg
    )
    held = np.zeros(np.shape(np.atleast_1d(ra_deg)), bool)
    held[at] = True
    return held

  def pairs(
    self,
    ra_deg: np.ndarray,
    dec_deg: np.ndarray,
    *,
    field_arcsec: float | np.ndarray,
    rotation_deg: float | np.ndarray = 0.0,
  ) -> tuple[np.ndarray, np.ndarray]:
    """Which grown footprint holds which excluded source.

    The square grows by the same distance on each side, corners rounded.

    Args:
      ra_deg: [M] centres, ICRS.
      dec_deg: [M] centres, ICRS.
      field_arcsec: side of the squares, one or [M].
      rotation_deg: angle of the squares' rows from the north, north through
        east, one or [M].

    Returns:
      Numbers of footprints and of the sources in them, [K] each.
    """
    ra_deg, dec_deg, field, rotation = np.broadcast_arrays(
      np.atleast_1d(ra_deg), dec_deg, field_arcsec, rotation_deg
    )
    none = np.zeros(0, int)
    if not len(self._sky) or not ra_deg.size:
      return none, none
    centres = astropy.coordinates.SkyCoord(ra_deg, dec_deg, unit='deg')
    reach = field.max() / np.sqrt(2) + self._grow_arcsec.max()
    # An index tree finds the few pairs that could touch.
    at, source, _, _ = astropy.coordinates.search_around_sky(
      centres, self._sky, min(reach * 1.01, 180 * 3600) * u.arcsec
    )
    if not at.size:
      return none, none
    east, north = _offsets_arcsec(centres[at], self._sky[source])
    turn = np.radians(rotation[at])
    across = np.abs(east * np.cos(turn) - north * np.sin(turn))
    along = np.abs(east * np.sin(turn) + north * np.cos(turn))
    beyond = np.hypot(
      np.maximum(across - field[at] / 2, 0),
      np.maximum(along - field[at] / 2, 0),
    )
    inside = beyond <= self._grow_arcsec[source]
    return at[inside], source[inside]


def _offsets_arcsec(
  centres: astropy.coordinates.SkyCoord,
  sources: astropy.coordinates.SkyCoord,
) -> tuple[np.ndarray, np.ndarray]:
  """(east, north) of sources in their centres' tangent planes."""
  distance = centres.separation(sources).radian
  angle = centres.position_angle(sources).radian
  # Beyond 90 degrees there is no tangent plane, and nothing to exclude.
  radius = np.degrees(np.tan(np.minimum(distance, 1.5))) * 3600
  return radius * np.sin(angle), radius * np.cos(angle)
