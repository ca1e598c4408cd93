"""Radio FITS images: one 2-D plane of Stokes I in Jy/beam, with its sky.

Radio images come with two to four axes, big-endian, integer-scaled,
tile-compressed, in the primary unit or an extension, with units in any
spelling. `opened` gives the same thing for all of them or says, in one line,
what is wrong with which file and what to do.
"""

import contextlib
import dataclasses
import pathlib
import warnings
from collections.abc import Iterator
from typing import IO, Any

import astropy.coordinates
import astropy.io.fits
import astropy.wcs
import astropy.wcs.utils
import numpy as np

from radio_ssl.data import beams, celestial, records, units, windows

# Brighter than the Sun: a wrong unit or damaged bytes.
_BRIGHTEST_JY_BEAM = 1e7
_MOST_ZEROS = 0.95
# FITS standard 4.0, table 29.
# Of Obit's multi-frequency images: the total, spectral terms, then channels.
_ALL_CHANNELS_FIRST = 'SPECLNMF'
_STOKES = {'I': 1, 'Q': 2, 'U': 3, 'V': 4}
_Opened = tuple[
  IO[bytes], list[astropy.io.fits.Header], astropy.io.fits.HDUList
]


class FitsError(ValueError):
  """A file that cannot be used; one line: file, value, remedy.

  Attributes:
    kind: of the reason, in a word or two, to count by.
  """

  def __init__(self, message: str, kind: str):
    super().__init__(message)
    self.kind = kind

  def __reduce__(self):
    return FitsError, (str(self), self.kind)


@dataclasses.dataclass(frozen=True)
class Beam:
  """An elliptical Gaussian beam: axes are FWHM in arcsec, angle N through E."""

  major_arcsec: float
  minor_arcsec: float
  pa_deg: float

  @property
  def area_arcsec2(self) -> float:
    """Solid angle of the Gaussian."""
    return np.pi / (4 * np.log(2)) * self.major_arcsec * self.minor_arcsec


