"""Examples per second that the input pipeline reads, by dtype and encoding.

  python -m radio_ssl.bench.read

Images of correlated noise and a few sources are written as TFDS data sets and
read as training reads them (`pipeline.train_batches`: array_record, shuffled,
batches; from the page cache). float32 is Jy/beam; float16 is in units of the
rms and comes out of the pipeline as float32; uint8 is clipped below 3 rms, as
published pictures are. `encoding` is that of the TFDS feature. Rounds alternate
over all variants, on one core where the platform can pin; what counts is the
CPU time of the process. Ratios are to float32 `bytes` of the same round, mean
+- standard deviation over rounds.
"""

import argparse
import contextlib
import dataclasses
import io
import os
import pathlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.ndimage
import tensorflow_datasets as tfds

from radio_ssl.data import examples, pipeline

# FIRST: 1.8 arcsec pixels, a beam of 5.4 arcsec, noise narrower than the beam.
_RMS_JY_BEAM = 1.5e-4
_BEAM_SIGMA_PIX = 1.27
_NOISE_SIGMA_PIX = 0.8
_BATCH = 16
# Batches until the readers are as far ahead as they are allowed to be.
_WARM_UP = 6


@dataclasses.dataclass(frozen=True)
class Variant:
  """A way of storing images: dtype, and encoding of the TFDS feature."""

  dtype: str
  encoding: str


DEFAULT = Variant('float32', 'bytes')
# tf.Example has no float16 list, so nothing but bytes can hold it.
VARIANTS = (
  DEFAULT,
  Variant('float32', 'zlib'),
  Variant('float32', 'none'),
  Variant('float16', 'bytes'),
  Variant('float16', 'zlib'),
  Variant('uint8', 'bytes'),
  Variant('uint8', 'zlib'),
  Variant('uint8', 'none'),
)


@dataclasses.dataclass(frozen=True)
class Run:
  """What one round found of a variant.

  Attributes:
    rate: examples read per CPU second.
    build_ms: CPU milliseconds to write an example.
    kilobytes: of shards on disk, an example.
  """

  rate: float
  build_ms: float
  kilobytes: float


def picture(size: int, rng: np.random.Generator) -> np.ndarray:
  """Noise and three sources, float32 Jy/beam, [size, size]."""
  noise = rng.normal(size=(size, size))
  noise = scipy.ndimage.gaussian_filter(noise, _NOISE_SIGMA_PIX, mode='wrap')
  sources = np.zeros((size, size))
  y, x = rng.integers(0, size, (2, 3))
  # Brightest pixels of FIRST's sources lie about 100 rms up.
  sources[y, x] = 100 * rng.pareto(1, 3).clip(0.05, 20)
  sources = scipy.ndimage.gaussian_filter(sources, _BEAM_SIGMA_PIX)
  sources *= 2 * np.pi * _BEAM_SIGMA_PIX**2
  return ((noise / noise.std() + sources) * _RMS_JY_BEAM).astype(np.float32)


def rows(size: int, number: int) -> list[dict[str, Any]]:
  """Examples in Jy/beam."""
  rng = np.random.default_rng(0)
  return [
    examples.example(
      picture(size, rng),
      name=f's{i}',
      source_file='a.fits',
      ra_deg=10.0,
      dec_deg=10.0,
      background_jy_beam=0.0,
      rms_jy_beam=_RMS_JY_BEAM,
    )
    for i in range(number)
  ]


def stored(example: dict[str, Any], dtype: str) -> dict[str, Any]:
  """An example in the dtype of a variant."""
  if dtype != 'uint8':
    return examples.stored(example, dtype)
  pixels = example['image']
  kept = np.where(pixels > 3 * _RMS_JY_BEAM, pixels, 0)
  # No pixel may stand out where there are no sources to speak of.
  counts = 255 * kept / max(kept.max(), _RMS_JY_BEAM)
  return example | {'image': counts.round().astype(np.uint8)}


