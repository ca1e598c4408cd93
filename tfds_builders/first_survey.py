"""The VLA FIRST survey, as far as its published cutouts do not tell.

Becker, White & Helfand 1995, https://doi.org/10.1086/176166.
"""

from radio_ssl.data import fits

NAME = 'VLA FIRST, 1.4 GHz'
PIXEL_SCALE_ARCSEC = 1.8


def beam(dec_deg: float) -> fits.Beam:
  """The beam, which cutouts from SkyView do not carry.

  5.4 arcsec and round in the north, stretched north-south nearer the equator;
  the narrowest sources in the FITS of MiraBest confirm both values.
  """
  south = dec_deg < 4 + 33 / 60 + 21 / 3600
  return fits.Beam(
    major_arcsec=6.4 if south else 5.4, minor_arcsec=5.4, pa_deg=0.0
  )
