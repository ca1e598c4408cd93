"""Draws a hold-out: groups of sky that nothing learns from until the end.

  python -m tfds_builders.holdout DIR [DIR ...] --output holdout.csv

Labelled sets are taken together. Images that share sky, or show each other's
sources, share a group, be it over other images or over other sets. Whole groups
are drawn until `--fraction` of the images of each class of each set is held
out, as well as groups allow; which ones, depends on `--seed` and the images
alone. The catalogue that is written goes to `tfds_builders.build radio_fits
--exclude`, and to `config.data.holdout` of the evaluator. Beside it, of the
same name, is a .json with all that went into the draw.
"""

import argparse
import csv
import dataclasses
import hashlib
import io
import json
import math
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from radio_ssl.data import exclusion, pipeline, splits
from tfds_builders import arguments

# `radio_ssl.data.catalogue` reads the first four, and `class` as the label.
_COLUMNS = (
  'name', 'ra_deg', 'dec_deg', 'source_size_arcsec', 'data_set', 'class',
  'group'
)  # fmt: skip


@dataclasses.dataclass(frozen=True, order=True)
class Source:
  """One labelled image.

  Attributes:
    data_set: name and config of its set.
    name: in that set.
    ra_deg: ICRS.
    dec_deg: ICRS.
    label: its class.
    size_arcsec: of the source; -1 where unknown, so that sources can be sorted.
    field_arcsec: side of the image.
    empty: whether the image shows nothing.
  """

  data_set: str
  name: str
  ra_deg: float
  dec_deg: float
  label: str
  size_arcsec: float
  field_arcsec: float
  empty: bool


def read(directory: pathlib.Path) -> list[Source]:
  """The images of all splits of a labelled set.

  Raises:
    ValueError: no data set, no labels, or images without a position or a pixel
      scale, whose sky nobody knows.
  """
  dataset = pipeline.open_dataset(directory)
  if dataset.label_names is None:
    raise ValueError(
      f'{directory}: the data set has no labels, so that nothing in it is '
      'scored. Leave it out; keep it apart with --exclude when it is built.'
    )
  side_pix = max(dataset.geometry.height, dataset.geometry.width)
  found = []
  for split in dataset.num_examples:
    for record in dataset.source(split):
      size = float(record['source_size_arcsec'])
      found.append(
        Source(
          data_set=dataset.title,
          name=record['name'].decode(),
          ra_deg=float(record['ra_deg']),
          dec_deg=float(record['dec_deg']),
          label=dataset.label_names[record['label']],
          size_arcsec=size if np.isfinite(size) else -1.0,
          field_arcsec=float(record['pixel_scale_arcsec']) * side_pix,
          empty=not np.nan_to_num(record['image']).any(),
        )
      )
      _check_placed(directory, split, found[-1])
  return found


def _check_placed(directory: pathlib.Path, split: str, source: Source) -> None:
  whose = f'{directory}: {source.name} of {split!r}'
  if not math.isfinite(source.ra_deg + source.dec_deg):
    raise ValueError(
      f'{whose} has no position: nobody can tell which images share its sky. '
      'Build the set again with positions, or leave it out.'
    )
  if not source.field_arcsec > 0:
    raise ValueError(
      f'{whose} has no pixel scale: nobody can tell how much sky it shows. '
      'Build the set again with --pixel_scale_arcsec, or leave it out.'
    )


