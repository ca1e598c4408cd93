"""Encoders from and to other formats.

  python -m radio_ssl.convert export CHECKPOINT --output DIR

writes the encoder of a run, or of one checkpoint, to a folder that can be
shared: the evaluator takes it as `--checkpoint`, and
`radio_ssl.load_encoder(DIR)` opens it in Python.

  python -m radio_ssl.convert torch FILE --encoder resnet18 --output DIR

makes such a folder of a PyTorch file: weights of torchvision or timm, or a
checkpoint of solo-learn or DINO. PyTorch is not needed, and nothing that the
file holds is run.
"""

import argparse
import sys
from collections.abc import Sequence

from radio_ssl.convert import export, weights


def main(argv: Sequence[str] | None = None) -> int:
  """Converts; returns the exit status."""
  parser = argparse.ArgumentParser(
    'python -m radio_ssl.convert',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  commands = parser.add_subparsers(required=True)
  _add_export(commands)
  _add_torch(commands)
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


def _add_torch(commands) -> None:
  parser = commands.add_parser('torch', help='a PyTorch file to such a folder')
  parser.add_argument('file', help='of torch.save')
  parser.add_argument('--encoder', required=True, choices=weights.ENCODERS)
  parser.add_argument('--output', required=True, help='a new folder')
  parser.add_argument(
    '--norm',
    choices=weights.NORMS,
    default='none',
    help='what the weights expect of images: imagenet for torchvision and '
    'timm; for EfficientNet-Lite tensorflow, as it was trained, or imagenet, '
    'which is better on radio images (default: none)',
  )
  parser.add_argument(
    '--prefix',
    help='of the names of the encoder, where the file has several, such as '
    'state_dict.backbone. or state_dict.momentum_backbone.',
  )
  parser.add_argument('--size_pix', type=int, default=224)
  parser.add_argument(
    '--trained_on', default='', help='for the README, such as ImageNet-1k'
  )
  parser.add_argument(
    '--licence', default='', help='of the weights, for the README'
  )
  parser.set_defaults(run=_torch)


def _torch(args: argparse.Namespace) -> None:
  converted = weights.write(
    args.file,
    args.encoder,
    args.output,
    norm=args.norm,
    prefix=args.prefix,
    size_pix=args.size_pix,
    trained_on=args.trained_on,
    licence=args.licence,
  )
  for group, count in converted.left_out.items():
    print(f'left out: {count} tensors of {group}')
  print(args.output)


if __name__ == '__main__':
  sys.exit(main())
