"""FR-DEEP: the same radio galaxies as FIRST and as NVSS show them."""
