"""Writes MiraBest's test sources as a catalogue to keep out of training.

  python -m tfds_builders.mirabest.exclusion --manual_dir M --output test.csv

All 157 sources of the official test batch, of every class, so that one
catalogue serves the `confident`, `full` and `fits` configs. The builder of
unlabelled tiles takes it as `--exclude`. `--all` writes the 1256 sources of
both splits instead, as a `--catalogue` to cut around.
"""

import pathlib
import pickle
import tarfile
from collections.abc import Iterable, Sequence

from radio_ssl.data import catalogue
from tfds_builders import arguments
from tfds_builders.mirabest import batches


def write(sources: Iterable[batches.Source], path: str | pathlib.Path) -> int:
  """Writes name, position (J2000), size and redshift of sources as CSV.

  Returns:
    The number of sources written.
  """
  lines = [
    (s.name, s.ra_deg, s.dec_deg, s.size_arcsec, s.redshift) for s in sources
  ]
  catalogue.write(path, lines)
  return len(lines)


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the batches, writes the catalogue, says how many."""
  parser = arguments.Parser(
    description='Writes the test sources of MiraBest as a CSV catalogue.'
  )
  parser.add_argument(
    '--manual_dir',
    type=pathlib.Path,
    required=True,
    help='holds MiraBest_F_batches.tar.gz, or mirabest/ with it',
  )
  parser.add_argument(
    '--output', type=pathlib.Path, required=True, help='CSV file to write'
  )
  parser.add_argument(
    '--all', action='store_true', help='the training sources too'
  )
  args = parser.parse_args(argv)
  name = pathlib.PurePath(batches.ARCHIVE).name
  archive = args.manual_dir / 'mirabest' / name
  if (args.manual_dir / name).is_file():
    archive = args.manual_dir / name
  if not archive.is_file():
    parser.error(
      f'{archive}: no such file; download it from '
      'http://www.jb.man.ac.uk/research/MiraBest/MiraBest_F/.'
    )
  try:
    sources = batches.read(archive)
  except (ValueError, EOFError, tarfile.TarError, pickle.UnpicklingError) as e:
    parser.error(f'{archive}: not the official batches ({e}). Fetch it again.')
  wanted = [s for s in sources if args.all or s.split == 'test']
  try:
    count = write(wanted, args.output)
  except OSError as error:
    parser.error(f'--output {args.output}: {error.strerror or error}.')
  kind = 'sources' if args.all else 'test sources'
  print(f'{args.output}: {count} {kind} of MiraBest')


if __name__ == '__main__':
  main()
