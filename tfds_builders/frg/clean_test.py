"""The split by sky parts no overlap and keeps MiraBest's test sources out."""

import dataclasses
import hashlib

import numpy as np
import pytest

from tfds_builders.frg import clean, pictures
from tfds_builders.mirabest import batches

_AXES = ('ra_deg', 'dec_deg')


def _held_out(ra_deg, dec_deg):
  return batches.Source(
    name='x',
    code='100',
    split='test',
    ra_deg=ra_deg,
    dec_deg=dec_deg,
    redshift=0.1,
    size_arcsec=20.0,
    picture=np.zeros((1, 1), np.uint8),
  )


def _crowded(seed):
  """Sources of which many frames overlap, on 3 x 3 degrees of sky."""
  rng = np.random.default_rng(seed)
  return [
    pictures.Picture(
      name=f'{n:03d}',
      label=pictures.CLASSES[n % 4],
      split='train',
      ra_deg=10 + 3 * rng.random() / np.cos(np.radians(51)),
      dec_deg=50 + 3 * rng.random(),
      pixels=np.ones((1, 1), np.uint8),
    )
    for n in range(120)
  ]


def _touching(members, reach_arcsec):
  """Pairs whose centres are that close, along rows and along columns."""
  ra, dec = (np.array([getattr(p, a) for p in members]) for a in _AXES)
  east = (ra - ra[:, None]) * np.cos(np.radians(dec)) * 3600
  north = (dec - dec[:, None]) * 3600
  near = np.maximum(np.abs(east), np.abs(north)) < reach_arcsec
  return np.argwhere(np.triu(near, 1))


@pytest.mark.parametrize('seed', range(4))
def test_clean_parts_no_frames_that_overlap(seed):
  split = clean.split(_crowded(seed), [])
  pairs = _touching(split, 539)
  assert len(pairs) > 50
  assert all(split[a].split == split[b].split for a, b in pairs)


def test_clean_puts_what_shows_a_held_out_source_into_test():
  members = _crowded(0)
  one = members[7]
  # In a corner of the frame; and 29 arcsec beyond its northern edge.
  corner = _held_out(one.ra_deg, one.dec_deg + 260 / 3600)
  beyond = _held_out(members[31].ra_deg, members[31].dec_deg + 299 / 3600)
  after = {p.name: p.split for p in clean.split(members, [corner, beyond])}
  assert after[one.name] == after[members[31].name] == 'test'


def test_clean_tests_on_no_empty_image():
  members = _crowded(0)
  for n in range(0, 120, 10):
    pixels = np.zeros((1, 1), np.uint8)
    members[n] = dataclasses.replace(members[n], pixels=pixels)
  empty = [p for p in clean.split(members, []) if not p.pixels.any()]
  assert {p.split for p in empty} == {'train'}


def test_clean_does_not_depend_on_the_order_or_the_old_split():
  members = _crowded(1)
  other = [dataclasses.replace(p, split='test') for p in members[::-1]]
  assert clean.split(members, []) == clean.split(other, [])


@pytest.fixture(scope='module')
def published(real_data):
  return pictures.read(real_data / 'griese' / 'galaxy_data_h5.zip')


@pytest.fixture(scope='module')
def held_out(real_data):
  sources = batches.read(real_data / batches.ARCHIVE)
  return [s for s in sources if s.split == 'test']


def test_real_clean_parts_no_overlap_that_official_parts(published, held_out):
  split = clean.split(published, held_out)
  pairs = _touching(split, clean.FIELD_ARCSEC)
  official = {p.name: p.split for p in published}
  parted = sum(
    official[split[a].name] != official[split[b].name] for a, b in pairs
  )
  assert (len(pairs), parted) == (93, 23)
  assert all(split[a].split == split[b].split for a, b in pairs)


def test_real_clean_has_no_mirabest_test_source_outside_test(
  published, held_out
):
  split = clean.split(published, held_out)
  ra, dec = (np.array([getattr(p, a) for p in split]) for a in _AXES)
  showing = np.zeros(len(split), bool)
  for source in held_out:
    east = (ra - source.ra_deg) * np.cos(np.radians(dec)) * 3600
    north = (dec - source.dec_deg) * 3600
    showing |= np.maximum(np.abs(east), np.abs(north)) < 270
  assert showing.sum() > 95
  assert {
    p.split for p, shows in zip(split, showing, strict=True) if shows
  } == {'test'}


def test_real_clean_is_still_the_split_that_was_published(published, held_out):
  # Another one needs another version of the data set.
  lines = [f'{p.name} {p.split}' for p in clean.split(published, held_out)]
  digest = hashlib.sha256('\n'.join(lines).encode()).hexdigest()
  assert digest[:16] == 'c3b6c5b204ba8484'
