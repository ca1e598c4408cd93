"""Features that several evaluations of one process share."""

import hashlib
from typing import Any

import jax
import numpy as np

from radio_ssl.evaluate import features, selection


class Cache:
  """Encodes the same images by the same encoder once.

  What is the same is told by contents: variables, module and input of the
  encoder, the data set and its rows. All tables are kept.
  """

  def __init__(self):
    self._tables: dict[str, features.Table] = {}

  def extract(
    self,
    frozen: features.FrozenEncoder,
    dataset: selection.Selection,
    split: str,
    **settings: Any,
  ) -> features.Table:
    """As `features.extract`."""
    key = _key(frozen, dataset, split, settings)
    if key not in self._tables:
      self._tables[key] = features.extract(frozen, dataset, split, **settings)
    return self._tables[key]


def _key(frozen, dataset, split: str, settings) -> str:
  digest = hashlib.sha256()
  for path, leaf in jax.tree.leaves_with_path(dict(frozen.variables)):
    array = np.ascontiguousarray(leaf)
    digest.update(f'{jax.tree_util.keystr(path)} {array.dtype}'.encode())
    digest.update(array)
  stored = dataset.dataset
  told = (
    frozen.encoder,
    frozen.inputs,
    stored.directory,
    stored.fingerprint,
    stored.label_names,
    list(dataset.rows[split]),
    sorted(settings.items()),
  )
  digest.update(repr(told).encode())
  return digest.hexdigest()
