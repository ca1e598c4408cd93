"""The data card: what a finished data set tells those it is shared with.

README.md with counts, sky, command, commit and hashes; `sheet.png`, images
drawn by chance; `sky.png`, where they lie.
"""

import collections
import datetime
import json
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import numpy as np

import radio_ssl
from radio_ssl.data import examples, manifest, pipeline, provenance, show
from tfds_builders import download

_IMAGES = 48
_LISTED = 100
_UNKNOWN = 'not stated: ask the survey'


def write(
  dataset: pipeline.DataSet,
  *,
  about: str,
  licence: str | None,
  command: Sequence[str],
) -> None:
  """Writes the card into the data set's folder.

  Args:
    dataset: finished.
    about: the builder's README.
    licence: of the images; None where nobody said.
    command: that built it.
  """
  folder = dataset.directory
  metadata = json.loads((folder / 'metadata.json').read_text())
  sky = {split: _positions(dataset, split) for split in dataset.num_examples}
  first = next(iter(dataset.num_examples))
  figure = show.sheet(
    dataset, first, num_images=_IMAGES, seed=0, interval='sigma_clip'
  )
  figure.savefig(folder / 'sheet.png', dpi=110)
  _map(sky).savefig(folder / 'sky.png', dpi=110)
  lines = [
    f'# {_name(folder)}',
    '',
    *_facts(dataset, metadata, sky),
    f'- licence of the images: {licence or _UNKNOWN}',
    f'- built {datetime.date.today().isoformat()} by radio_ssl '
    f'{radio_ssl.__version__}, commit {provenance.commit() or "unknown"}:',
    '',
    f'      {shlex.join(command)}',
    '',
    f'- options, with the SHA-256 of what they name: `metadata.json`; of every '
    f'file of this folder: `{manifest.NAME}`',
    *_inputs(folder, metadata),
    '',
    '![images drawn by chance](sheet.png)',
    '![where they lie on the sky](sky.png)',
    '',
    *_how_to_open(dataset, first),
    '',
    '## About',
    '',
    about.strip(),
  ]
  (folder / 'README.md').write_text('\n'.join(lines) + '\n')


def _name(folder: pathlib.Path) -> str:
  info = json.loads((folder / 'dataset_info.json').read_text())
  parts = (info.get(key) for key in ('name', 'configName', 'version'))
  return '/'.join(filter(None, parts))


def _survey(metadata: dict[str, Any]) -> str:
  """As the builder, the user or the files of `radio_json` name it."""
  stated = metadata.get('survey') or metadata.get('options', {}).get('survey')
  return stated or ', '.join(metadata.get('surveys', {})) or 'not stated'


def _how_to_open(dataset: pipeline.DataSet, split: str) -> list[str]:
  read, needs = 'as_data_source', 'and without TensorFlow'
  if dataset.file_format == 'tfrecord':
    read, needs = 'as_dataset', 'with TensorFlow'
  lines = [
    f'Opens without the code that built it, {needs}:',
    '',
    '    import tensorflow_datasets as tfds',
    f"    source = tfds.builder_from_directory('.').{read}({split!r})",
  ]
  if dataset.stored_dtype == 'float16':
    lines += [
      '',
      f'Jy/beam = image * {examples.SCALE_FIELD} + background_jy_beam, in '
      'float32; with radio_ssl, `radio_ssl.data.pipeline` does it.',
    ]
  return lines


def _positions(dataset: pipeline.DataSet, split: str) -> np.ndarray:
  rows = [(r['ra_deg'], r['dec_deg']) for r in dataset.source(split)]
  return np.array(rows, np.float64).reshape(-1, 2)


