"""MiraBest: labelled radio galaxies of the VLA FIRST survey."""
