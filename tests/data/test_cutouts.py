import pathlib

import astropy.coordinates
import astropy.wcs
import numpy as np
import pytest

from radio_ssl.data import cutouts, fits


def make_image(
  *,
  shape=(300, 320),
  kind='RA---SIN',
  scale=1.8,
  turn=0.0,
  crval=(150.0, 40.0),
  parity=-1,
  sources=(),
  sigma=1.6,
):
  """An image with Gaussians of peak 1 at (ra, dec), made from its own WCS."""
  wcs = astropy.wcs.WCS(naxis=2)
  lat = {'R': 'DEC--', 'G': 'GLAT-'}[kind[0]] + kind[-3:]
  wcs.wcs.ctype = [kind, lat]
  wcs.wcs.crval = crval
  wcs.wcs.crpix = [shape[1] / 3, shape[0] / 3]
  angle = np.radians(turn)
  rotation = np.array(
    [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
  )
  wcs.wcs.cd = rotation @ np.diag([parity, 1]) * scale / 3600
  wcs.wcs.set()
  y, x = np.mgrid[: shape[0], : shape[1]]
  pixels = np.zeros(shape)
  for ra, dec in sources:
    x0, y0 = fits.sky_to_pixel(wcs, ra, dec)
    pixels += np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2))
  return fits.Image(
    path=pathlib.Path('made.fits'),
    pixels_jy_beam=pixels.astype(np.float32),
    wcs=wcs,
    beam=fits.Beam(5.4, 5.4, 0),
    pixel_scale_arcsec=scale,
  )


def centroid(pixels):
  y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
  total = pixels.sum()
  return (x * pixels).sum() / total, (y * pixels).sum() / total


