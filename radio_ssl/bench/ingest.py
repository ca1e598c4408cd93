"""Peak memory of a build, by the size and encoding of the mosaic.

  python -m radio_ssl.bench.ingest --size_pix 50000

Mosaics of noise are written to $TMPDIR, as float32, as int16 with BSCALE, as
float32 in gzip and, up to 20000 pixels a side, tile-compressed. Each is cut
into tiles by `tfds_builders.build` in a process of its own. What counts is by
how much its largest resident set exceeds that of the same build of a mosaic of
1000 pixels a side.
"""

import argparse
import concurrent.futures
import gzip
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import astropy.io.fits
import numpy as np

from radio_ssl.bench import cutouts

ENCODINGS = ('float32', 'int16', 'gzip', 'compressed')
_SMALL_PIX = 1000
# astropy holds the whole image while it compresses it.
_COMPRESSED_AT_MOST_PIX = 20000
_TILE_PIX = 150


def write_mosaic(
  folder: pathlib.Path, size: int, encoding: str
) -> pathlib.Path:
  """Writes one of `ENCODINGS`."""
  plain = folder / f'{size}.fits'
  cutouts.write_mosaic(plain, size)
  if encoding == 'gzip':
    path = folder / f'{size}.fits.gz'
    with plain.open('rb') as file, gzip.open(path, 'wb', 1) as packed:
      shutil.copyfileobj(file, packed, 1 << 24)
    plain.unlink()
    return path
  if encoding == 'compressed':
    path = folder / f'{size}.fits.fz'
    pixels, header = astropy.io.fits.getdata(plain, header=True)
    astropy.io.fits.CompImageHDU(pixels, header).writeto(path)
    plain.unlink()
    return path
  if encoding == 'int16':
    _to_int16(plain, size)
  return plain


def _to_int16(path: pathlib.Path, size: int) -> None:
  header = astropy.io.fits.getheader(path)
  header.update(BITPIX=16, BSCALE=1e-6, BZERO=0.01)
  whole = path.with_suffix('.int16')
  rows = np.random.default_rng(0).normal(-1e4, 100, (100, size)).astype('>i2')
  with whole.open('wb') as file:
    file.write(header.tostring().encode())
    for first in range(0, size, 100):
      file.write(rows[: size - first].tobytes())
    file.write(bytes(-file.tell() % 2880))
  whole.replace(path)


def _written_apart(
  folder: pathlib.Path, size: int, encoding: str
) -> pathlib.Path:
  """`write_mosaic`; a process counts as large as the one that started it."""
  with concurrent.futures.ProcessPoolExecutor(
    1, multiprocessing.get_context('spawn')
  ) as pool:
    return pool.submit(write_mosaic, folder, size, encoding).result()


def build(path: pathlib.Path, stride: int) -> tuple[float, float]:
  """Builds tiles; returns the largest resident set in MB, and seconds."""
  with tempfile.TemporaryDirectory(dir=path.parent) as folder:
    command = [
      *(sys.executable, '-m', 'tfds_builders.build', 'radio_fits'),
      *(f'--images={path}', '--name=bench', f'--data_dir={folder}'),
      *(f'--size_pix={_TILE_PIX}', f'--stride_pix={stride}'),
    ]
    start = time.monotonic()
    with (pathlib.Path(folder) / 'log').open('w+') as log:
      process = subprocess.Popen(command, stdout=log, stderr=log)
      _, status, used = os.wait4(process.pid, 0)
      process.returncode = os.waitstatus_to_exitcode(status)
      if process.returncode:
        log.seek(0)
        raise RuntimeError(f'{" ".join(command)}: {log.read()[-1000:]}')
  # Linux counts kilobytes, macOS bytes.
  unit = 1 << 20 if sys.platform == 'darwin' else 1 << 10
  return used.ru_maxrss * unit / 2**20, time.monotonic() - start


def main(argv: Sequence[str] | None = None) -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    '--size_pix', type=int, default=10000, help='side of the mosaic'
  )
  parser.add_argument(
    '--stride_pix', type=int, default=_TILE_PIX, help='from tile to tile'
  )
  parser.add_argument(
    '--encodings', nargs='+', default=ENCODINGS, choices=ENCODINGS
  )
  args = parser.parse_args(argv)
  print('| encoding | pixels | file, GB | above start, MB | seconds |')
  print('|' + ' --- |' * 5)
  for encoding in args.encodings:
    size = args.size_pix
    if encoding == 'compressed':
      size = min(size, _COMPRESSED_AT_MOST_PIX)
    with tempfile.TemporaryDirectory() as name:
      folder = pathlib.Path(name)
      small = write_mosaic(folder, _SMALL_PIX, encoding)
      start_mb, _ = build(small, args.stride_pix)
      path = _written_apart(folder, size, encoding)
      peak_mb, seconds = build(path, args.stride_pix)
      print(
        f'| {encoding} | {size} | {path.stat().st_size / 1e9:.2f} '
        f'| {peak_mb - start_mb:.0f} | {seconds:.0f} |',
        flush=True,
      )


if __name__ == '__main__':
  main()
