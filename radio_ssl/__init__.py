"""Self-supervised learning on radio-survey images, in JAX/Flax.

Nothing is imported here: dataset builders and their worker processes import
`radio_ssl.data` and must never load jax with it.
"""

__version__ = '0.1.0'
