"""One example from one piece of an image; which sources an image holds."""

from collections.abc import Iterator, Mapping
from typing import Any

import astropy.coordinates
import astropy.units as u
import astropy.wcs.utils
import numpy as np

from radio_ssl.data import catalogue as catalogues
from radio_ssl.data import cutouts, examples, fits, noise
from tfds_builders.radio_fits import prepare

_SAME_NORTH_DEG = 0.5


def inside(
  header: fits.Header, sources: catalogues.Catalogue
) -> Iterator[tuple[int, float]]:
  """Sources inside an image, with their distance in arcsec from its edge."""
  height, width = header.shape
  ra, dec = fits.pixel_to_sky(
    header.wcs,
    np.array([(width - 1) / 2, 0, 0, width - 1, width - 1]),
    np.array([(height - 1) / 2, 0, height - 1, 0, height - 1]),
  )
  corners = _unit_vectors(ra, dec)
  towards = corners[1:] @ corners[0]
  # A large part of the sky, or corners off it, leave no circle to search in.
  large = max(height, width) * header.pixel_scale_arcsec > 60 * 3600
  circle = np.isfinite(towards).all() and not large
  radius = towards.min() - 1e-6 if circle else -1
  near = np.flatnonzero(
    _unit_vectors(sources.ra_deg, sources.dec_deg) @ corners[0] >= radius
  )
  if near.size:
    x, y = fits.sky_to_pixel(
      header.wcs, sources.ra_deg[near], sources.dec_deg[near]
    )
    edge = np.minimum.reduce(
      [x + 0.5, width - 0.5 - x, y + 0.5, height - 0.5 - y]
    )
    for source, distance in zip(near, edge, strict=True):
      if distance > 0:
        yield int(source), float(distance * header.pixel_scale_arcsec)


def _unit_vectors(ra_deg: np.ndarray, dec_deg: np.ndarray) -> np.ndarray:
  ra, dec = np.radians(ra_deg), np.radians(dec_deg)
  return np.stack(
    [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1
  )


def example(
  prepared: prepare.Prepared, piece: cutouts.Cutout, name: str, **known: Any
) -> dict[str, Any]:
  """An example of a piece, with the noise of its surroundings."""
  image = prepared.image
  background, rms = background_and_rms(prepared, piece)
  return examples.example(
    piece.pixels_jy_beam,
    name=name,
    source_file=image.path.name,
    ra_deg=piece.ra_deg,
    dec_deg=piece.dec_deg,
    pixel_scale_arcsec=piece.pixel_scale_arcsec,
    rotation_deg=piece.rotation_deg,
    beam_major_arcsec=image.beam.major_arcsec,
    beam_minor_arcsec=image.beam.minor_arcsec,
    beam_pa_deg=_beam_pa_deg(image, piece),
    background_jy_beam=background,
    rms_jy_beam=rms,
    **known,
  )


def _beam_pa_deg(image: fits.Image, piece: cutouts.Cutout) -> float:
  """The beam's angle from the ICRS north; headers count from their own."""
  frame = astropy.wcs.utils.wcs_to_celestial_frame(image.wcs)
  here = astropy.coordinates.SkyCoord(piece.ra_deg, piece.dec_deg, unit='deg')
  own = here.transform_to(frame).represent_as('unitspherical')
  up = astropy.coordinates.SkyCoord(
    own.lon, own.lat + 1 * u.arcsec, frame=frame
  )
  turn = here.position_angle(up.icrs).deg
  # FK5 is turned by less than beams are known to.
  turn = 0.0 if min(turn, 360 - turn) < _SAME_NORTH_DEG else turn
  return float((image.beam.pa_deg + turn + 90) % 180 - 90)


def background_and_rms(
  prepared: prepare.Prepared, piece: cutouts.Cutout
) -> tuple[float, float]:
  """Of the surroundings; the rms of an rms image where there is one."""
  background, rms = noise.background_and_rms(piece.surroundings_jy_beam)
  told = prepared.rms_jy_beam(piece.ra_deg, piece.dec_deg, piece.field_arcsec)
  return background, rms if told is None else told


def source_example(
  prepared: prepare.Prepared,
  piece: cutouts.Cutout,
  sources: catalogues.Catalogue,
  source: int,
) -> dict[str, Any]:
  """An example of a source; flux from the catalogue, else measured."""
  size = sources.source_size_arcsec[source]
  made = example(
    prepared,
    piece,
    name=str(sources.name[source]),
    source_size_arcsec=size,
    redshift=sources.redshift[source],
    label=None if sources.label is None else str(sources.label[source]),
  )
  flux = sources.flux_jy[source]
  if np.isnan(flux):
    reach_pix, beam = _reach_pix(made), prepared.image.beam
    flux = noise.flux_jy(
      piece.pixels_jy_beam,
      background_jy_beam=float(made['background_jy_beam']),
      rms_jy_beam=float(made['rms_jy_beam']),
      beam_area_pix=beam.area_arcsec2 / piece.pixel_scale_arcsec**2,
      radius_pix=None if np.isnan(reach_pix) else reach_pix,
    )
  made['flux_jy'] = np.float32(flux)
  return made


def snr(example: Mapping[str, Any]) -> float:
  """Brightest pixel above the background, in rms; of a source within its size.

  Args:
    example: of a tile, or of a source; of unknown size it may be anywhere.

  Returns:
    NaN where nothing was measured or the image is constant.
  """
  above = example['image'][..., 0] - example['background_jy_beam']
  height, width = above.shape
  y, x = np.ogrid[:height, :width]
  distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
  outside = distance > _reach_pix(example)
  bright = np.fmax.reduce(np.where(outside, np.nan, above), None)
  rms = float(example['rms_jy_beam'])
  return float(bright) / rms if rms > 0 else float('nan')


def _reach_pix(example: Mapping[str, Any]) -> float:
  """Half the source and a beam, in pixels; NaN for an unknown size."""
  reach = np.maximum(example['source_size_arcsec'], 0) / 2
  reach = reach + example['beam_major_arcsec']
  return float(reach / example['pixel_scale_arcsec'])