def _facts(
  dataset: pipeline.DataSet, metadata: dict[str, Any], sky: dict
) -> list[str]:
  geometry = dataset.geometry
  units = {'uint8': 'of an 8-bit picture', 'float16': examples.SCALED_UNIT}
  unit = units.get(dataset.stored_dtype, 'Jy/beam')
  counts = ', '.join(
    f'{n} {split}' for split, n in dataset.num_examples.items()
  )
  lines = [
    f'- survey: {_survey(metadata)}',
    f'- images: {counts}',
    f'- each {geometry.height} x {geometry.width} pixels of '
    f'{_or_varies(geometry.pixel_scale_arcsec)} arcsec, '
    f'{dataset.stored_dtype}, unit {metadata.get("unit", unit)}; '
    f'beam {_or_varies(geometry.beam_major_arcsec)} arcsec',
  ]
  if dataset.label_names is not None:
    lines.append(f'- classes: {", ".join(dataset.label_names)}')
  everything = np.concatenate(list(sky.values()))
  known = everything[np.isfinite(everything).all(axis=1)]
  if len(known):
    ra0, ra1 = _arc(known[:, 0])
    dec0, dec1 = known[:, 1].min(), known[:, 1].max()
    lines.append(
      f'- sky: RA {ra0:.3f} to {ra1:.3f}, Dec {dec0:+.3f} to {dec1:+.3f} deg '
      '(ICRS, centres)'
    )
  if not len(known) or metadata.get('overlap') == 'unknown':
    lines.append('- overlap with other sets: unknown, for want of positions')
  elif len(known) < len(everything):
    lines.append(f'- without a position: {len(everything) - len(known)} images')
  return lines


def _arc(ra_deg: np.ndarray) -> tuple[float, float]:
  """First and last right ascension, eastwards, of the shortest arc of all."""
  ra = np.sort(ra_deg % 360)
  gaps = np.append(np.diff(ra), ra[0] + 360 - ra[-1])
  last = int(np.argmax(gaps))
  return float(ra[(last + 1) % len(ra)]), float(ra[last])


def _or_varies(value: float | None) -> str:
  return 'varying' if value is None else f'{value:g}'


def _inputs(folder: pathlib.Path, metadata: dict[str, Any]) -> list[str]:
  """What it was made of, and what was given or left out."""
  sums = metadata.get(download.INPUTS, {})
  lines = [f'- from {len(sums)} files, SHA-256 of each:'] if sums else []
  lines += _listed([f'`{name}` {sha}' for name, sha in sums.items()])
  report = folder / 'ingest_report.json'
  if not report.exists():
    return lines
  found = json.loads(report.read_text())
  files = found.get('files', {})
  inputs = f'{len(files)} files, each with its SHA-256'
  if 'sets' in found:
    inputs = f'{len(found["sets"])} data sets, each with its fingerprint'
  lines.append(
    f'- from {inputs} and what became of it in `{report.name}`: '
    f'{found["summary"]}'
  )
  overrides = collections.Counter(
    f'{key} {value}'
    for file in files.values()
    for key, value in file.get('overrides', {}).items()
  )
  if overrides:
    given = ', '.join(f'{what} (of {n})' for what, n in overrides.items())
    lines.append(f'- given, not read from the files: {given}')
  rejected = [
    f'`{name}` ({file["kind"]}): {file["reason"]}'
    for name, file in files.items()
    if file.get('status') == 'rejected'
  ]
  if rejected:
    lines += [f'- {len(rejected)} files rejected:', *_listed(rejected)]
  return lines


def _listed(items: Sequence[str]) -> list[str]:
  lines = [f'  - {item}' for item in items[:_LISTED]]
  if len(items) > _LISTED:
    lines.append(f'  - ... and {len(items) - _LISTED} more: see the JSON file')
  return lines


def _map(sky: dict[str, np.ndarray]) -> matplotlib.figure.Figure:
  """Positions of each split: on the whole sky, and near by."""
  figure = matplotlib.figure.Figure(figsize=(13, 4.5), layout='constrained')
  whole = figure.add_subplot(1, 2, 1, projection='mollweide')
  near = figure.add_subplot(1, 2, 2)
  style = {'linestyle': 'none', 'marker': '.', 'markersize': 3}
  everything = np.concatenate(list(sky.values()))[:, 0]
  known = everything[np.isfinite(everything)]
  first = _arc(known)[0] if len(known) else 0.0
  for split, positions in sky.items():
    ra, dec = positions.T
    # East is on the left.
    west = -np.radians((ra + 180) % 360 - 180)
    label = f'{split}: {len(positions)}'
    whole.plot(west, np.radians(dec), label=label, **style)
    # Across RA 0 the numbers go on beyond 360.
    near.plot(first + (ra - first) % 360, dec, **style)
  hours = np.arange(-150, 180, 30)
  whole.set_xticks(
    np.radians(hours), [f'{-h % 360}' for h in hours], fontsize=7
  )
  near.invert_xaxis()
  near.set(xlabel='RA (degrees, ICRS)', ylabel='Dec (degrees)')
  for axes in (whole, near):
    axes.grid(linewidth=0.3)
  whole.legend(loc='lower right', fontsize=8)
  return figure
