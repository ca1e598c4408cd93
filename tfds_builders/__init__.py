"""TFDS builders: radio survey images and label sets."""
