"""Self-supervised learning on radio-survey images, in JAX/Flax.

Nothing is imported here: dataset builders and their worker processes import
`radio_ssl.data` and must never load jax with it.
"""

__version__ = '0.1.0'


def load_encoder(path):
  """A pretrained encoder, of a run's folder or of an exported one.

  Returns:
    `evaluate.features.FrozenEncoder`: the Flax module, its variables, how
    images are scaled for it; called with such images, their features.

  Raises:
    ValueError: nothing there, or it is damaged.
  """
  from radio_ssl.evaluate import features

  return features.from_checkpoint(path)
