"""A small simulated radio survey, made where it is needed."""
