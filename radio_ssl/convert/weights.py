"""Weights of PyTorch files, as encoders that the evaluator takes."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import radio_ssl
from radio_ssl import exports
from radio_ssl.augment import inputs
from radio_ssl.convert import efficientnet_lite, resnet, torch_file, vit
from radio_ssl.data import manifest, provenance
from radio_ssl.models import base as models
from radio_ssl.train import trees

# Encoder -> the module that knows PyTorch's names of it.
ENCODERS = {
  'resnet18': resnet,
  'resnet50': resnet,
  'efficientnet_lite0': efficientnet_lite,
  'vit_tiny': vit,
  'vit_small': vit,
  'vit_base': vit,
}
# Classifiers, which their modules leave out.
_HEADS = ('fc', '_fc', 'head')
# What weights expect of images in [0, 1]: mean and standard deviation.
NORMS = {
  'none': ((0.0,), (1.0,)),
  'imagenet': ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
  'tensorflow': ((127 / 255,), (128 / 255,)),
}


@dataclasses.dataclass(frozen=True)
class Converted:
  """An encoder from a PyTorch file.

  Attributes:
    config: of the encoder, as `models.make_encoder` takes it.
    channels: of the images it takes.
    variables: {'params': ..., 'batch_stats': ...}.
    left_out: groups of tensors of the file that are not the encoder's, by the
      first parts of their names, with how many there are.
  """

  config: dict[str, Any]
  channels: int
  variables: dict[str, Any]
  left_out: dict[str, int]


def read(
  path: str | pathlib.Path,
  encoder: str,
  *,
  norm: str = 'none',
  prefix: str | None = None,
) -> Converted:
  """An encoder of a PyTorch file.

  Args:
    path: of a file of torch.save: weights of torchvision or timm, a
      checkpoint of solo-learn (`.ckpt`) or DINO (`.pth`).
    encoder: one of `ENCODERS`.
    norm: one of `NORMS`.
    prefix: what stands before the encoder's names, 'state_dict.backbone.';
      needed where the file holds several.

  Raises:
    ValueError: the file is of another format; no such encoder in it, or more
      than one; or its arrays are not those of the encoder, and which.
  """
  if encoder not in ENCODERS:
    raise ValueError(
      f'No names of PyTorch are known for {encoder!r}; they are for: '
      f'{", ".join(ENCODERS)}.'
    )
  module = ENCODERS[encoder]
  file = torch_file.TorchFile(path)
  prefix = _prefix(path, file, encoder, module.MARKS, prefix)
  state = {
    name.removeprefix(prefix): file.array(name)
    for name in file.tensors
    if name.startswith(prefix)
  }
  try:
    variables = module.from_torch(state)
    config, channels = _architecture(encoder, state)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  config |= _norm(norm, channels)
  _check(path, config, channels, variables)
  others = [name for name in file.tensors if not name.startswith(prefix)]
  left_out = _grouped(others) | _heads(prefix, state)
  return Converted(config, channels, variables, left_out)


def _prefix(path, file, encoder: str, marks: Sequence[str], given) -> str:
  first, *rest = marks
  found = [
    name.removesuffix(first)
    for name in file.tensors
    if name.endswith(first)
    and all(name.removesuffix(first) + mark in file.tensors for mark in rest)
  ]
  told = ', '.join(repr(name) for name in found)
  if given is not None:
    if given not in found:
      raise ValueError(
        f'{path}: no {encoder} behind {given!r}'
        + (f'; there are behind: {told}.' if found else '.')
      )
    return given
  if not found:
    names = ', '.join(f'{k} ({n})' for k, n in _grouped(file.tensors).items())
    raise ValueError(
      f'{path}: no {encoder} in it; its tensors: {names or "none"}.'
    )
  if len(found) > 1:
    raise ValueError(
      f'{path}: more than one {encoder}, behind {told}; choose by --prefix.'
    )
  return found[0]


def _grouped(names) -> dict[str, int]:
  """Names counted by their first two parts."""
  groups: dict[str, int] = {}
  for name in names:
    group = '.'.join(name.split('.')[:2])
    groups[group] = groups.get(group, 0) + 1
  return groups


def _heads(prefix: str, state) -> dict[str, int]:
  """The classifiers behind the prefix, with the number of their tensors."""
  firsts = [name.split('.')[0] for name in state]
  return {f'{prefix}{n}': firsts.count(n) for n in _HEADS if n in firsts}


def _architecture(encoder, state) -> tuple[dict[str, Any], int]:
  """The encoder's config, and the channels of its images."""
  config = {'name': encoder, **models.defaults(encoder)}
  if ENCODERS[encoder] is vit:
    fields, channels = vit.fields(encoder, state)
    return config | fields, channels
  _, channels, height, _ = state[ENCODERS[encoder].MARKS[0]].shape
  if 'stem' in config:
    config['stem'] = 'small' if height == 3 else 'imagenet'
  return config, channels