def draw(
  sources: Sequence[Source], *, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Which sources are held out; their order does not matter.

  Images that show nothing are never held out: they score no encoder.

  Args:
    sources: [N], of all sets.
    fraction: of each class of each set.
    seed: of the draw.

  Returns:
    bool [N]; and the number of each source's group, [N], from 0 on in the order
    of the sorted sources.

  Raises:
    ValueError: a class in a single group.
  """
  order = sorted(range(len(sources)), key=sources.__getitem__)
  ranked = [sources[i] for i in order]
  size = np.array([s.size_arcsec for s in ranked])
  groups = splits.groups_by_reach(
    np.array([s.ra_deg for s in ranked]),
    np.array([s.dec_deg for s in ranked]),
    exclusion.reach_arcsec(np.array([s.field_arcsec for s in ranked]), size),
  )
  drawn = splits.stratified_split(
    np.array([f'{s.data_set} {s.label}' for s in ranked]),
    fractions={'held out': fraction, 'kept': 1 - fraction},
    seed=seed,
    groups=groups,
    fixed=np.array(['kept' if s.empty else '' for s in ranked]),
  )
  back = np.argsort(order)
  return (drawn == 'held out')[back], groups[back]


def rows(
  sources: Sequence[Source], held: np.ndarray, groups: np.ndarray
) -> list[tuple]:
  """The lines of the catalogue, in the order of set and name."""
  return [
    (
      source.name,
      source.ra_deg,
      source.dec_deg,
      source.size_arcsec if source.size_arcsec >= 0 else '',
      source.data_set,
      source.label,
      group,
    )
    for source, group in sorted(
      (s, int(g)) for s, h, g in zip(sources, held, groups, strict=True) if h
    )
  ]


def facts(
  sources: Sequence[Source], held: np.ndarray, groups: np.ndarray
) -> dict[str, Any]:
  """Counts of all and of what is held out, JSON-ready."""
  sets: dict[str, Any] = {}
  for source, out in sorted(zip(sources, held.tolist(), strict=True)):
    its = sets.setdefault(
      source.data_set, {'classes': {}, 'unknown_size': 0, 'empty': 0}
    )
    counts = its['classes'].setdefault(source.label, {'held_out': 0, 'all': 0})
    counts['held_out'] += out
    counts['all'] += 1
    its['unknown_size'] += source.size_arcsec < 0
    its['empty'] += source.empty
  return {
    'groups': {
      'held_out': len(np.unique(groups[held])),
      'all': len(np.unique(groups)),
    },
    'images': {'held_out': int(held.sum()), 'all': len(sources)},
    'data_sets': sets,
  }


def make(
  directories: Sequence[pathlib.Path],
  output: pathlib.Path,
  *,
  fraction: float,
  seed: int,
) -> dict[str, Any]:
  """Draws and writes; returns what the .json holds.

  Raises:
    ValueError: a bad fraction, name or set, or another hold-out is there.
  """
  if not 0 < fraction < 1:
    raise ValueError(f'--fraction {fraction}: wanted more than 0, less than 1.')
  if output.suffix != '.csv':
    raise ValueError(f'--output {output}: wanted a name that ends in .csv.')
  sources: list[Source] = []
  fingerprints: dict[str, str] = {}
  for directory in directories:
    found = read(directory)
    title = found[0].data_set
    if title in fingerprints:
      raise ValueError(
        f'{directory}: {title} is given twice. Give each set once.'
      )
    fingerprints[title] = pipeline.open_dataset(directory).fingerprint
    sources += found
  held, groups = draw(sources, fraction=fraction, seed=seed)
  text = io.StringIO()
  lines = csv.writer(text, lineterminator='\n')
  lines.writerow(_COLUMNS)
  lines.writerows(rows(sources, held, groups))
  content = text.getvalue()
  record = {
    'fraction': fraction,
    'seed': seed,
    'sha256': hashlib.sha256(content.encode()).hexdigest(),
    **facts(sources, held, groups),
  }
  for title, its in record['data_sets'].items():
    its['fingerprint'] = fingerprints[title]
  _write(output, content, json.dumps(record, indent=1, sort_keys=True) + '\n')
  return record


def _write(output: pathlib.Path, content: str, record: str) -> None:
  """Both files whole or none; an older hold-out is never lost."""
  if output.exists() and output.read_bytes() != content.encode():
    raise ValueError(
      f'{output}: another hold-out is there. What was scored without it stays '
      'so: choose another name, or remove it.'
    )
  for path, text in ((output.with_suffix('.json'), record), (output, content)):
    temporary = path.with_name(path.name + '.tmp')
    temporary.write_text(text, encoding='utf-8', newline='')
    temporary.replace(path)


def _summary(record: dict[str, Any]) -> list[str]:
  lines = []
  for title, its in record['data_sets'].items():
    counts = ', '.join(
      f'{n["held_out"]} of {n["all"]} {label}'
      for label, n in its['classes'].items()
    )
    lines.append(f'{title}: {counts}; {its["unknown_size"]} of unknown size')
  images, groups = record['images'], record['groups']
  lines.append(
    f'{images["held_out"]} of {images["all"]} images in '
    f'{groups["held_out"]} of {groups["all"]} groups of sky are held out'
  )
  return lines


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  parser = arguments.Parser(
    prog='python -m tfds_builders.holdout',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    'directory', type=pathlib.Path, nargs='+', help='of a labelled data set'
  )
  parser.add_argument(
    '--output', type=pathlib.Path, required=True, help='CSV file to write'
  )
  parser.add_argument(
    '--fraction', type=float, default=0.3, help='that is held out: 0.3'
  )
  parser.add_argument('--seed', type=int, default=0, help='of the draw: 0')
  args = parser.parse_args(argv)
  try:
    record = make(
      args.directory, args.output, fraction=args.fraction, seed=args.seed
    )
  except (ValueError, OSError) as error:
    parser.error(str(error))
  print('\n'.join(_summary(record)))
  print(args.output)
  return 0


if __name__ == '__main__':
  sys.exit(main())
