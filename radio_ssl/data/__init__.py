"""Survey images and data sets, on the host; never imports jax."""
