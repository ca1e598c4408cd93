import astropy.coordinates
import astropy.units as u
import numpy as np
import pytest

from radio_ssl.data import exclusion


def holds(source, centre, field=100.0, size=np.nan, **settings):
  sources = exclusion.Exclusion(
    np.array([source[0]]), np.array([source[1]]), np.array([size])
  )
  found = sources.holds(
    np.array([centre[0]]),
    np.array([centre[1]]),
    field_arcsec=field,
    **settings,
  )
  return bool(found[0])


def away(centre, angle_deg, distance_arcsec):
  sky = astropy.coordinates.SkyCoord(*centre, unit='deg')
  there = sky.directional_offset_by(
    angle_deg * u.deg, distance_arcsec * u.arcsec
  )
  return there.ra.deg, there.dec.deg


CENTRES = [
  (150.0, 0.0),
  (0.0, 40.0),
  (359.9999, -30.0),
  (12.0, 89.98),
  (5, -90),
]


@pytest.mark.parametrize('centre', CENTRES)
@pytest.mark.parametrize('angle', [0, 90, 180, 270])
def test_a_footprint_grows_by_thirty_arcsec_everywhere_on_the_sky(
  centre, angle
):
  assert holds(away(centre, angle, 79.8), centre)
  assert not holds(away(centre, angle, 80.2), centre)


@pytest.mark.parametrize('centre', CENTRES)
def test_a_large_source_is_kept_away_by_half_its_size(centre):
  assert holds(away(centre, 90, 149.5), centre, size=200)
  assert not holds(away(centre, 90, 150.5), centre, size=200)
  assert not holds(away(centre, 90, 80.5), centre, size=20)


def test_corners_of_the_square_count():
  centre = (150.0, 60.0)
  corner = 50 * np.sqrt(2)
  assert holds(away(centre, 45, corner + 29.5), centre)
  assert not holds(away(centre, 45, corner + 30.5), centre)
  # The same source seen from a square turned by 45 degrees.
  assert not holds(away(centre, 45, 85.0), centre, rotation_deg=45.0)
  assert holds(away(centre, 0, 100.0), centre, rotation_deg=45.0)
  assert not holds(away(centre, 0, 101.5), centre, rotation_deg=45.0)


@pytest.mark.parametrize('rotation', [10.0, 25.0])
def test_rotation_turns_from_north_through_east(rotation):
  centre = (150.0, 30.0)
  # Up the columns the square ends at 50 arcsec, at 35 degrees off at 61.
  assert holds(away(centre, rotation + 35, 90.0), centre, rotation_deg=rotation)
  assert not holds(away(centre, rotation, 90.0), centre, rotation_deg=rotation)


def test_each_footprint_is_judged_on_its_own():
  sources = exclusion.Exclusion(
    np.array([10.0, 200.0]), np.array([5.0, -40.0]), np.array([0.0, 600.0])
  )
  found = sources.holds(
    np.array([10.0, 10.0, 200.0, 100.0]),
    np.array([5.0, 5.2, -39.9, 0.0]),
    field_arcsec=np.array([60.0, 60.0, 130.0, 60.0]),
  )
  assert found.tolist() == [True, False, True, False]


def test_no_sources_and_no_footprints_hold_nothing():
  none = exclusion.Exclusion(np.array([]), np.array([]), np.array([]))
  found = none.holds(np.array([1.0]), np.array([1.0]), field_arcsec=10)
  assert found.tolist() == [False]
  some = exclusion.Exclusion(np.ones(1), np.ones(1), np.ones(1))
  assert some.holds(np.array([]), np.array([]), field_arcsec=10).size == 0


@pytest.mark.parametrize('seed', range(5))
def test_images_whose_circles_part_never_show_each_others_source(seed):
  rng = np.random.default_rng(seed)
  ra, dec = 40 + rng.random(300) / 4, 60 + rng.random(300) / 8
  field, size = rng.uniform(5, 150, 300), rng.exponential(60, 300)
  size[::3] = np.nan
  reach = exclusion.reach_arcsec(field, size)
  at, source = exclusion.Exclusion(ra, dec, size).pairs(
    ra, dec, field_arcsec=field, rotation_deg=rng.uniform(0, 90, 300)
  )
  centres = astropy.coordinates.SkyCoord(ra, dec, unit='deg')
  apart = centres[at].separation(centres[source]).arcsec
  assert len(at) > 400
  assert (apart <= reach[at] + reach[source]).all()


def test_reach_is_half_a_diagonal_or_what_keeps_the_source_away():
  found = exclusion.reach_arcsec(
    np.array([100.0, 0.0, 10.0]), np.array([np.nan, np.nan, 90.0])
  )
  np.testing.assert_allclose(found, [50 * np.sqrt(2), 30, 45])
