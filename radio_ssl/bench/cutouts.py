"""Cutouts per second from a large mosaic, ours beside others'.

  python -m radio_ssl.bench.cutouts --size_pix 10000

A float32 mosaic is written to $TMPDIR and read by all in turn: whole pixels
around random positions (`cutouts.crops`), on a grid of their own (`cutout`),
loops over astropy's Cutout2D on mapped pixels, and cutana (PyPI) where it is
installed. A run includes opening the file, and not its checks. Cutouts per CPU
second of one process, median (least to most) over runs that alternate.
"""

import argparse
import importlib.util
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence

import astropy.coordinates
import astropy.io.fits
import astropy.nddata
import astropy.wcs
import numpy as np

from radio_ssl.data import cutouts, fits, windows

_CARDS = {
  'CTYPE1': 'RA---SIN',
  'CTYPE2': 'DEC--SIN',
  'CRVAL1': 150.0,
  'CRVAL2': 30.0,
  'CDELT1': -0.0005,
  'CDELT2': 0.0005,
  'BUNIT': 'Jy/beam',
  'BMAJ': 0.0015,
  'BMIN': 0.0015,
}
# They stand for any: a bench need not look at all pixels first, as ingest does.
_LOOKED_AT = windows.Statistics(measured=1.0, zeros=0.0, brightest=1.0)

Positions = tuple[np.ndarray, np.ndarray]


def write_mosaic(path: pathlib.Path, size: int) -> None:
  """Noise, the same 100 rows over and over, without holding them all."""
  header = astropy.io.fits.Header()
  header.update(
    {'SIMPLE': True, 'BITPIX': -32, 'NAXIS': 2, 'NAXIS1': size, 'NAXIS2': size}
  )
  header.update(_CARDS | {'CRPIX1': size / 2, 'CRPIX2': size / 2})
  rows = np.random.default_rng(0).normal(0, 1e-4, (100, size)).astype('>f4')
  with path.open('wb') as file:
    file.write(header.tostring().encode())
    for first in range(0, size, 100):
      file.write(rows[: size - first].tobytes())
    file.write(bytes(-file.tell() % 2880))


def positions(path: pathlib.Path, number: int, side: int) -> Positions:
  """Sky positions whose cutouts lie inside."""
  head = fits.header(path)
  x, y = np.random.default_rng(1).uniform(
    side, head.shape[0] - side, (2, number)
  )
  return fits.pixel_to_sky(head.wcs, x, y)


def crops(path: pathlib.Path, at: Positions, side: int) -> int:
  """Whole pixels; the noise's surroundings are left out, as others do."""
  with fits.opened(path, statistics=_LOOKED_AT) as image:
    found = cutouts.crops(
      image, ra_deg=at[0], dec_deg=at[1], size_pix=side, surroundings=False
    )
    return sum(piece.pixels_jy_beam.shape == (side, side) for piece in found)


def gridded(path: pathlib.Path, at: Positions, side: int) -> int:
  """Centred to a hundredth of a pixel, north up; with surroundings."""
  with fits.opened(path, statistics=_LOOKED_AT) as image:
    return sum(
      cutouts.cutout(
        image, ra_deg=ra, dec_deg=dec, size_pix=side
      ).pixels_jy_beam.shape
      == (side, side)
      for ra, dec in zip(*at, strict=True)
    )


def cutout2d(path: pathlib.Path, at: Positions, side: int) -> int:
  """A plain loop over astropy's class, a sky position at a time."""
  sky = astropy.coordinates.SkyCoord(*at, unit='deg')
  return _cutout2d(path, lambda wcs: sky, side)


def cutout2d_pix(path: pathlib.Path, at: Positions, side: int) -> int:
  """The same loop, with all positions looked up at once before it."""
  return _cutout2d(
    path, lambda wcs: np.transpose(wcs.all_world2pix(*at, 0)), side
  )


def _cutout2d(path: pathlib.Path, place: Callable, side: int) -> int:
  with astropy.io.fits.open(path, memmap=True) as hdus:
    wcs, count = astropy.wcs.WCS(hdus[0].header), 0
    for position in place(wcs):
      piece = astropy.nddata.Cutout2D(
        hdus[0].data, position, (side, side), wcs=wcs, mode='partial'
      )
      count += piece.data.astype(np.float32).shape == (side, side)
    return count


def cutana(path: pathlib.Path, at: Positions, side: int) -> int:
  """Its direct call, extraction alone, in this process."""
  import cutana as other
  import pandas

  config = other.get_default_config()
  config.do_only_cutout_extraction = True
  config.apply_flux_conversion = False
  config.target_resolution = side
  table = pandas.DataFrame(
    {
      'SourceID': [str(n) for n in range(len(at[0]))],
      'RA': at[0],
      'Dec': at[1],
      'diameter_pixel': side,
      'fits_file_paths': [str([str(path)])] * len(at[0]),
    }
  )
  made = other.create_cutouts_direct(table, config, max_workers=1)
  return sum(len(batch['cutouts']) for batch in made)


def measure(
  make: Callable[..., int], path: pathlib.Path, at: Positions, side: int
) -> float:
  """Cutouts per CPU second."""
  start = time.process_time()
  count = make(path, at, side)
  seconds = time.process_time() - start
  if count != len(at[0]):
    raise RuntimeError(f'{make.__name__} made {count} of {len(at[0])} cutouts')
  return count / seconds


def main(argv: Sequence[str] | None = None) -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    '--size_pix', type=int, default=10000, help='of the mosaic'
  )
  parser.add_argument('--sides', type=int, nargs='+', default=(128, 256))
  parser.add_argument(
    '--number', type=int, default=1000, help='cutouts of a run'
  )
  parser.add_argument('--repeats', type=int, default=5, help='runs of each')
  args = parser.parse_args(argv)
  makers = [crops, gridded, cutout2d, cutout2d_pix]
  if importlib.util.find_spec('cutana') is None:
    print('No cutana, so no comparison with it: pip install cutana.')
  else:
    makers.append(cutana)
  print(f'| side | {" | ".join(make.__name__ for make in makers)} |')
  print('|' + ' --- |' * (len(makers) + 1))
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'mosaic.fits'
    write_mosaic(path, args.size_pix)
    for side in args.sides:
      at = positions(path, args.number, side)
      runs = [
        [measure(m, path, at, side) for m in makers]
        for _ in range(args.repeats)
      ]
      cells = [
        f'{statistics.median(of):.0f} ({min(of):.0f} to {max(of):.0f})'
        for of in zip(*runs, strict=True)
      ]
      print(f'| {side} | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
  main()
