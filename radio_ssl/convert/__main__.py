"""Encoders from and to other formats.

  python -m radio_ssl.convert export CHECKPOINT --output DIR

writes the encoder of a run, or of one checkpoint, to a folder that can be
shared: the evaluator takes it as `--checkpoint`, and
`radio_ssl.load_encoder(DIR)` opens it in Python.
"""

import argparse
import sys
from collections.abc import Sequence

from radio_ssl.convert import export


def main(argv: Sequence[str] | None = None) -> int:
  """Converts; returns the exit status."""
  parser = argparse.ArgumentParser(
    'python -m radio_ssl.convert',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  commands = parser.add_subparsers(required=True)
  _add_export(commands)
  args = parser.parse_args(argv)
  try:
    args.run(args)
  except (OSError, ValueError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  return 0


def _add_export(commands) -> None:
  parser = commands.add_parser('export', help='a run to a folder to share')
  parser.add_argument('checkpoint', help='folder of a run, or of a checkpoint')
  parser.add_argument('--output', required=True, help='a new folder')
  parser.add_argument(
    '--which',
    choices=('online', 'ema'),
    help='encoder of the run (default: online)',
  )
  parser.add_argument(
    '--results',
    nargs='*',
    default=(),
    help='results.json files of the evaluator, for the README',
  )
  parser.add_argument(
    '--licence', default='', help='of the weights, for the README'
  )
  parser.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> None:
  folder = export.export(
    args.checkpoint,
    args.output,
    which=args.which,
    results=args.results,
    licence=args.licence,
  )
  print(folder)


if __name__ == '__main__':
  sys.exit(main())
