"""Self-supervised objectives, one file a method."""