def build(
  folder: pathlib.Path, variant: Variant, written: Sequence[dict[str, Any]]
) -> pathlib.Path:
  """Writes a data set; returns its directory."""
  shape = written[0]['image'].shape
  schema = dict(examples.features(*shape[:2], dtype=variant.dtype))
  schema['image'] = tfds.features.Tensor(
    shape=shape, dtype=np.dtype(variant.dtype), encoding=variant.encoding
  )

  class Read(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version('1.0.0')
    # Of a class of __main__, TFDS cannot find it by itself.
    pkg_dir_path = pathlib.Path(__file__).parent

    def _info(self):
      return self.dataset_info_from_configs(
        features=tfds.features.FeaturesDict(schema)
      )

    def _split_generators(self, dl_manager):
      del dl_manager
      return {'train': enumerate(written)}

    def _generate_examples(self):
      raise NotImplementedError

  builder = Read(data_dir=folder, file_format='array_record')
  with contextlib.redirect_stdout(io.StringIO()):  # It tells where and how.
    builder.download_and_prepare()
  return pathlib.Path(builder.data_path)


def read(directory: pathlib.Path, seconds: float) -> float:
  """Examples per CPU second, over at least that many CPU seconds."""
  batches = pipeline.train_batches(
    pipeline.open_dataset(directory), 'train', batch_size=_BATCH, seed=0
  )
  for _ in range(_WARM_UP):
    next(batches)
  count, start, spent = 0, time.process_time(), 0.0
  while spent < seconds or not count:
    count += len(next(batches)['index'])
    spent = time.process_time() - start
  return count / spent


def measure(
  folder: pathlib.Path,
  variant: Variant,
  written: Sequence[dict[str, Any]],
  seconds: float,
) -> Run:
  """Builds and reads a variant once."""
  start = time.process_time()
  directory = build(folder, variant, written)
  spent = time.process_time() - start
  size = sum(p.stat().st_size for p in directory.glob('*.array_record-*'))
  rate = read(directory, seconds)
  _settle()
  shutil.rmtree(directory)
  return Run(
    rate,
    build_ms=1e3 * spent / len(written),
    kilobytes=size / len(written) / 1e3,
  )


def _settle() -> None:
  """Waits until the readers that were ahead have stopped."""
  before = -1.0
  while time.process_time() - before > 1e-3:
    before = time.process_time()
    time.sleep(0.05)


@contextlib.contextmanager
def _pinned(core: int) -> Iterator[None]:
  """Keeps this thread, and those that it starts, on one core."""
  if not hasattr(os, 'sched_setaffinity'):
    yield
    return
  before = os.sched_getaffinity(0)
  os.sched_setaffinity(0, {core if core in before else min(before)})
  try:
    yield
  finally:
    os.sched_setaffinity(0, before)


def _row(size: int, variant: Variant, runs: list[Run], default: list[Run]):
  ratios = [a.rate / b.rate for a, b in zip(runs, default, strict=True)]
  ratio = f'{statistics.mean(ratios):.2f}'
  if len(ratios) > 1:
    ratio += f' +- {statistics.stdev(ratios):.2f}'
  cells = [
    str(size),
    variant.dtype,
    variant.encoding,
    f'{statistics.mean(run.rate for run in runs):.0f}',
    ratio,
    f'{runs[0].kilobytes:.1f}',
    f'{statistics.mean(run.build_ms for run in runs):.2f}',
  ]
  return f'| {" | ".join(cells)} |'


def table(
  sizes: Sequence[int], number: int, rounds: int, seconds: float
) -> Iterator[str]:
  """The lines of the table, each as soon as its image size is through."""
  yield (
    '| pixels | dtype | encoding | examples / CPU s | of float32 bytes | '
    'kB an example | build, CPU ms an example |'
  )
  yield '|' + ' --- |' * 7
  for size in sizes:
    made = rows(size, number)
    written = {
      dtype: [stored(example, dtype) for example in made]
      for dtype in {variant.dtype for variant in VARIANTS}
    }
    runs: dict[Variant, list[Run]] = {variant: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
      for _ in range(rounds):
        for variant, of in runs.items():
          of.append(
            measure(
              pathlib.Path(folder), variant, written[variant.dtype], seconds
            )
          )
    for variant, of in runs.items():
      yield _row(size, variant, of, runs[DEFAULT])


def main(argv: Sequence[str] | None = None) -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    '--sizes', type=int, nargs='+', default=(64, 150, 224), help='in pixels'
  )
  parser.add_argument(
    '--number', type=int, default=256, help='examples of a data set'
  )
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument(
    '--seconds', type=float, default=1.0, help='CPU time of one reading'
  )
  parser.add_argument('--core', type=int, default=0, help='pinned core')
  args = parser.parse_args(argv)
  if args.number < _BATCH or args.rounds < 1 or min(args.sizes) < 1:
    parser.error(f'wanted --number from {_BATCH}, --rounds and --sizes from 1.')
  tfds.disable_progress_bar()
  with _pinned(args.core):
    for line in table(args.sizes, args.number, args.rounds, args.seconds):
      print(line, flush=True)


if __name__ == '__main__':
  main()
