"""Labelled images in class folders as a data set."""
