"""Labelled images that an info.json lists as a data set."""
