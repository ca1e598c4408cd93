"""The encoder and a linear classifier on it, taught together.

From a pretrained encoder this is fine-tuning, from an untrained one training
from scratch.
"""

from radio_ssl.evaluate import features, selection, supervised


def fit_images(
  start: features.FrozenEncoder, training: selection.Selection, config
) -> supervised.Fitted:
  """As `supervised.fit`, with the encoder."""
  return supervised.fit(start, training, config, train_encoder=True)
