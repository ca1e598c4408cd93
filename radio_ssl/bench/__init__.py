"""Programs that print a table of speeds."""
