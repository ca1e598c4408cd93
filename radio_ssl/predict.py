"""Classes of sources, from their images, an encoder and a probe.

  python -m radio_ssl.predict --checkpoint my_encoder --probe runs/x/eval \
    --images 'mosaics/*.fits' --catalogue sources.vot --output classes.vot

`--probe` is what `radio_ssl.evaluate` wrote with that encoder, by the linear
protocol. The cutouts are made by `tfds_builders.build radio_fits --config
cutouts`; what follows `--` goes to it, such as `-- --beam_arcsec 5.4`.
`--data DIR` takes a finished data set instead. The output is a table of a row a
source; its kind follows from its name: .vot, .fits, .ecsv, .csv or .parquet.
With a catalogue the rows are those of the catalogue, also where there is no
image of a source: such a row has no class and the flag 'no_image'.

Flags tell what is wrong with an image, not what its class is worth: for that
there are the probabilities, and `results.md` of the evaluation says how often
they are right. Choose a limit of your own.
"""

import argparse
import collections
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

from radio_ssl.data import catalogue, pipeline
from radio_ssl.evaluate import checks, features, linear

_LOG = logging.getLogger(__name__)

_FORMATS = {
  '.vot': 'votable',
  '.fits': 'fits',
  '.ecsv': 'ascii.ecsv',
  '.csv': 'ascii.csv',
  '.parquet': 'parquet',
}
# Below it a source's brightest pixel may be noise.
_FAINT = 5.0
# By how much beam and pixels may differ from those the encoder was trained on.
_TOLERANCE = 0.2
_NO_IMAGE = 'no_image'


