"""FRG: radio galaxies of the VLA FIRST survey in four classes."""
