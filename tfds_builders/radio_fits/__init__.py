"""Any radio FITS images as a data set."""
