"""Encoders and heads, in Linen."""
