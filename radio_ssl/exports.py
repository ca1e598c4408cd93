"""Encoders in a folder of their own, to share: no Orbax, no run beside it.

  <folder>/model.safetensors    the arrays, named params/conv1/kernel and so on
           config.json          architecture, input, and what it was trained on
           footprints.safetensors   where its training images lie on the sky
           README.md            the same for readers
           SHA256SUMS.json      size and hash of every file, written last

The format outlives this code: any safetensors reads the arrays, the rest is
text. `footprints` is not there where a position is unknown.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import numpy as np
import safetensors.numpy

from radio_ssl import checkpoints
from radio_ssl.data import manifest

FORMAT_VERSION = 1
_ARRAYS, _CONFIG = 'model.safetensors', 'config.json'
_SKY = 'footprints.safetensors'


def write(
  folder: pathlib.Path,
  variables: Mapping[str, Any],
  meta: checkpoints.Meta,
  *,
  readme: str,
  footprints: Mapping[str, np.ndarray] | None = None,
) -> None:
  """Writes an encoder to a folder that is new or empty.

  Args:
    folder: made if it is missing.
    variables: {'params': ..., 'batch_stats': ...}, nested dicts of arrays.
    meta: of the checkpoint, ready for JSON.
    readme: text of the README.
    footprints: of the training images, `ra_deg`, `dec_deg`, `field_arcsec` and
      `rotation_deg`, [N] each; None where a position is unknown.

  Raises:
    ValueError: the folder holds something.
  """
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise ValueError(f'{folder}: not an empty folder; name a new one.')
  folder.mkdir(parents=True, exist_ok=True)
  flat = flax.traverse_util.flatten_dict(dict(variables), sep='/')
  arrays = {name: np.ascontiguousarray(array) for name, array in flat.items()}
  # Not `save_file`: that lets nobody else read the file.
  (folder / _ARRAYS).write_bytes(safetensors.numpy.save(arrays))
  if footprints is not None:
    (folder / _SKY).write_bytes(safetensors.numpy.save(dict(footprints)))
  config = {
    'format_version': FORMAT_VERSION,
    'encoder': meta['config']['encoder'],
    'input': meta['config']['input'],
    'pretraining': meta,
  }
  (folder / _CONFIG).write_text(checkpoints.canonical_json(config))
  (folder / 'README.md').write_text(readme)
  manifest.write(folder)


def is_one(path: str | pathlib.Path) -> bool:
  """Whether a folder looks like an exported encoder."""
  return (pathlib.Path(path) / _ARRAYS).is_file()


def read(
  folder: str | pathlib.Path,
) -> tuple[dict[str, Any], checkpoints.Meta, dict[str, np.ndarray] | None]:
  """The variables, the meta and the footprints that `write` was given.

  Raises:
    ValueError: damaged, or of another format.
  """
  folder = pathlib.Path(folder)
  if reason := manifest.damage(folder):
    raise ValueError(
      f'{folder}: damaged export: {reason}. Restore the files from a copy.'
    )
  config = json.loads((folder / _CONFIG).read_text())
  if config.get('format_version') != FORMAT_VERSION:
    raise ValueError(
      f'{folder}: export format {config.get("format_version")}; this version '
      f'of radio_ssl reads {FORMAT_VERSION}.'
    )
  flat = safetensors.numpy.load_file(folder / _ARRAYS)
  footprints = None
  if (folder / _SKY).is_file():
    footprints = safetensors.numpy.load_file(folder / _SKY)
  variables = flax.traverse_util.unflatten_dict(flat, sep='/')
  return variables, config['pretraining'], footprints
