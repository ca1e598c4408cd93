"""The two ways to cut images: tiles, and cutouts around sources."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Tiles:
  """Sliding-window tiles in the image's own pixels.

  Attributes:
    size_pix: side in pixels.
    stride_pix: from one tile to the next.
    max_missing: tiles with a larger fraction of NaN pixels are left out.
    min_snr: as are those whose brightest pixel is not this many rms above the
      background.
  """

  size_pix: int = 150
  stride_pix: int = 75
  max_missing: float = 0.1
  min_snr: float | None = None


@dataclasses.dataclass(frozen=True)
class Cutouts:
  """Squares around catalogued sources, [size_pix, size_pix].

  Attributes:
    size_pix: side in pixels.
    field_arcsec: the same angle for all; None, with `source_factor` None too,
      keeps the size of the image's pixels.
    source_factor: the field is this many times the source's size (the paper:
      2.5), but never less than `min_field_arcsec`.
    min_field_arcsec: see `source_factor`; also for sources of unknown size.
    max_missing: cutouts with a larger fraction of NaN pixels are left out.
    missing_field_arcsec: it is counted within this central side on the sky;
      None takes all of the cutout.
    allow_coarse_pixels: permits pixels larger than half the beam.
    whole_pixels: copies the image's own pixels, in its orientation; the source
      is off the centre by half a pixel at most. Else they are north up and
      centred, by interpolation.
    overlap: of several images that hold a source, 'deepest' takes the one with
      the least rms around it (of several within 10 % of that the most central
      one), 'central' the one where it is farthest from the edge; never one with
      too many missing pixels there.
    min_snr: cutouts whose brightest pixel within the source's size is not this
      many rms above the background are left out.
  """

  size_pix: int = 150
  field_arcsec: float | None = None
  source_factor: float | None = None
  min_field_arcsec: float = 60.0
  max_missing: float = 0.1
  missing_field_arcsec: float | None = None
  allow_coarse_pixels: bool = False
  whole_pixels: bool = False
  overlap: str = 'deepest'
  min_snr: float | None = None