@dataclasses.dataclass(frozen=True)
class Classifier:
  """A probe that was read back.

  Attributes:
    probe: of one problem.
    label_names: K of them.
    rotations: over which its features are means.
    fields_arcsec: that its encoder was shown; (), the encoder's own.
    which: encoder of the checkpoint.
    pretraining: meta of the encoder it was fitted to.
  """

  probe: linear.Probe
  label_names: list[str]
  rotations: int
  fields_arcsec: tuple[float, ...]
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
      tuple(map(float, result['config']['fields_arcsec'])),
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
    without a value) and `flags`, words separated by spaces, '' for none:
    'faint', brightest pixel below 5 times the noise; 'missing', pixels without
    a value; 'beam', a major axis that differs by more than 20 % from that of
    the images the encoder was trained on; 'pixels', more than 20 % coarser
    than theirs. The last two are not raised where one side is unknown.

  Raises:
    ValueError: a probe of another encoder, or images that do not fit it.
  """
  classifier = read_probe(probe)
  frozen = features.from_checkpoint(
    checkpoint, classifier.which, fields_arcsec=classifier.fields_arcsec
  )
  _check_encoder(frozen, classifier, checkpoint, probe)
  checks.fits(frozen.inputs, dataset, checkpoint)
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
  result['flags'] = _flags(result, _unlike_training(frozen, dataset, split))
  for name in ('ra_deg', 'dec_deg'):
    result[name].unit = 'deg'
  if with_features:
    result['features'] = found.features.astype(np.float32)
  return result


def _flags(found: table.Table, unlike: Mapping[str, np.ndarray]) -> list[str]:
  raised = {
    'faint': found['peak_snr'] < _FAINT,
    'missing': found['missing'] > 0,
    **unlike,
  }
  return [
    ' '.join(word for word, is_so in raised.items() if is_so[row])
    for row in range(len(found))
  ]


def _unlike_training(
  frozen: features.FrozenEncoder, dataset: pipeline.DataSet, split: str
) -> dict[str, np.ndarray]:
  """Flag -> [N], where images differ from those of the pretraining set."""
  trained = frozen.meta['dataset'].get('geometry', {})
  ratios = {}
  for flag, field in (
    ('beam', 'beam_major_arcsec'),
    ('pixels', 'pixel_scale_arcsec'),
  ):
    ratios[flag] = _each(dataset, split, field) / (trained.get(field) or np.nan)
    if unknown := int(np.isnan(ratios[flag]).sum()):
      _LOG.warning(
        'The flag %r is not raised for %d of %d sources: %s of their images or '
        'of the pretraining set (%s) is unknown or varies.',
        flag,
        unknown,
        len(ratios[flag]),
        field,
        frozen.meta['dataset']['directory'],
      )
  return {
    'beam': np.abs(ratios['beam'] - 1) > _TOLERANCE,
    'pixels': ratios['pixels'] - 1 > _TOLERANCE,
  }


def _each(dataset: pipeline.DataSet, split: str, field: str) -> np.ndarray:
  """A number of every record, [N]; NaN where unknown."""
  source, of_all = dataset.source(split), getattr(dataset.geometry, field)
  if of_all is not None:
    return np.full(len(source), of_all)
  return np.array([source[i][field] for i in range(len(source))], np.float64)


def in_order_of(
  found: table.Table, sources: catalogue.Catalogue
) -> table.Table:
  """A row for every source of a catalogue, in its order.

  Args:
    found: of `predict`.
    sources: the catalogue that its images were cut by.

  Returns:
    As `found`; sources that it lacks have the class '', NaN for numbers, and
    the flag 'no_image'.

  Raises:
    ValueError: `found` has sources that the catalogue lacks.
  """
  places = {str(name): row for row, name in enumerate(found['name'])}
  if strange := set(places) - set(sources.name):
    raise ValueError(
      f'{sources.path}: has no source {min(strange)!r}, of which there is an '
      'image: they were cut by another catalogue. Name that one.'
    )
  # The last row stands for all that are lacking.
  rows = np.array([places.get(name, -1) for name in sources.name])
  result = table.Table()
  for name, column in found.columns.items():
    values = np.asarray(column)
    nothing = '' if values.dtype.kind == 'U' else np.nan
    last = np.full((1, *values.shape[1:]), nothing, values.dtype)
    result[name] = table.Column(
      np.concatenate([values, last])[rows], unit=column.unit
    )
  result['name'] = sources.name
  result['ra_deg'][:], result['dec_deg'][:] = sources.ra_deg, sources.dec_deg
  result['flags'] = np.where(rows < 0, _NO_IMAGE, result['flags'])
  return result


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
  # It prints the place of what is deleted at the end; the rest is on stderr.
  done = subprocess.run(command, stdout=subprocess.DEVNULL)
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
  given = bool(args.images), bool(args.catalogue), bool(args.data)
  if given not in ((True, True, False), (False, False, True)):
    raise ValueError('Give --images and --catalogue, or --data alone.')
  if args.features and output.suffix == '.csv':
    raise ValueError(f'{output}: a .csv has no room for features; take .ecsv.')
  # What is wrong with these should be known before cutouts are made.
  read_probe(args.probe)
  with tempfile.TemporaryDirectory() as folder:
    directory = pathlib.Path(args.data or _built(args, folder))
    found = predict(
      args.checkpoint,
      args.probe,
      pipeline.open_dataset(directory),
      args.split,
      with_features=args.features,
    )
    if args.catalogue:
      found = in_order_of(found, _sources(args.catalogue, directory))
  _write(found, output)
  print(f'{output}: {_summary(found)}')
  report = directory / 'ingest_report.json'
  if args.data and report.is_file():
    # Sources that have no image have no row either.
    print(f'{report}: {json.loads(report.read_text())["summary"]}')


def _write(found: table.Table, output: pathlib.Path) -> None:
  output.parent.mkdir(parents=True, exist_ok=True)
  try:
    found.write(output, format=_FORMATS[output.suffix], overwrite=True)
  except UnicodeEncodeError as error:
    raise ValueError(
      f'{output}: a name or class holds {str(error.object)!r}, and FITS tables '
      'hold ASCII alone; take .vot, .ecsv, .csv or .parquet.'
    ) from error


def _sources(path: str, directory: pathlib.Path) -> catalogue.Catalogue:
  """The catalogue as the builder read it."""
  options = json.loads((directory / 'metadata.json').read_text())['options']
  return catalogue.read(path, columns=dict(options['columns']))


def _summary(found: table.Table) -> str:
  classes = collections.Counter(found['class'])
  flags = collections.Counter(' '.join(found['flags']).split())
  told = ', '.join(f'{n} {name}' for name, n in sorted(classes.items()) if name)
  raised = ', '.join(f'{n} {word}' for word, n in sorted(flags.items()))
  return f'{len(found)} sources: {told}; flags: {raised or "none"}'


if __name__ == '__main__':
  sys.exit(main())