@pytest.mark.parametrize('parity', [-1, 1])
@pytest.mark.parametrize('turn', [0.0, 37.0])
@pytest.mark.parametrize('size', [20, 21])
def test_crops_are_whole_pixels_around_the_positions(parity, turn, size):
  sources = [(150.02, 40.01), (149.97, 39.98), (150.0, 40.04)]
  image = make_image(sources=sources, turn=turn, parity=parity)
  ra, dec = np.transpose(sources)
  found = list(cutouts.crops(image, ra_deg=ra, dec_deg=dec, size_pix=size))
  for (source_ra, source_dec), piece in zip(sources, found, strict=True):
    assert piece.pixels_jy_beam.shape == (size, size)
    # The pixels are those of the image; the centre is where it says it is.
    x, y = fits.sky_to_pixel(image.wcs, piece.ra_deg, piece.dec_deg)
    first = [round(float(at) - (size - 1) / 2) for at in (y, x)]
    np.testing.assert_allclose([y, x], np.add(first, (size - 1) / 2), atol=1e-4)
    rows, columns = (slice(at, at + size) for at in first)
    own = image.pixels_jy_beam[rows, columns]
    mirrored = own[:, ::-1] if parity > 0 else own
    np.testing.assert_array_equal(piece.pixels_jy_beam, mirrored)
    # The source lies within half a pixel of it.
    source = np.array(fits.sky_to_pixel(image.wcs, source_ra, source_dec))
    assert np.abs(source - [x, y]).max() <= 0.5 + 1e-4
    assert len(piece.surroundings_jy_beam) == size + 2 * (size // 2)


def test_crops_beyond_the_edge_are_missing_there():
  image = make_image(shape=(60, 70))
  image.pixels_jy_beam[:] = 1.0
  ra, dec = fits.pixel_to_sky(
    image.wcs, np.array([2.0, 35.0, -500.0]), np.array([57.0, 30.0, 30.0])
  )
  corner, middle, outside = cutouts.crops(
    image, ra_deg=ra, dec_deg=dec, size_pix=21
  )
  seen = np.isfinite(corner.pixels_jy_beam)
  assert seen[:13, 8:].all() and seen.sum() == 13 * 13
  assert (middle.pixels_jy_beam == 1).all()
  assert np.isnan(outside.pixels_jy_beam).all()
  (far,) = cutouts.crops(
    image, ra_deg=np.array([330.0]), dec_deg=np.array([-40.0]), size_pix=21
  )
  assert np.isnan(far.pixels_jy_beam).all()


@pytest.mark.parametrize(
  ('length', 'size', 'stride', 'expected'),
  [
    (10, 4, 3, [0, 3, 6]),
    (11, 4, 3, [0, 3, 6, 7]),
    (4, 4, 9, [0]),
    (3, 4, 1, []),
    (12, 4, 4, [0, 4, 8]),
  ],
)
def test_tiles_cover_the_image_and_end_at_its_edge(
  length, size, stride, expected
):
  assert cutouts.tile_corners(length, size, stride) == expected


@pytest.mark.parametrize(('size', 'stride'), [(0, 1), (4, 0)])
def test_impossible_tiles_are_refused(size, stride):
  with pytest.raises(ValueError, match='must be 1 or more'):
    cutouts.tile_corners(10, size, stride)


def test_tiles_are_the_pixels_of_the_image_at_their_position():
  image = make_image(shape=(30, 50), sources=[(150, 40)])
  found = list(cutouts.tiles(image, size=20, stride=15))
  assert [t.corner for t in found] == [
    (y, x) for y in (0, 10) for x in (0, 15, 30)
  ]
  for tile in found:
    y, x = tile.corner
    np.testing.assert_array_equal(
      tile.pixels_jy_beam, image.pixels_jy_beam[y : y + 20, x : x + 20]
    )
    at = fits.sky_to_pixel(image.wcs, tile.ra_deg, tile.dec_deg)
    np.testing.assert_allclose(at, (x + 9.5, y + 9.5), atol=1e-6)
    assert tile.field_arcsec == pytest.approx(36)


def test_tiles_with_too_many_missing_pixels_are_left_out():
  image = make_image(shape=(20, 40))
  image.pixels_jy_beam[:, :5] = np.nan
  tiles = list(cutouts.tiles(image, size=20, stride=20, max_missing=0.2))
  assert [t.corner for t in tiles] == [(0, 20)]
  tiles = list(cutouts.tiles(image, size=20, stride=20, max_missing=0.25))
  assert [t.corner for t in tiles] == [(0, 0), (0, 20)]


@pytest.mark.parametrize('turn', [0, 30, -100])
@pytest.mark.parametrize('parity', [-1, 1])
def test_tiles_know_their_angle_and_have_east_on_the_left(turn, parity):
  image = make_image(shape=(60, 60), turn=turn, parity=parity)
  (tile,) = cutouts.tiles(image, size=60, stride=60)
  # A source at 20 arcsec along the columns' position angle lies up the middle.
  centre = astropy.coordinates.SkyCoord(tile.ra_deg, tile.dec_deg, unit='deg')
  for angle, expected in ((0, (29.5, 39.5)), (90, (19.5, 29.5))):
    where = centre.directional_offset_by(
      (tile.rotation_deg + angle) * astropy.units.deg,
      18 * astropy.units.arcsec,
    )
    image = make_image(
      shape=(60, 60),
      turn=turn,
      parity=parity,
      sources=[(where.ra.deg, where.dec.deg)],
    )
    (tile,) = cutouts.tiles(image, size=60, stride=60)
    np.testing.assert_allclose(
      centroid(tile.pixels_jy_beam), expected, atol=0.05
    )


@pytest.mark.parametrize(
  'settings',
  [
    {},
    {'kind': 'RA---TAN', 'turn': 37.0},
    {'kind': 'RA---SIN', 'crval': (0.01, 88.0), 'parity': 1},
    {'kind': 'GLON-SIN', 'crval': (11.0, -2.0)},
    {'kind': 'RA---TAN', 'crval': (359.99, -5.0), 'scale': 1.5},
  ],
)
@pytest.mark.parametrize('size', [64, 65])
@pytest.mark.parametrize('zoom', [None, 0.7, 1.6])
def test_cutouts_have_the_source_central_and_its_neighbour_in_place(
  settings, size, zoom
):
  empty = make_image(**settings)
  ra, dec = fits.pixel_to_sky(empty.wcs, 141.3, 161.7)
  centre = astropy.coordinates.SkyCoord(ra, dec, unit='deg')
  there = centre.directional_offset_by(
    60 * astropy.units.deg, 30 * astropy.units.arcsec
  )
  scale = empty.pixel_scale_arcsec * (zoom or 1)
  field = None if zoom is None else size * scale
  for source, east, north in (
    (centre, 0, 0),
    (there, 30 * np.sin(np.radians(60)), 30 * np.cos(np.radians(60))),
  ):
    image = make_image(sources=[(source.ra.deg, source.dec.deg)], **settings)
    piece = cutouts.cutout(
      image, ra_deg=ra, dec_deg=dec, size_pix=size, field_arcsec=field
    )
    assert piece.pixels_jy_beam.shape == (size, size)
    assert piece.pixel_scale_arcsec == pytest.approx(scale)
    middle = (size - 1) / 2
    np.testing.assert_allclose(
      centroid(piece.pixels_jy_beam),
      (middle - east / scale, middle + north / scale),
      atol=0.1,
    )


def test_whole_pixels_are_copied_bit_for_bit():
  image = make_image(kind='RA---TAN')
  image.pixels_jy_beam[:] = np.random.default_rng(0).normal(
    size=image.pixels_jy_beam.shape
  )
  # The reference pixel is 106.67, 100 (1-based): cut at a whole pixel.
  ra, dec = fits.pixel_to_sky(image.wcs, 107, 99)
  piece = cutouts.cutout(image, ra_deg=ra, dec_deg=dec, size_pix=21)
  np.testing.assert_array_equal(
    piece.pixels_jy_beam, image.pixels_jy_beam[89:110, 97:118]
  )


@pytest.mark.parametrize('zoom', [0.5, 1.0, 2.0, 4.0, 10.0])
def test_a_constant_stays_and_a_point_source_keeps_its_flux(zoom):
  places = np.random.default_rng(3).uniform(139.5, 150.5, (4, 2))
  for x, y in places:
    empty = make_image()
    ra, dec = fits.pixel_to_sky(empty.wcs, x, y)
    # A beam of 2.6 pixels FWHM, about as sharp as surveys get.
    image = make_image(sources=[(ra, dec)], sigma=1.1)
    flux = image.pixels_jy_beam.sum(dtype=float)
    size = int(np.ceil(120 / zoom))
    # Off the centre, so that the source falls anywhere on the new pixels.
    settings = {
      'ra_deg': ra + x % 0.001,
      'dec_deg': dec,
      'size_pix': size,
      'field_arcsec': size * zoom * 1.8,
    }
    piece = cutouts.cutout(image, **settings)
    kept = piece.pixels_jy_beam.sum(dtype=float) * zoom**2
    assert kept == pytest.approx(flux, rel=0.01)
    image.pixels_jy_beam[:] = 0.25
    piece = cutouts.cutout(image, **settings)
    np.testing.assert_allclose(piece.pixels_jy_beam, 0.25, rtol=1e-5)


@pytest.mark.parametrize(('ratio', 'x'), [(4, 150), (2, 149.5), (3, 150)])
def test_larger_pixels_carry_no_aliased_noise(ratio, x):
  # The two last grids fall on whole pixels of the image.
  image = make_image()
  image.pixels_jy_beam[:] = np.random.default_rng(0).normal(
    size=image.pixels_jy_beam.shape
  )
  ra, dec = fits.pixel_to_sky(image.wcs, x, x)
  size = 40 if ratio % 2 == 0 else 41
  piece = cutouts.cutout(
    image,
    ra_deg=ra,
    dec_deg=dec,
    size_pix=size,
    field_arcsec=size * ratio * 1.8,
  )
  # White noise seen through a Gaussian of sigma s has 1 / (2 s sqrt(pi)).
  sigma = 0.6 * np.sqrt(ratio**2 - 1)
  expected = 1 / (2 * sigma * np.sqrt(np.pi))
  assert piece.pixels_jy_beam.std() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize('zoom', [None, 1.3])
def test_missing_pixels_stay_missing_and_pull_on_nothing(zoom):
  image = make_image()
  image.pixels_jy_beam[:] = 7.0
  image.pixels_jy_beam[150:160, 100:110] = np.nan
  ra, dec = fits.pixel_to_sky(image.wcs, 120.4, 150.3)
  piece = cutouts.cutout(
    image,
    ra_deg=ra,
    dec_deg=dec,
    size_pix=64,
    field_arcsec=zoom and 64 * zoom * 1.8,
  )
  missing = np.isnan(piece.pixels_jy_beam)
  assert missing.sum() == pytest.approx(100 / (zoom or 1) ** 2, rel=0.25)
  np.testing.assert_allclose(piece.pixels_jy_beam[~missing], 7.0, rtol=1e-5)


def test_what_lies_outside_the_image_is_missing():
  image = make_image()
  image.pixels_jy_beam[:] = 1.0
  ra, dec = fits.pixel_to_sky(image.wcs, -0.5, 150)
  piece = cutouts.cutout(image, ra_deg=ra, dec_deg=dec, size_pix=64)
  assert np.isnan(piece.pixels_jy_beam[:, :31]).all()
  assert np.isfinite(piece.pixels_jy_beam[:, 33:]).all()
  for far in (ra - 1, ra + 180):
    piece = cutouts.cutout(image, ra_deg=far, dec_deg=dec, size_pix=64)
    assert np.isnan(piece.pixels_jy_beam).all()


def test_surroundings_reach_half_a_cutout_further_on_each_side():
  image = make_image(sources=[(150, 40)])
  piece = cutouts.cutout(image, ra_deg=150, dec_deg=40, size_pix=40)
  assert piece.surroundings_jy_beam.shape == (80, 80)
  np.testing.assert_array_equal(
    piece.surroundings_jy_beam[20:60, 20:60], piece.pixels_jy_beam
  )
