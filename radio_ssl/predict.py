"""Classes of sources, from their images, an encoder and a probe.

  python -m radio_ssl.predict --checkpoint my_encoder --probe runs/x/eval \
    --images 'mosaics/*.fits' --catalogue sources.vot --output classes.vot

`--probe` is what `radio_ssl.evaluate` wrote with that encoder, by the linear
protocol. The cutouts are made by `tfds_builders.build radio_fits --config
cutouts`; what follows `--` goes to it, such as `-- --beam_arcsec 5.4`.
`--data DIR` takes a finished data set instead. The output is a table of a row a
source; its kind follows from its name: .vot, .fits, .ecsv, or .csv.
"""

import argparse
import dataclasses
import json
import logging
import pathlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy import table

from radio_ssl.data import pipeline
from radio_ssl.evaluate import checks, features, linear

_LOG = logging.getLogger(__name__)

_FORMATS = {
  '.vot': 'votable',
  '.fits': 'fits',
  '.ecsv': 'ascii.ecsv',
  '.csv': 'ascii.csv',
}
# Below it a source's brightest pixel may be noise.
_FAINT = 5.0


@dataclasses.dataclass(frozen=True)
class Classifier:
  """A probe that was read back.

  Attributes:
    probe: of one problem.
    label_names: K of them.
    rotations: over which its features are means.
    which: encoder of the checkpoint.
    pretraining: meta of the encoder it was fitted to.
  """

  probe: linear.Probe
  label_names: list[str]
  rotations: int
  which: str | None
  pretraining: Mapping[str, Any]


def read_probe(path: str | pathlib.Path) -> Classifier:
  """The probe in a folder that `radio_ssl.evaluate` wrote.

  Raises:
    ValueError: there is none.
  """
  file = pathlib.Path(path)
  file = file / 'results.json' if file.is_dir() else file
  try:
    result = json.loads(file.read_text())
    stored = result['probe']
    probe = linear.Probe(
      np.array([stored['weights']], float), np.array([stored['bias']], float)
    )
    if 'baseline' in result:
      raise ValueError('it is that of a baseline')
    return Classifier(
      probe,
      list(result['label_names']),
      int(result['config']['rotations']),
      result['config']['which'] or None,
      result['pretraining'],
    )
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise ValueError(
      f'{file}: no probe in it ({error}). Give the output of '
      'radio_ssl.evaluate with --checkpoint and the linear protocol.'
    ) from error


def predict(
  checkpoint: str | pathlib.Path,
  probe: str | pathlib.Path,
  dataset: pipeline.DataSet,
  split: str = 'train',
  *,
  with_features: bool = False,
) -> table.Table:
  """Classes of all images of a split.

  Args:
    checkpoint: of the encoder, as for `features.from_checkpoint`.
    probe: as for `read_probe`, fitted to that encoder.
    dataset: its images.
    split: of it.
    with_features: whether the table has the features, a vector a row.

  Returns:
    Rows in the order of the records: `name`, `ra_deg`, `dec_deg`, `class`, the
    probability `p_CLASS` of each class, `peak_snr`, `missing` (share of pixels
    without a value) and `flags`, words separated by spaces: 'faint' (brightest
    pixel below 5 times the noise), 'missing' (pixels), '' for none.

  Raises:
    ValueError: a probe of another encoder, or images that do not fit it.
  """
  classifier = read_probe(probe)
  frozen = features.from_checkpoint(checkpoint, classifier.which)
  _check_encoder(frozen, classifier, checkpoint, probe)
  checks.fits(frozen.input, dataset, checkpoint)
  found = features.extract(
    frozen, dataset, split, rotations=classifier.rotations, labelled=False
  )
  p = np.exp(classifier.probe.log_probabilities(found.features)[0])
  names = np.array(classifier.label_names)
  result = table.Table(
    {
      'name': found.names,
      'ra_deg': found.columns['ra_deg'],
      'dec_deg': found.columns['dec_deg'],
      'class': names[p.argmax(axis=1)],
    }
  )
  for i, name in enumerate(names):
    result[f'p_{name}'] = p[:, i].astype(np.float32)
  for name in ('peak_snr', 'missing'):
    result[name] = found.columns[name].astype(np.float32)
  result['flags'] = [_flags(row) for row in result]
  for name in ('ra_deg', 'dec_deg'):
    result[name].unit = 'deg'
  if with_features:
    result['features'] = found.features.astype(np.float32)
  return result


def _flags(row: table.Row) -> str:
  raised = {'faint': row['peak_snr'] < _FAINT, 'missing': row['missing'] > 0}
  return ' '.join(word for word, is_so in raised.items() if is_so)


def _check_encoder(frozen, classifier: Classifier, checkpoint, probe) -> None:
  """A probe's weights mean something for the features of its encoder alone."""

  def trained(meta):
    return meta['config'], meta['dataset']['fingerprint']

  if trained(frozen.meta) != trained(classifier.pretraining):
    raise ValueError(
      f'{probe}: its probe was fitted to another encoder than that of '
      f'{checkpoint}. Run radio_ssl.evaluate with this one.'
    )


def _built(args: argparse.Namespace, folder: str) -> pathlib.Path:
  """Makes the cutouts by the builder's own program."""
  command = [
    sys.executable,
    *('-m', 'tfds_builders.build', 'radio_fits', '--config', 'cutouts'),
    *('--name', 'sources', '--data_dir', folder),
    *('--images', args.images, '--catalogue', args.catalogue),
    *args.build,
  ]
  _LOG.info('%s', shlex.join(command))
  done = subprocess.run(command)
  if done.returncode:
    raise ValueError('The cutouts were not made; see above.')
  (found,) = pathlib.Path(folder).glob('sources/cutouts/*')
  return found


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    'python -m radio_ssl.predict',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('--checkpoint', required=True)
  parser.add_argument('--probe', required=True, help='folder of an evaluation')
  parser.add_argument(
    '--output', required=True, help='.vot, .fits, .ecsv, .csv'
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
  own, build = argv, []
  if '--' in argv:
    own, build = argv[: argv.index('--')], argv[argv.index('--') + 1 :]
  args = _parser().parse_args(own)
  args.build = build
  try:
    _run(args)
  except (OSError, ValueError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  return 0


def _run(args: argparse.Namespace) -> None:
  output = pathlib.Path(args.output)
  if output.suffix not in _FORMATS:
    raise ValueError(
      f'{output}: unknown kind of table; there are: {", ".join(_FORMATS)}.'
    )
  if bool(args.data) == bool(args.images and args.catalogue):
    raise ValueError('Give --images and --catalogue, or --data.')
  if args.features and output.suffix == '.csv':
    raise ValueError(f'{output}: a .csv has no room for features; take .ecsv.')
  # What is wrong with these should be known before cutouts are made.
  read_probe(args.probe)
  with tempfile.TemporaryDirectory() as folder:
    directory = args.data or _built(args, folder)
    found = predict(
      args.checkpoint,
      args.probe,
      pipeline.open_dataset(directory),
      args.split,
      with_features=args.features,
    )
  output.parent.mkdir(parents=True, exist_ok=True)
  found.write(output, format=_FORMATS[output.suffix], overwrite=True)
  counts = {n: int((found['class'] == n).sum()) for n in set(found['class'])}
  told = ', '.join(f'{n} {name}' for name, n in sorted(counts.items()))
  flagged = int((found['flags'] != '').sum())
  print(f'{output}: {len(found)} sources: {told}; {flagged} with flags')


if __name__ == '__main__':
  sys.exit(main())
