"""One labelled image of any kind: FITS, PNG, JPEG or .npy, as it is stored."""

import dataclasses
import pathlib
import re
import warnings

import astropy.coordinates
import numpy as np
import PIL.Image

from radio_ssl.data import fits, noise, units

JY_BEAM = 'Jy/beam'
UNKNOWN = 'unknown'
EIGHT_BIT = '8-bit'

_ENDINGS = {
  'FITS': r'\.(fits|fit)(\.(gz|fz|bz2|xz))?',
  'picture': r'\.(png|jpg|jpeg)',
  'npy': r'\.npy',
}
_WANTED = 'FITS (also packed), PNG, JPEG or .npy'
# What may hold eight bits of grey.
_MODES = ('1', 'L', 'LA', 'P', 'RGB', 'RGBA')


class ImageError(ValueError):
  """An image that cannot be used; one line: file, value, remedy.

  Attributes:
    kind: of the reason, in a word or two, to count by.
  """

  def __init__(self, message: str, kind: str):
    super().__init__(message)
    self.kind = kind


@dataclasses.dataclass(frozen=True)
class Facts:
  """What is known of an image but its pixels.

  Attributes:
    unit: of the pixels: JY_BEAM, UNKNOWN (linear) or EIGHT_BIT.
    stored_shape: (rows, columns) of the file, before a cut.
    known: fields of `radio_ssl.data.examples`; `ra_deg` and `dec_deg` among
      them where the file tells.
  """

  unit: str
  stored_shape: tuple[int, int]
  known: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Reader:
  """How all files of a data set are read.

  Attributes:
    unit: of FITS and float .npy, taken instead of BUNIT.
    beam_arcsec: FWHM of a round beam, taken instead of BMAJ and BMIN.
    pixel_scale_arcsec: of what is no FITS; None where nobody knows.
    size_pix: the centre is cut or padded to this side; None keeps all.
    flip: turns rows of PNG and JPEG over, so that row 0 is the lowest one.
  """

  unit: str | None = None
  beam_arcsec: float | None = None
  pixel_scale_arcsec: float | None = None
  size_pix: int | None = None
  flip: bool = True

  def read(self, path: pathlib.Path) -> tuple[np.ndarray, Facts]:
    """Pixels and what is known of them.

    Returns:
      float32 [y, x] with NaN where nothing was measured, or uint8; row 0 is
      south, and of FITS east is left.

    Raises:
      ImageError: one line with file, value and remedy.
    """
    if kind(path) == 'FITS':
      pixels, facts = self._read_fits(path)
    else:
      pixels, facts = self._read_array(path)
    if not np.isfinite(pixels).any() or np.nanmin(pixels) == np.nanmax(pixels):
      raise ImageError(
        f'{path}: shows nothing: {_content(pixels)}. Leave this file out.',
        'empty',
      )
    if facts.known.get('rms_jy_beam') == 0:
      raise ImageError(
        f'{path}: its noise is 0: most pixels have one value, as where a '
        'picture was clipped. Give the image before that, or save it as 8-bit '
        'picture.',
        'no noise',
      )
    return pixels, facts

  def _read_fits(self, path: pathlib.Path) -> tuple[np.ndarray, Facts]:
    try:
      image = fits.read(path, unit=self.unit, beam_arcsec=self.beam_arcsec)
    except fits.FitsError as error:
      raise ImageError(str(error), error.kind) from error
    pixels, known = self._fitted(image.pixels_jy_beam)
    known |= _place(image, pixels.shape)
    known['pixel_scale_arcsec'] = image.pixel_scale_arcsec
    if beam := image.beam:
      known |= {
        'beam_major_arcsec': beam.major_arcsec,
        'beam_minor_arcsec': beam.minor_arcsec,
        'beam_pa_deg': beam.pa_deg,
        'flux_jy': noise.flux_jy(
          pixels,
          background_jy_beam=known['background_jy_beam'],
          rms_jy_beam=known['rms_jy_beam'],
          beam_area_pix=beam.area_arcsec2 / image.pixel_scale_arcsec**2,
        ),
      }
    if np.linalg.det(image.wcs.pixel_scale_matrix) > 0:
      pixels = pixels[:, ::-1]
    shape = image.pixels_jy_beam.shape
    return pixels, Facts(JY_BEAM, shape, known)

  def _read_array(self, path: pathlib.Path) -> tuple[np.ndarray, Facts]:
    if kind(path) == 'npy':
      stored = _npy(path)
    else:
      stored = _picture(path)[:: -1 if self.flip else 1]
    unit = EIGHT_BIT if stored.dtype == np.uint8 else UNKNOWN
    if unit == UNKNOWN and self.unit is not None:
      stored, unit = stored * np.float32(units.to_jy_beam(self.unit)), JY_BEAM
    pixels, known = self._fitted(stored)
    if self.pixel_scale_arcsec is not None:
      known['pixel_scale_arcsec'] = self.pixel_scale_arcsec
    if self.beam_arcsec is not None:
      known['beam_major_arcsec'] = self.beam_arcsec
      known['beam_minor_arcsec'] = self.beam_arcsec
      known['beam_pa_deg'] = 0.0
    return pixels, Facts(unit, stored.shape, known)

  def _fitted(self, stored: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """The centre of the wanted side, and the noise it stands in."""
    frame = pixels = stored
    if self.size_pix is not None:
      pixels = centre(stored, (self.size_pix, self.size_pix))
      # Noise is that of the place, as everywhere in this project.
      reach = (min(n, 2 * self.size_pix) for n in stored.shape)
      frame = centre(stored, tuple(reach))
    if stored.dtype == np.uint8:
      return pixels, {}
    background, rms = noise.background_and_rms(frame)
    return pixels, {'background_jy_beam': background, 'rms_jy_beam': rms}


def kind(path: pathlib.Path) -> str:
  """'FITS', 'picture' or 'npy', by the ending.

  Raises:
    ImageError: none of them.
  """
  for name, ending in _ENDINGS.items():
    if re.search(f'{ending}$', path.name, re.IGNORECASE):
      return name
  raise ImageError(
    f'{path}: an ending of no image; wanted {_WANTED}. Move it elsewhere.',
    'unknown kind',
  )


def is_image(path: pathlib.Path) -> bool:
  """Whether the ending is that of an image."""
  return bare(path.name) != path.name


def bare(name: str) -> str:
  """The name of a file without the ending of an image."""
  return re.sub(f'({"|".join(_ENDINGS.values())})$', '', name, flags=re.I)


def centre(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """The middle of an image, cut or padded, NaN or 0 (uint8) outside it.

  The first row is number (rows - wanted) // 2 of the image, be it negative;
  columns likewise.
  """
  fill = 0 if pixels.dtype == np.uint8 else np.nan
  result = np.full(shape, fill, pixels.dtype)
  y0, x0 = _first(pixels.shape, shape)
  part = pixels[max(0, y0) : y0 + shape[0], max(0, x0) : x0 + shape[1]]
  top, left = max(0, -y0), max(0, -x0)
  result[top : top + part.shape[0], left : left + part.shape[1]] = part
  return result


def _first(stored: tuple[int, int], wanted: tuple[int, int]) -> list[int]:
  return [(n - size) // 2 for n, size in zip(stored, wanted, strict=True)]


def _place(image: fits.Image, shape: tuple[int, int]) -> dict[str, float]:
  """Where the middle of a cut of that shape lies, and how it is turned."""
  y, x = (
    first + (side - 1) / 2
    for first, side in zip(
      _first(image.pixels_jy_beam.shape, shape), shape, strict=True
    )
  )
  ra, dec = fits.pixel_to_sky(image.wcs, np.array([x, x]), np.array([y, y + 1]))
  here, above = astropy.coordinates.SkyCoord(ra, dec, unit='deg')
  return {
    'ra_deg': float(ra[0]),
    'dec_deg': float(dec[0]),
    'rotation_deg': float(here.position_angle(above).deg),
  }


def _npy(path: pathlib.Path) -> np.ndarray:
  """uint8 or float32 [y, x] in the order of the file."""
  try:
    # Unlike np.load, it never unpickles.
    array = np.lib.format.open_memmap(path, mode='r')
  except Exception as error:  # numpy raises many classes for damaged bytes.
    raise _damaged(path, '.npy file', error) from error
  array = np.squeeze(array)
  if array.ndim != 2 or not (array.dtype.kind == 'f' or array.dtype == 'u1'):
    raise ImageError(
      f'{path}: {array.dtype} {list(array.shape)}; wanted float or uint8 '
      '[rows, columns]. Convert it.',
      'array',
    )
  with np.errstate(over='ignore'):
    array = np.array(array, 'u1' if array.dtype == 'u1' else np.float32)
  if np.isinf(array).any():
    raise ImageError(
      f'{path}: {np.isinf(array).sum()} pixels are infinite as float32. Save '
      'NaN where nothing was measured.',
      'infinite',
    )
  return array


def _picture(path: pathlib.Path) -> np.ndarray:
  """uint8 [row, column] with the upper row first, as such files have them."""
  try:
    with warnings.catch_warnings():
      # From this size on Pillow takes a file for a decompression bomb.
      warnings.simplefilter('error', PIL.Image.DecompressionBombWarning)
      with PIL.Image.open(path, formats=['PNG', 'JPEG']) as image:
        mode, frames = image.mode, getattr(image, 'n_frames', 1)
        if mode in _MODES:
          channels = np.asarray(image.convert('RGBA'))
  except Exception as error:  # Pillow raises many classes for damaged bytes.
    raise _damaged(path, 'PNG or JPEG', error) from error
  if mode not in _MODES or frames > 1:
    raise ImageError(
      f'{path}: holds {frames} of mode {mode}; wanted one of 8 bits of grey. '
      'Save 16 bits as float .npy or FITS.',
      'bits',
    )
  spread = int(np.ptp(channels[..., :3], axis=-1).max())
  if spread:
    raise ImageError(
      f'{path}: a colour image, its channels differ by up to {spread}; wanted '
      'grey. Save it without a colour map, or give its FITS.',
      'colour',
    )
  if (channels[..., 3] < 255).any():
    raise ImageError(
      f'{path}: has transparent pixels. Save it without transparency.', 'alpha'
    )
  return channels[..., 0]


def _damaged(path: pathlib.Path, what: str, error: Exception) -> ImageError:
  reason = ' '.join(str(error).split()).replace(f'{str(path)!r}', 'it')[:160]
  return ImageError(
    f'{path}: not a whole, valid {what} ({reason or type(error).__name__}). '
    'Fetch it again or leave it out.',
    'damaged',
  )


def _content(pixels: np.ndarray) -> str:
  if not np.isfinite(pixels).any():
    return 'no finite pixel'
  return f'all pixels are {np.nanmin(pixels):g}'
