"""Small images of every kind, for the tests of builders of labelled images."""

import pathlib
from collections.abc import Callable, Sequence

import astropy.io.fits
import astropy.wcs
import numpy as np
import PIL.Image

from radio_ssl.data import fits

RMS = 1e-4
# Of the bright pixel from the middle of a FITS image, in arcsec.
NORTH, EAST = 9.0, 18.0


def noise(path: pathlib.Path, shape: tuple[int, int] = (30, 30)) -> np.ndarray:
  """Gaussian noise of that file's own, float32."""
  rng = np.random.default_rng(sum(path.name.encode()))
  return rng.normal(0, RMS, shape).astype(np.float32)


def write_fits(
  path: pathlib.Path,
  *,
  ra_deg: float | None = None,
  size_pix: int = 30,
  east_left: bool = True,
  **cards: object,
) -> pathlib.Path:
  """Noise and a pixel of 50 mJy, on pixels of 1.8 arcsec round (ra_deg, 30).

  Args:
    path: whose name decides `ra_deg` where that is None.
    ra_deg: of the middle.
    size_pix: side.
    east_left: as it should be.
    **cards: for the header.
  """
  if ra_deg is None:
    ra_deg = 150 + sum(path.name.encode()) % 97 / 10
  header = astropy.io.fits.Header(
    {'CTYPE1': 'RA---TAN', 'CTYPE2': 'DEC--TAN', 'RADESYS': 'ICRS'}
  )
  header.update(CRVAL1=ra_deg, CRVAL2=30.0, BUNIT='Jy/beam')
  header.update(CRPIX1=(size_pix + 1) / 2, CRPIX2=(size_pix + 1) / 2)
  header.update(CDELT1=-0.0005 if east_left else 0.0005, CDELT2=0.0005)
  header.update(cards)
  pixels = noise(path, (size_pix, size_pix))
  x, y = fits.sky_to_pixel(
    astropy.wcs.WCS(header),
    ra_deg + EAST / 3600 / np.cos(np.radians(30)),
    30 + NORTH / 3600,
  )
  pixels[round(float(y)), round(float(x))] = 0.05
  path.parent.mkdir(parents=True, exist_ok=True)
  astropy.io.fits.PrimaryHDU(pixels, header).writeto(path)
  return path


def write_picture(
  path: pathlib.Path, pixels: np.ndarray | None = None
) -> pathlib.Path:
  """PNG or JPEG of 8 bits; the first row is on top."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if pixels is None:
    pixels = np.abs(noise(path)) / RMS * 60
  image = PIL.Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
  image.save(path, quality=100)
  return path


def write_npy(
  path: pathlib.Path, pixels: np.ndarray | None = None
) -> pathlib.Path:
  """Noise, or what is given."""
  path.parent.mkdir(parents=True, exist_ok=True)
  np.save(path, noise(path) if pixels is None else pixels)
  return path


def fill(
  folder: pathlib.Path,
  write: Callable[[pathlib.Path], object],
  ending: str,
  count: int = 4,
  classes: Sequence[str] = ('FRI', 'FRII'),
) -> pathlib.Path:
  """Writes CLASS/CLASSn.ending into the folder, which it returns."""
  for label in classes:
    for n in range(count):
      write(folder / label / f'{label}{n}{ending}')
  return folder
