"""Probes that `radio_ssl.evaluate` fitted, read back."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from radio_ssl.evaluate import features, linear


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
    sha256: of the file.
  """

  probe: linear.Probe
  label_names: list[str]
  rotations: int
  fields_arcsec: tuple[float, ...]
  which: str | None
  pretraining: Mapping[str, Any]
  sha256: str

  def encoder(self, checkpoint: str | pathlib.Path) -> features.FrozenEncoder:
    """The encoder of a checkpoint, shown what the probe was fitted to.

    Raises:
      ValueError: another encoder than the probe's.
    """
    frozen = features.from_checkpoint(
      checkpoint, self.which, fields_arcsec=self.fields_arcsec
    )

    def trained(meta):
      return meta['config'], meta['dataset']['fingerprint']

    # Weights mean something for the features of their encoder alone.
    if trained(frozen.meta) != trained(self.pretraining):
      raise ValueError(
        f'{checkpoint}: the probe was fitted to another encoder than this. Run '
        'radio_ssl.evaluate with this one.'
      )
    return frozen


def read(path: str | pathlib.Path) -> Classifier:
  """The probe in a folder that `radio_ssl.evaluate` wrote.

  Raises:
    ValueError: there is none.
  """
  file = pathlib.Path(path)
  file = file / 'results.json' if file.is_dir() else file
  try:
    content = file.read_bytes()
    result = json.loads(content)
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
      hashlib.sha256(content).hexdigest(),
    )
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise ValueError(
      f'{file}: no probe in it ({error}). Give the output of '
      'radio_ssl.evaluate with --checkpoint and the linear protocol.'
    ) from error
