"""Fetches images of FIRST for sources of Radio Galaxy Zoo from SkyView.

  python -m tfds_builders.rgz.fetch --catalogue FILE --output DIR

Then: python -m tfds_builders.build rgz --manual_dir DIR. It can be stopped and
started again at any time: the same command goes on, and asks for nothing that
is there. Exit status 1 where something failed that another run may mend. Needs
astroquery: pip install 'radio_ssl[rgz]'.
"""

import argparse
import math
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from radio_ssl.data import manifest
from tfds_builders import arguments, first_survey
from tfds_builders.rgz import fetching, shelf, zoo

SERVER = 'https://skyview.gsfc.nasa.gov/current/cgi/basicform.pl'
_PIXELS = 160


def columns(text: str) -> dict[str, str]:
  """Reads 'name=RGZID,num_peaks=N_peaks'."""
  pairs = [item.partition('=') for item in text.split(',')]
  if not all(ours and theirs for ours, _, theirs in pairs):
    raise ValueError(text)
  return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def side(size_arcmin: float | None, pixels: int | None) -> int:
  """Side of the images in pixels of FIRST.

  Raises:
    ValueError: both are given, and pixels would have another size.
  """
  if size_arcmin is None:
    chosen = _PIXELS if pixels is None else pixels
  else:
    chosen = round(size_arcmin * 60 / first_survey.PIXEL_SCALE_ARCSEC)
  if pixels is not None and pixels != chosen:
    raise ValueError(
      f'--size_arcmin {size_arcmin:g} has {chosen} pixels of '
      f'{first_survey.PIXEL_SCALE_ARCSEC} arcsec, those of FIRST, not --pixels '
      f'{pixels}. Give one of the two.'
    )
  if chosen < 16:
    raise ValueError(f'{chosen} pixels a side; wanted 16 or more.')
  return chosen


def run(
  catalogue: pathlib.Path,
  output: pathlib.Path,
  make: Callable[[], Callable[[zoo.Source], bytes]],
  *,
  pixels: int,
  patience: fetching.Patience,
  min_consensus: float | None = None,
  names: Mapping[str, str] | None = None,
  max_missing: float = 0.1,
  recheck: bool = False,
  tell: Callable[[str], None] = print,
  **clocks: Any,
) -> fetching.Outcome:
  """Plans and fetches, alone in the folder.

  Args:
    catalogue: of sources.
    output: folder of the images.
    make: returns what asks for one image.
    pixels: side of the images.
    patience: when to give up.
    min_consensus: of the sources; None for any.
    names: our column -> the catalogue's.
    max_missing: largest fraction of blank pixels.
    recheck: ask again for what was rejected.
    tell: gets lines.
    **clocks: for `fetching.fetch`.

  Raises:
    ValueError: a bad catalogue, or a folder of other images.
  """
  every = zoo.read(catalogue, names)
  sources, left_out = zoo.wanted(every, min_consensus)
  if not sources:
    raise ValueError(
      f'{catalogue}: none of {len(every)} sources is wanted ({left_out}). '
      'Correct --columns or --min_consensus.'
    )
  get = make()
  with shelf.alone(output):
    plan = {
      'catalogue': catalogue.name,
      'catalogue_sha256': manifest.sha256(catalogue),
      'rows': len(every),
      'pixels': pixels,
      'min_consensus': min_consensus,
      'left_out': left_out,
    }
    shelf.write_plan(output, plan, sources)
    tell(f'{catalogue}: {_planned(len(every), sources, left_out)}')
    held = shelf.Shelf(
      output, pixels=pixels, max_missing=max_missing, recheck=recheck
    )
    return fetching.fetch(
      sources, held, get, patience=patience, tell=tell, **clocks
    )


def _planned(
  rows: int, sources: Sequence[zoo.Source], left_out: Mapping[str, int]
) -> str:
  places = len({source.image for source in sources})
  told = ', '.join(f'{n} {why}' for why, n in left_out.items()) or 'none'
  return (
    f'{rows} sources, {len(sources)} wanted, at {places} positions; left out: '
    f'{told}'
  )


def _skyview(args: argparse.Namespace, pixels: int):
  try:
    from tfds_builders.rgz import service
  except ImportError as error:
    raise ValueError(
      f"{error}. Install it: pip install 'radio_ssl[rgz]'."
    ) from error
  pace = fetching.Pace(args.per_second)
  return service.SkyView(
    args.server, pixels=pixels, timeout_s=args.timeout_s, pace=pace
  ).get


def _parser() -> argparse.ArgumentParser:
  made = arguments.Parser(
    prog='python -m tfds_builders.rgz.fetch',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = made.add_argument
  path = pathlib.Path
  add('--catalogue', type=path, required=True, help='CSV, VOTable or FITS')
  add('--output', type=path, required=True, help='folder of the images')
  add(
    '--columns',
    type=columns,
    default={},
    help='catalogue columns of unusual names: name=A,ra_deg=B,dec_deg=C,'
    'num_components=D,num_peaks=E,consensus_level=F,source_size_arcsec=G',
  )
  add('--min_consensus', type=_share, help='least level, 0 to 1; any without')
  add('--size_arcmin', type=_positive, help='side of the images on the sky')
  add(
    '--pixels',
    type=int,
    help=f'side in pixels of 1.8 arcsec ({_PIXELS} where neither is given)',
  )
  add(
    '--max_missing',
    type=_share,
    default=0.1,
    help='refuse images with a larger fraction of blank pixels',
  )
  add(
    '--per_second',
    type=_positive,
    default=1.0,
    help='requests a second at most (default: 1); an image takes two',
  )
  add('--server', default=SERVER, help=f"SkyView's form (default: {SERVER})")
  add('--timeout_s', type=_positive, default=60.0, help='of a request')
  add('--attempts', type=_natural, default=5, help='tries of an image')
  add(
    '--max_failures',
    type=_natural,
    default=5,
    help='images failing one after the other that end the run',
  )
  add(
    '--recheck',
    action='store_true',
    help='ask again for images that were rejected or have no coverage',
  )
  return made


def _positive(text: str) -> float:
  value = float(text)
  if not 0 < value < math.inf:
    raise ValueError(text)
  return value


def _share(text: str) -> float:
  value = float(text)
  if not 0 <= value <= 1:
    raise ValueError(text)
  return value


def _natural(text: str) -> int:
  value = int(text)
  if value < 1:
    raise ValueError(text)
  return value


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  parser = _parser()
  args = parser.parse_args(argv)
  try:
    pixels = side(args.size_arcmin, args.pixels)
    outcome = run(
      args.catalogue,
      args.output,
      lambda: _skyview(args, pixels),
      pixels=pixels,
      patience=fetching.Patience(args.attempts, args.max_failures),
      min_consensus=args.min_consensus,
      names=args.columns,
      max_missing=args.max_missing,
      recheck=args.recheck,
      tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
  except KeyboardInterrupt:
    print('stopped; what was fetched is kept', file=sys.stderr)
    return 130
  except (ValueError, OSError) as error:
    parser.error(str(error))
  if outcome.stopped:
    print(outcome.stopped, file=sys.stderr)
  print(f'{args.output}: {outcome.summary()}')
  return 0 if outcome.complete else 1


if __name__ == '__main__':
  sys.exit(main())
