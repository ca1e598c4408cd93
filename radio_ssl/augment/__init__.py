"""Scaling and random views, on the device."""
