"""Simulated survey: FITS mosaics and their catalogue, made to look like FIRST.

  python -m tfds_builders.radio_sim.simulate --output DIR

1.8 arcsec pixels, a round beam of 5.4 arcsec, noise of about 0.15 mJy/beam,
correlated from pixel to pixel as in FIRST, and weak streaks in three directions
around bright sources, as snapshots of the Y-shaped VLA leave them. Labelled
sources stand in a loose grid, unlabelled faint points anywhere, 90 above 1 mJy
a square degree.
"""

import concurrent.futures
import csv
import dataclasses
import itertools
import pathlib
from collections.abc import Sequence

import astropy.io.fits
import astropy.wcs
import numpy as np

from tfds_builders import arguments
from tfds_builders.radio_sim import sources

PIXEL_ARCSEC = 1.8
BEAM_ARCSEC = 5.4
_BEAM_SIGMA_PIX = BEAM_ARCSEC / PIXEL_ARCSEC / np.sqrt(8 * np.log(2))
_THREADS = 2
_STAMP_PIX = 110
_POINT_STAMP_PIX = 10
_BACKGROUND_PER_DEG2 = 90.0
# Median over 51 FIRST fields, mean of both axes: the noise correlates by 0.75,
# 0.37, 0.21, 0.20, 0.14 and 0.09 at lags of 1, 2, 3, 4, 6 and 8 pixels; here by
# 0.76, 0.38, 0.21, 0.15, 0.09 and 0.07. It is narrower than the beam, with the
# tail of its streaks.
_NOISE_SIGMA_OF_BEAM = 0.62
_STREAKS_OF_NOISE = 0.008
_STREAKS_OF_SOURCES = 1e-3
_STREAK_LENGTH_PIX = 60.0
_STREAK_REACH_PIX = 300
_COLUMNS = (
  'name', 'ra_deg', 'dec_deg', 'source_size_arcsec', 'flux_jy', 'label'
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Mosaic:
  """One square image of the survey.

  Attributes:
    number: places it on the sky and, with the seed, decides what is in it.
    seed: of the survey.
    cells: labelled sources along a side.
    cell_pix: side of the cell in which each of them stands.
    margin_pix: sky around the cells.
  """

  number: int
  seed: int = 0
  cells: int = 14
  cell_pix: int = 150
  margin_pix: int = 50

  @property
  def size_pix(self) -> int:
    """Side of the image."""
    return self.cells * self.cell_pix + 2 * self.margin_pix

  @property
  def wcs(self) -> astropy.wcs.WCS:
    """Tangent projection; mosaics lie 3 degrees apart on the equator."""
    wcs = astropy.wcs.WCS(naxis=2)
    wcs.wcs.ctype = ['RA---TAN', 'DEC--TAN']
    wcs.wcs.crval = [(150.0 + 3 * self.number) % 360, 0.0]
    wcs.wcs.crpix = [(self.size_pix + 1) / 2] * 2
    wcs.wcs.cdelt = [-PIXEL_ARCSEC / 3600, PIXEL_ARCSEC / 3600]
    wcs.wcs.radesys = 'ICRS'
    return wcs


def write(
  folder: str | pathlib.Path, mosaics: Sequence[Mosaic]
) -> tuple[list[pathlib.Path], pathlib.Path]:
  """Simulates mosaics and writes them with one catalogue of all.

  Args:
    folder: is made; gets `sim_NNN.fits` and `catalogue.csv`.
    mosaics: what to simulate.

  Returns:
    (the FITS files, the catalogue).
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  paths = [folder / f'sim_{mosaic.number:03d}.fits' for mosaic in mosaics]
  # Nearly all the time goes into numpy, which lets threads run.
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    parts = list(pool.map(_write_one, paths, mosaics))
  with open(folder / 'catalogue.csv', 'w', newline='') as file:
    table = csv.DictWriter(file, _COLUMNS, lineterminator='\n')
    table.writeheader()
    table.writerows(itertools.chain.from_iterable(parts))
  return paths, folder / 'catalogue.csv'


def _write_one(path: pathlib.Path, mosaic: Mosaic) -> list[dict[str, object]]:
  pixels, rows = simulate(mosaic)
  header = mosaic.wcs.to_header()
  header['BUNIT'] = 'JY/BEAM'
  header['BMAJ'] = header['BMIN'] = BEAM_ARCSEC / 3600
  header['BPA'] = 0.0
  header['OBJECT'] = f'simulated, seed {mosaic.seed}'
  astropy.io.fits.PrimaryHDU(pixels, header).writeto(path)
  return rows


def simulate(mosaic: Mosaic) -> tuple[np.ndarray, list[dict[str, object]]]:
  """One mosaic.

  Returns:
    float32 [y, x] in Jy/beam, row 0 in the south and east on the left; and the
    catalogue of its labelled sources, in `_COLUMNS`.
  """
  rng = np.random.default_rng([mosaic.seed, mosaic.number])
  size = mosaic.size_pix
  sky = np.zeros((size, size), np.float32)
  members = [sources.draw(rng) for _ in range(mosaic.cells**2)]
  x, y = _places(mosaic, rng)
  for source, x0, y0 in zip(members, x, y, strict=True):
    _paint(sky, source, x0, y0)
  _paint_background(sky, rng)
  pixels = _observe(sky, rng)
  # Catalogued positions are good to a pixel. On the corners of pixels, cutouts
  # of even size copy pixels instead of interpolating, four times faster.
  x, y = np.floor(x) + 0.5, np.floor(y) + 0.5
  ra, dec = mosaic.wcs.wcs_pix2world(x, y, 0)
  rows = [
    {
      'name': f'sim{mosaic.number:03d}_{i:03d}',
      'ra_deg': f'{ra[i]:.7f}',
      'dec_deg': f'{dec[i]:.7f}',
      'source_size_arcsec': f'{source.size_arcsec:.2f}',
      'flux_jy': f'{source.flux_jy.sum():.6g}',
      'label': source.label,
    }
    for i, source in enumerate(members)
  ]
  return pixels, rows


def _places(
  mosaic: Mosaic, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """(x, y) of the labelled sources: [cells^2], 0-based pixels."""
  first = mosaic.margin_pix + (mosaic.cell_pix - 1) / 2
  centres = first + mosaic.cell_pix * np.arange(mosaic.cells)
  jitter = rng.uniform(-0.2, 0.2, (2, mosaic.cells, mosaic.cells))
  x, y = np.meshgrid(centres, centres) + jitter * mosaic.cell_pix
  return x.ravel(), y.ravel()


def _paint(
  sky: np.ndarray,
  source: sources.Source,
  x: float,
  y: float,
  reach: int = _STAMP_PIX,
) -> None:
  """Adds a source as the beam shows it, in Jy/beam, in place."""
  x0 = x - source.east_arcsec / PIXEL_ARCSEC
  y0 = y + source.north_arcsec / PIXEL_ARCSEC
  sigma2 = (source.sigma_arcsec / PIXEL_ARCSEC) ** 2 + _BEAM_SIGMA_PIX**2
  peak = source.flux_jy * _BEAM_SIGMA_PIX**2 / sigma2
  columns = _window(x, reach, sky.shape[1])
  rows = _window(y, reach, sky.shape[0])
  # Round Gaussians are separable: all of them are one small matrix product.
  gx = np.exp(-((columns - x0[:, None]) ** 2) / (2 * sigma2[:, None]))
  gy = np.exp(-((rows - y0[:, None]) ** 2) / (2 * sigma2[:, None]))
  sky[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += (
    (gy * peak[:, None]).T @ gx
  ).astype(np.float32)


def _window(centre: float, reach: int, length: int) -> np.ndarray:
  low = max(0, round(centre) - reach)
  return np.arange(low, min(length, round(centre) + reach + 1))


def _paint_background(sky: np.ndarray, rng: np.random.Generator) -> None:
  """Adds faint point sources; their numbers fall as 1 / flux above 1 mJy."""
  side_deg = np.array(sky.shape) * PIXEL_ARCSEC / 3600
  count = rng.poisson(_BACKGROUND_PER_DEG2 * side_deg.prod())
  fluxes_jy = np.minimum(1e-3 / rng.uniform(0, 1, count), 0.1)
  places = rng.uniform(0, np.array(sky.shape)[:, None], (2, count))
  zero = np.zeros(1)
  for flux, x, y in zip(fluxes_jy, *places, strict=True):
    point = sources.Source('', zero, zero, zero, np.array([flux]), 0.0)
    _paint(sky, point, x, y, _POINT_STAMP_PIX)


def _observe(sky: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Adds streaks and noise.

  Args:
    sky: float32 [N, N] in Jy/beam, smooth on the scale of the beam.
    rng: drawn from.

  Returns:
    float32 [N, N].
  """
  size = len(sky)
  rms_jy_beam = 1.53e-4 * rng.lognormal(0, 0.07)
  lines = _streaks(size, turn=rng.uniform(0, np.pi / 3))
  # The lines are symmetric about pixel [0, 0], so their transform is real.
  streaks = np.fft.rfft2(lines).real
  frequency2 = (
    np.fft.fftfreq(size).astype(np.float32)[:, None] ** 2
    + np.fft.rfftfreq(size).astype(np.float32) ** 2
  )
  sigma = _NOISE_SIGMA_OF_BEAM * _BEAM_SIGMA_PIX
  noise = np.exp(-2 * (np.pi * sigma) ** 2 * frequency2)
  noise *= 1 + _STREAKS_OF_NOISE * streaks
  noise *= rms_jy_beam / _rms(noise)
  white = np.fft.rfft2(rng.standard_normal((size, size), np.float32))
  spectrum = white * noise
  spectrum += np.fft.rfft2(sky) * (_STREAKS_OF_SOURCES * streaks)
  return sky + np.fft.irfft2(spectrum, s=sky.shape).astype(np.float32)


def _rms(transfer: np.ndarray) -> float:
  """Of filtered white unit noise; `transfer` is [N, N // 2 + 1], N even."""
  power = (transfer**2).sum(axis=0, dtype=np.float64)
  # Each inner column of a real transform stands for two.
  total = 2 * power.sum() - power[0] - power[-1]
  return float(np.sqrt(total / len(transfer) ** 2))


def _streaks(size: int, *, turn: float) -> np.ndarray:
  """Three thin lines through pixel [0, 0], 60 degrees apart.

  Args:
    size: of the square result; the lines wrap around its edges.
    turn: angle of the first line.

  Returns:
    float32 [size, size], mean 0.
  """
  reach = min(_STREAK_REACH_PIX, size // 2 - 1)
  at = np.arange(-reach, reach + 1, dtype=np.float32)
  y, x = at[:, None], at[None, :]
  near = np.zeros((len(at), len(at)), np.float32)
  for angle in turn + np.pi / 3 * np.arange(3):
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    near += np.exp(
      -abs(along) / _STREAK_LENGTH_PIX - across**2 / (2 * _BEAM_SIGMA_PIX**2)
    )
  lines = np.zeros((size, size), np.float32)
  wrapped = np.arange(-reach, reach + 1) % size
  lines[np.ix_(wrapped, wrapped)] = near
  return lines - lines.mean()


def main(argv: Sequence[str] | None = None) -> None:
  """Writes a survey to look at."""
  parser = arguments.Parser(description='Writes a simulated survey.')
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--mosaics', type=int, default=9)
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args(argv)
  if args.mosaics < 1:
    parser.error(f'--mosaics {args.mosaics}: wanted 1 or more.')
  mosaics = [Mosaic(n, seed=args.seed) for n in range(args.mosaics)]
  try:
    paths, catalogue = write(args.output, mosaics)
  except OSError as error:
    parser.error(f'--output {args.output}: {error.strerror or error}.')
  print(f'{args.output}: {len(paths)} mosaics, {catalogue.name}')


if __name__ == '__main__':
  main()