@dataclasses.dataclass(frozen=True)
class Image:
  """One plane of sky.

  Attributes:
    path: the file.
    pixels_jy_beam: float32 [y, x] in FITS order, NaN where not measured; of
      `opened`, what reads its slices [y0:y1, x0:x1] from the file.
    wcs: the celestial part alone; calls take (x, y), 0-based.
    beam: None where neither header nor override tells.
    pixel_scale_arcsec: geometric mean of the pixel's sides at the reference.
    statistics: of all its pixels; None for an image that was not read.
    overrides: what was given instead of read: 'unit', 'beam_arcsec', 'channel',
      'stokes'.
  """

  path: pathlib.Path
  pixels_jy_beam: np.ndarray | windows.Windows
  wcs: astropy.wcs.WCS
  beam: Beam | None
  pixel_scale_arcsec: float
  statistics: windows.Statistics | None = None
  overrides: dict[str, str | float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Header:
  """What is known of an image before its pixels are read."""

  path: pathlib.Path
  shape: tuple[int, int]
  wcs: astropy.wcs.WCS
  beam: Beam | None
  pixel_scale_arcsec: float
  factor_to_jy_beam: float
  hdu: int
  plane: tuple[int, ...]


def pixel_to_sky(
  wcs: astropy.wcs.WCS, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """ICRS degrees (float64) at 0-based pixel positions; NaN off the sky."""
  sky = astropy.wcs.utils.pixel_to_skycoord(x, y, wcs).icrs
  return sky.ra.deg, sky.dec.deg


def sky_to_pixel(
  wcs: astropy.wcs.WCS, ra_deg: np.ndarray, dec_deg: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """0-based pixel positions of ICRS degrees; NaN where not projectable."""
  frame = astropy.wcs.utils.wcs_to_celestial_frame(wcs)
  sky = astropy.coordinates.SkyCoord(ra_deg, dec_deg, unit='deg', frame='icrs')
  sky = sky.transform_to(frame).represent_as('unitspherical')
  return wcs.wcs_world2pix(sky.lon.deg, sky.lat.deg, 0)


def header(path: str | pathlib.Path, **overrides: Any) -> Header:
  """Reads what `opened` would but the pixels; same arguments."""
  path = pathlib.Path(path)
  # Packed files are not unpacked for it, nor checksums verified.
  with _told(path):
    if not records.is_packed(path):
      with open(path, 'rb') as file:
        records.headers(file, verify=False)
    with astropy.io.fits.open(path) as hdus:
      return _header(path, hdus, **overrides)


@contextlib.contextmanager
def opened(
  path: str | pathlib.Path,
  *,
  unit: str | None = None,
  beam_arcsec: float | None = None,
  channel: int | None = None,
  stokes: str | None = None,
  statistics: windows.Statistics | None = None,
) -> Iterator[Image]:
  """Opens one 2-D plane of any size, to read it part by part.

  The first unit of the file that holds an image is taken. Axes of length 1 are
  dropped; of a Stokes axis, `stokes` is taken; of several channels, `channel`.
  Exact zeros over 8 x 8 pixels or 32 in a row are padding and come back as NaN.

  Args:
    path: a FITS file: plain, .gz, .bz2, .xz or tile-compressed.
    unit: taken instead of BUNIT.
    beam_arcsec: FWHM of a round beam, taken instead of BMAJ, BMIN, BPA.
    channel: which plane of a spectral axis, from 0. Cubes of Obit, such as
      MeerKAT's surveys (CTYPE SPECLNMF), hold the image of all channels
      together first; of these None takes it.
    stokes: 'I', which None takes too, 'Q', 'U' or 'V'.
    statistics: of an image that has been opened before; without them all of it
      is looked at once.

  Yields:
    An image whose `pixels_jy_beam` are a `windows.Windows`, good inside the
    `with`.

  Raises:
    FitsError: one line with file, value and remedy.
  """
  path, overrides = pathlib.Path(path), {'unit': unit, 'channel': channel}
  overrides |= {'beam_arcsec': beam_arcsec, 'stokes': stokes}
  with contextlib.ExitStack() as files:
    with _told(path):
      file, stored, hdus = _open(path, files, verify=statistics is None)
      head = _header(path, hdus, **overrides)
      hdu = hdus[head.hdu]
      if isinstance(hdu, astropy.io.fits.CompImageHDU):
        raw = windows.of_section(hdu, stored[head.hdu], head.plane)
      else:
        start = hdu.fileinfo()['datLoc']
        raw = windows.of_file(file, start, stored[head.hdu], head.plane)
      pixels = windows.Windows(raw, head.shape, head.factor_to_jy_beam)
      if statistics is None:
        statistics = pixels.statistics()
        _check_values(path, statistics)
    yield Image(
      path=path,
      pixels_jy_beam=pixels,
      wcs=head.wcs,
      beam=head.beam,
      pixel_scale_arcsec=head.pixel_scale_arcsec,
      statistics=statistics,
      overrides={k: v for k, v in overrides.items() if v is not None},
    )


def read(path: str | pathlib.Path, **overrides: Any) -> Image:
  """`opened`, with all pixels in memory as float32 [y, x]; same arguments."""
  with opened(path, **overrides) as image:
    return dataclasses.replace(image, pixels_jy_beam=image.pixels_jy_beam[:, :])


def _check_values(path: pathlib.Path, found: windows.Statistics) -> None:
  """Refuses an image without measurements, or with impossible ones."""
  if not found.measured:
    raise FitsError(
      f'{path}: no finite pixel (all NaN, blank or zero). Leave this file out.',
      'no measurement',
    )
  if found.zeros > _MOST_ZEROS:
    raise FitsError(
      f'{path}: {100 * found.zeros:.1f} % of it are areas of exact zeros; '
      f'wanted at most {100 * _MOST_ZEROS:g}. Cut it to where there is sky.',
      'zeros',
    )
  if found.brightest > _BRIGHTEST_JY_BEAM:
    raise FitsError(
      f'{path}: a pixel of {found.brightest:.3g} Jy/beam. Set unit= (--unit) '
      'if BUNIT is wrong; else the file is damaged: fetch it again.',
      'brightness',
    )


def _open(
  path: pathlib.Path, files: contextlib.ExitStack, *, verify: bool
) -> _Opened:
  """The plain file, the header of each unit as stored, and astropy's units."""
  file = files.enter_context(records.plain(path))
  stored = records.headers(file, verify=verify)
  file.seek(0)
  return file, stored, files.enter_context(astropy.io.fits.open(file))


@contextlib.contextmanager
def _told(path: pathlib.Path) -> Iterator[None]:
  """Turns whatever goes wrong with a file's bytes into one FitsError."""
  if not path.is_file():
    raise FitsError(f'{path}: no such file. Check the path.', 'no file')
  with warnings.catch_warnings():
    # Cosmetic: old keywords are repaired as astropy reads them, and padding may
    # be missing. That the data are there, `records.headers` has seen.
    warnings.simplefilter('ignore')
    try:
      yield
    except FitsError:
      raise
    except Exception as error:  # astropy, zlib and numpy raise all kinds.
      reason = ' '.join(str(error).split())[:200] or type(error).__name__
      raise FitsError(
        f'{path}: not a whole, valid FITS file ({reason}). Fetch it again or '
        'leave it out.',
        'damaged',
      ) from error


def _header(
  path: pathlib.Path,
  hdus: astropy.io.fits.HDUList,
  *,
  unit: str | None = None,
  beam_arcsec: float | None = None,
  channel: int | None = None,
  stokes: str | None = None,
) -> Header:
  number = next((n for n, hdu in enumerate(hdus) if _is_image(hdu)), None)
  if number is None:
    raise FitsError(
      f'{path}: no 2-D image in any of its {len(hdus)} units. Wanted an image '
      'of 2 to 4 axes.',
      'no image',
    )
  cards = hdus[number].header
  wcs = _celestial(path, cards)
  scales = astropy.wcs.utils.proj_plane_pixel_scales(wcs)
  plane = _plane(path, cards, channel, stokes or 'I')
  return Header(
    path=path,
    shape=(cards['NAXIS2'], cards['NAXIS1']),
    wcs=wcs,
    beam=_beam(path, cards, hdus, plane, beam_arcsec),
    pixel_scale_arcsec=float(np.sqrt(np.prod(scales)) * 3600),
    factor_to_jy_beam=_factor_to_jy_beam(path, cards, unit),
    hdu=number,
    plane=plane,
  )


def _is_image(hdu: object) -> bool:
  return (
    getattr(hdu, 'is_image', False)
    and hdu.header.get('NAXIS', 0) >= 2
    and min(hdu.header['NAXIS1'], hdu.header['NAXIS2']) > 1
  )


def _celestial(
  path: pathlib.Path, cards: astropy.io.fits.Header
) -> astropy.wcs.WCS:
  try:
    return celestial.read(cards)
  except Exception as error:  # wcslib raises many classes of its own.
    axes = [cards.get(f'CTYPE{n}') for n in (1, 2)]
    reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
    raise FitsError(
      f'{path}: no celestial WCS on axes 1 and 2 (CTYPE {axes}; {reason[0]}). '
      'Wanted RA/Dec or Galactic axes with a projection: repair the header.',
      'WCS',
    ) from error


def _factor_to_jy_beam(
  path: pathlib.Path, cards: astropy.io.fits.Header, override: str | None
) -> float:
  name, unit = 'BUNIT', str(cards.get('BUNIT') or '')
  if override is not None:
    name, unit = 'unit= (--unit)', override
  try:
    return units.to_jy_beam(unit)
  except ValueError:
    remedy = "If its pixels are Jy/beam, set unit='Jy/beam' (--unit)."
    if units.is_known(unit):
      remedy = 'Convert the image first: this is no flux per beam.'
    raise FitsError(
      f'{path}: {name} is {unit!r}; wanted one that converts to Jy/beam. '
      f'{remedy}',
      'unit',
    ) from None


def _beam(
  path: pathlib.Path,
  cards: astropy.io.fits.Header,
  hdus: astropy.io.fits.HDUList,
  plane: tuple[int, ...],
  override_arcsec: float | None,
) -> Beam | None:
  if override_arcsec is not None:
    return Beam(float(override_arcsec), float(override_arcsec), 0.0)
  try:
    found = beams.read(cards, hdus, plane)
  except ValueError as error:
    raise FitsError(
      f'{path}: {error}. Set beam_arcsec (--beam_arcsec) to override.', 'beam'
    ) from None
  return None if found is None else Beam(*found)


def _plane(
  path: pathlib.Path,
  cards: astropy.io.fits.Header,
  channel: int | None,
  stokes: str,
) -> tuple[int, ...]:
  """Index, in NumPy's order, of the plane to take from the leading axes."""
  index, kinds = [], []
  for axis in range(cards['NAXIS'], 2, -1):
    length, kind = cards[f'NAXIS{axis}'], beams.kind(cards, axis)
    spectral = kind.startswith(beams.SPECTRAL)
    kinds.append(kind)
    if kind == 'STOKES':
      at = _of_stokes(cards, axis, _STOKES[stokes])
    elif length == 1:
      at = 0
    elif kind == _ALL_CHANNELS_FIRST and channel is None:
      at = 0
    else:
      at = channel if spectral else None
    if at not in range(length):
      what = f'one, or a Stokes axis with {stokes}, which is {_STOKES[stokes]}'
      if spectral:
        what = f'one, or channel= (--channel) of 0 to {length - 1}'
      raise FitsError(
        f'{path}: axis {axis} ({kind or "no CTYPE"}) has {length} planes, '
        f'the first at {cards.get(f"CRVAL{axis}", "no CRVAL")} in steps of '
        f'{cards.get(f"CDELT{axis}", "no CDELT")}; wanted {what}. '
        'Or write that plane to a file first, or leave this file out.',
        'axes',
      )
    index.append(int(at))
  if stokes != 'I' and 'STOKES' not in kinds:
    raise FitsError(
      f'{path}: no Stokes axis; wanted one with {stokes}. Leave this file out.',
      'axes',
    )
  return tuple(index)


def _of_stokes(
  cards: astropy.io.fits.Header, axis: int, wanted: int
) -> float | None:
  """Index of its plane, if whole and on the axis; else there is none."""
  first, step = cards.get(f'CRVAL{axis}', 1), cards.get(f'CDELT{axis}', 1)
  if step == 0:  # A single plane needs none.
    single = cards[f'NAXIS{axis}'] == 1
    return 0 if single and first == wanted else None
  return (wanted - first) / step + cards.get(f'CRPIX{axis}', 1) - 1
