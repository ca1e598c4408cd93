"""Classes of sources, from their images, an encoder and a probe.

  python -m radio_ssl.predict --checkpoint my_encoder --probe runs/x/eval \
    --images 'mosaics/*.fits' --catalogue sources.vot --output classes.vot

`--probe` is what `radio_ssl.evaluate` wrote with that encoder, by the linear
protocol. The cutouts are made by `tfds_builders.build radio_fits --config
cutouts`; what follows `--` goes to it, such as `-- --beam_arcsec 5.4`. They are
as wide as the encoder's field asks for, and at most 10 % of that field may have
no value (`-- --max_missing`). `--data DIR` takes a finished data set instead.
The output is a table of a row a source; its kind follows from its name: .vot,
.fits, .ecsv, .csv or .parquet. With a catalogue the rows are those of the
catalogue, also where there is no image of a source: such a row has no class and
a flag that says why.

Flags tell what is wrong with an image, not what its class is worth: for that
there are the probabilities, and `results.md` of the evaluation says how often
they are right. Choose a limit of your own.
"""

import argparse
import collections
import datetime
import json
import pathlib
import shlex
import sys
import tempfile
from collections.abc import Sequence

from astropy import table

import radio_ssl
from radio_ssl.data import catalogue, pipeline
from radio_ssl.predict import classes, cutting, files, probes


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    'python -m radio_ssl.predict',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('--checkpoint', required=True)
  parser.add_argument('--probe', required=True, help='folder of an evaluation')
  parser.add_argument(
    '--output', required=True, help='.vot, .fits, .ecsv, .csv, .parquet'
  )
  parser.add_argument('--images', help='FITS files, a pattern in quotes')
  parser.add_argument('--catalogue', help='of the sources')
  parser.add_argument('--data', help='a finished data set instead of both')
  parser.add_argument('--split', default='train', help='of --data')
  parser.add_argument(
    '--features', action='store_true', help='add the features to the table'
  )
  return parser


def main(argv: Sequence[str] | None = None) -> int:
  """Writes the table; returns the exit status."""
  argv = list(sys.argv[1:] if argv is None else argv)
  own, options = argv, []
  if '--' in argv:
    own, options = argv[: argv.index('--')], argv[argv.index('--') + 1 :]
  args, unknown = _parser().parse_known_args(own)
  try:
    if unknown:
      raise ValueError(
        f'{unknown[0]} belongs to no flag. Put patterns in quotes, and options '
        'of the builder after a --.'
      )
    output = pathlib.Path(args.output)
    _check(args, options, output)
    classifier = probes.read(args.probe)
    if args.data:
      found = _of_data(args, classifier)
    else:
      found = _of_images(args, classifier, options)
    files.write(found, output, _history(args, classifier, argv))
  except (OSError, ValueError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  print(f'{output}: {_summary(found)}')
  return 0


def _check(
  args: argparse.Namespace, options: Sequence[str], output: pathlib.Path
) -> None:
  """What should be known before cutouts are made."""
  files.check(output)
  given = bool(args.images), bool(args.catalogue), bool(args.data)
  if given not in ((True, True, False), (False, False, True)):
    raise ValueError('Give --images and --catalogue, or --data alone.')
  if args.data and options:
    raise ValueError(
      f'{options[0]} is for the cutting of --images; --data is cut already.'
    )
  if args.features and output.suffix == '.csv':
    raise ValueError(f'{output}: a .csv has no room for features; take .ecsv.')


def _of_data(
  args: argparse.Namespace, classifier: probes.Classifier
) -> table.Table:
  directory = pathlib.Path(args.data).expanduser()
  found = _predict(args, classifier, directory, args.split)
  report = directory / 'ingest_report.json'
  if report.is_file():
    # Sources that have no image have no row either.
    print(f'{report}: {json.loads(report.read_text())["summary"]}')
  return found


def _of_images(
  args: argparse.Namespace,
  classifier: probes.Classifier,
  options: Sequence[str],
) -> table.Table:
  fields = [i.field_arcsec for i in classifier.encoder(args.checkpoint).inputs]
  with tempfile.TemporaryDirectory() as folder:
    directory, lost = cutting.cut(
      folder,
      images=args.images,
      catalogue=args.catalogue,
      options=options,
      field_arcsec=None if None in fields else max(fields),
    )
    if directory is None:
      found = classes.nothing(classifier, with_features=args.features)
    else:
      found = _predict(args, classifier, directory, 'train')
  sources = catalogue.read(args.catalogue, columns=cutting.columns(options))
  return classes.in_order_of(found, sources, lost)


def _predict(
  args: argparse.Namespace,
  classifier: probes.Classifier,
  directory: pathlib.Path,
  split: str,
) -> table.Table:
  return classes.predict(
    args.checkpoint,
    classifier,
    pipeline.open_dataset(directory),
    split,
    with_features=args.features,
  )


def _history(
  args: argparse.Namespace, classifier: probes.Classifier, argv: Sequence[str]
) -> list[str]:
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  return [
    f'Classes by radio_ssl {radio_ssl.__version__}, {now}.',
    f'SHA-256 of the probe {args.probe}: {classifier.sha256}',
    shlex.join(['python', '-m', 'radio_ssl.predict', *argv]),
  ]


def _summary(found: table.Table) -> str:
  kinds = collections.Counter(found['class'])
  flags = collections.Counter(' '.join(found['flags']).split())
  del flags['none']
  told = ', '.join(f'{n} {name}' for name, n in sorted(kinds.items()) if name)
  raised = ', '.join(f'{n} {word}' for word, n in sorted(flags.items()))
  return (
    f'{len(found)} sources: {told or "no class"}; flags: {raised or "none"}'
  )


if __name__ == '__main__':
  sys.exit(main())
