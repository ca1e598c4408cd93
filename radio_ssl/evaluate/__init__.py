"""What an encoder learnt: features, probes, metrics, report."""
