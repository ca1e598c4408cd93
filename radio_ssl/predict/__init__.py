"""Classes of an astronomer's own sources, by an encoder and a probe."""
