"""A linear classifier on a frozen encoder, by SGD on augmented images.

The linear evaluation of the radio benchmark (Cecconello et al. 2024,
arXiv:2411.14078); `linear` finds the optimum on features and is the sharper.
"""

from radio_ssl.evaluate import features, selection, supervised


def fit_images(
  start: features.FrozenEncoder, training: selection.Selection, config
) -> supervised.Fitted:
  """As `supervised.fit`; the encoder stays as it is."""
  return supervised.fit(start, training, config, train_encoder=False)
