"""Writes the sources of built data sets as a catalogue.

  python -m tfds_builders.sources DIR [DIR ...] --split test --output test.csv

What encoders will be scored on has to stay out of what they are trained on: the
builder of unlabelled images takes this catalogue as `--exclude`.
"""

import argparse
import pathlib
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from radio_ssl.data import catalogue, pipeline
from tfds_builders import arguments


def rows(directory: pathlib.Path, split: str | None) -> Iterator[tuple]:
  """Name, RA, Dec, size and redshift of each source, NaN where unknown.

  Args:
    directory: of a data set.
    split: of it; None for all.

  Raises:
    ValueError: no such set or split, or sources without a position.
  """
  dataset = pipeline.open_dataset(directory)
  for name in [split] if split else dataset.num_examples:
    for record in dataset.source(name):
      position = record['ra_deg'], record['dec_deg']
      if not np.isfinite(position).all():
        raise ValueError(
          f'{directory}: {record["name"].decode()} of {name!r} has no '
          'position; nothing can be kept away from it.'
        )
      numbers = record['source_size_arcsec'], record['redshift']
      yield record['name'].decode(), *position, *numbers


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  parser = arguments.Parser(
    prog='python -m tfds_builders.sources',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('directory', type=pathlib.Path, nargs='+')
  parser.add_argument('--split', help='of each; all without it')
  parser.add_argument(
    '--output', type=pathlib.Path, required=True, help='CSV file to write'
  )
  args = parser.parse_args(argv)
  try:
    found = [row for d in args.directory for row in rows(d, args.split)]
    catalogue.write(args.output, found)
  except (ValueError, OSError) as error:
    parser.error(str(error))
  print(f'{args.output}: {len(found)} sources')
  return 0


if __name__ == '__main__':
  sys.exit(main())