def _norm(norm: str, channels: int) -> dict[str, tuple[float, ...]]:
  if norm not in NORMS:
    raise ValueError(f'No norm {norm!r}; there are: {", ".join(NORMS)}.')
  mean, std = NORMS[norm]
  if len(mean) not in (1, channels):
    raise ValueError(
      f'The weights take images of {channels} channels; --norm={norm} is for '
      f'{len(mean)}.'
    )
  return {'mean': mean, 'std': std}


def _check(path, config, channels, variables) -> None:
  made = models.make_encoder(config)
  size = config.get('base_size_pix', 64)
  wanted = jax.eval_shape(
    functools.partial(made.init, train=False),
    jax.random.key(0),
    # A size that the patches tile.
    jnp.zeros((1, size, size, channels)),
  )
  missing, unknown = _both_sides(wanted, variables)
  if missing or unknown:
    sides = (', '.join(names) or 'none' for names in (missing, unknown))
    raise ValueError(
      f'{path}: its arrays are not those of {config["name"]}. Lacking: '
      f'{next(sides)}. Unknown: {next(sides)}.'
    )
  if found := trees.difference(wanted, variables):
    raise ValueError(f'{path}: {found} of {config["name"]}.')


def _both_sides(wanted, found) -> tuple[list[str], list[str]]:
  """Names that only one of two trees has."""
  wanted, found = (
    {
      jax.tree_util.keystr(path, simple=True, separator='/')
      for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    }
    for tree in (wanted, found)
  )
  return sorted(wanted - found), sorted(found - wanted)


def write(
  path: str | pathlib.Path,
  encoder: str,
  output: str | pathlib.Path,
  *,
  norm: str = 'none',
  prefix: str | None = None,
  size_pix: int = 224,
  trained_on: str = '',
  licence: str = '',
) -> Converted:
  """Writes an encoder of a PyTorch file to a new folder, see `exports`.

  Args:
    path: as for `read`.
    encoder: as for `read`.
    output: the folder; new or empty.
    norm: as for `read`.
    prefix: as for `read`.
    size_pix: of the images that it will see; the rest of their scaling is that
      of `inputs.Input`.
    trained_on: for the card, such as 'ImageNet-1k'.
    licence: of the weights, for the card.

  Raises:
    ValueError: as `read`, a size that the encoder's patches do not tile, or
      an output that holds something.
  """
  converted = read(path, encoder, norm=norm, prefix=prefix)
  models.check_size(
    models.make_encoder(converted.config), size_pix, '--size_pix'
  )
  path = pathlib.Path(path)
  image_input = inputs.Input(size_pix=size_pix, channels=converted.channels)
  meta = {
    'config': {
      'encoder': converted.config,
      'input': dataclasses.asdict(image_input),
      'objective': {'name': path.name},
      'seed': 0,
    },
    'dataset': {
      'directory': trained_on or 'unknown',
      'fingerprint': None,
    },
    'package_version': radio_ssl.__version__,
    'commit': provenance.commit(),
    'exported': {'which': 'online', 'torch_sha256': manifest.sha256(path)},
  }
  exports.write(
    pathlib.Path(output),
    converted.variables,
    meta,
    readme=_card(meta, converted, path, licence, pathlib.Path(output).name),
  )
  return converted


def _card(
  meta: Mapping[str, Any], converted: Converted, path, licence: str, name: str
) -> str:
  size = sum(np.size(x) for x in jax.tree.leaves(converted.variables['params']))
  left_out = ', '.join(f'{k} ({n})' for k, n in converted.left_out.items())
  rows = {**meta['config']['encoder'], **meta['config']['input']}
  rows.pop('name')
  lines = [
    f'# {name}',
    '',
    f'{converted.config["name"]} with {size:,} parameters, from the PyTorch '
    f'file `{path.name}` (SHA-256 {meta["exported"]["torch_sha256"]}).',
    '',
    '    import radio_ssl',
    f"    frozen = radio_ssl.load_encoder('{name}')",
    '',
    '| field of the encoder or its input | value |',
    '| --- | --- |',
    *(f'| {k} | {v} |' for k, v in rows.items()),
    '',
    f'- trained on: {meta["dataset"]["directory"]}',
    f'- licence of these weights: {licence or "not stated: ask the authors"}',
    f'- tensors of the file that were left out: {left_out or "none"}',
    f'- converted by radio_ssl {meta["package_version"]}, commit '
    f'{meta["commit"]}',
    '- SHA-256 of every file of this folder: `SHA256SUMS.json`',
    '',
  ]
  return '\n'.join(lines)
