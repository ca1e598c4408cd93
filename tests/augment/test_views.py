import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.augment import inputs, views
from radio_ssl.data import examples

FIRST = examples.Geometry(
  height=100,
  width=100,
  dtype='float32',
  pixel_scale_arcsec=1.8,
  beam_major_arcsec=5.4,
)
INPUT = inputs.Input(size_pix=40, field_arcsec=108.0)
# Crop, turn and mirror alone, on a linear scale: views keep the flux.
PLAIN = views.ViewGroup(
  blur_probability=0.0,
  noise_sigma=(0.0, 0.0),
  gamma=(1.0, 1.0),
  contrast_probability=0.0,
)
LINEAR = dataclasses.replace(
  INPUT, stretch='linear', clip_low=0.0, clip_high=100.0
)
COUNTS = {'global': 2}


def _batch(images, rows=None):
  count = len(images)
  return {
    'image': jnp.asarray(images),
    'background': jnp.zeros(count),
    'rms': jnp.ones(count),
    'row': jnp.arange(count) if rows is None else jnp.asarray(rows),
  }


def _sky(count=8):
  sky = np.random.RandomState(0).normal(size=(count, 100, 100, 1))
  sky[:, 45:50, 48:60] += 40
  return sky.astype(np.float32)


def _views(
  batch, *, group=None, input=INPUT, geometry=FIRST, seed=0, counts=COUNTS
):
  groups = {name: group or views.ViewGroup() for name in counts}
  make = jax.jit(views.make_views(input, groups, counts, geometry))
  return make(batch, jax.random.key(seed))


def test_groups_have_their_counts_sizes_and_channels():
  groups = {
    'global': views.ViewGroup(),
    'local': dataclasses.replace(PLAIN, size_pix=24, crop_area=(0.1, 0.3)),
  }
  make = views.make_views(
    dataclasses.replace(INPUT, channels=3),
    groups,
    {'global': 2, 'local': 5},
    FIRST,
  )
  out = jax.eval_shape(make, _batch(_sky(4)), jax.random.key(0))
  assert out['global'].shape == (2, 4, 40, 40, 3)
  assert out['local'].shape == (5, 4, 24, 24, 3)
  assert out['local'].dtype == jnp.float32


def test_same_key_gives_the_same_views_and_another_key_others():
  batch = _batch(_sky(3))
  first = _views(batch)['global']
  np.testing.assert_array_equal(first, _views(batch)['global'])
  assert float(jnp.abs(first - _views(batch, seed=1)['global']).max()) > 0.1


def test_no_two_views_are_drawn_alike():
  same = np.repeat(_sky(1), 3, axis=0)
  out = _views(_batch(same), group=PLAIN, counts={'global': 2, 'local': 2})
  flat = np.concatenate(
    [v.reshape(6, -1) for v in map(np.asarray, out.values())]
  )
  distance = np.abs(flat[:, None] - flat[None]).max(axis=-1)
  assert distance[~np.eye(12, dtype=bool)].min() > 0.1


def test_eager_equals_jit():
  batch = _batch(_sky(1))
  groups = {'global': views.ViewGroup()}
  make = views.make_views(INPUT, groups, {'global': 1}, FIRST)
  rng = jax.random.key(3)
  np.testing.assert_allclose(
    make(batch, rng)['global'], jax.jit(make)(batch, rng)['global'], atol=2e-4
  )


def test_batch_of_eight_equals_two_batches_of_four_by_row():
  sky = _sky(8)
  whole = _views(_batch(sky))['global']
  halves = [
    _views(_batch(sky[rows], rows))['global']
    for rows in (np.arange(4), np.arange(4, 8))
  ]
  np.testing.assert_allclose(whole, np.concatenate(halves, axis=1), atol=2e-4)
  wrong = _views(_batch(sky[4:]))['global']
  assert float(jnp.abs(whole[:, 4:] - wrong).max()) > 0.1


def test_two_devices_make_the_views_of_one():
  sky = _sky(8)
  make = views.make_views(INPUT, {'global': views.ViewGroup()}, COUNTS, FIRST)
  batch = _batch(sky)
  split = jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), batch)
  rng = jax.random.key(0)
  out = jax.pmap(make, in_axes=(0, None), devices=jax.devices()[:2])(
    split, rng
  )['global']
  np.testing.assert_allclose(
    jnp.concatenate([out[0], out[1]], axis=1),
    jax.jit(make)(batch, rng)['global'],
    atol=2e-4,
  )


@pytest.mark.parametrize('interval', inputs.INTERVALS)
@pytest.mark.parametrize('value', [np.nan, 0.0])
def test_empty_images_give_finite_views(interval, value):
  images = np.full((2, 100, 100, 1), value, np.float32)
  batch = _batch(images) | {
    'background': jnp.full(2, value),
    'rms': jnp.full(2, value),
  }
  input = dataclasses.replace(INPUT, interval=interval)
  out = _views(batch, input=input)['global']
  assert bool(jnp.isfinite(out).all())


@pytest.mark.parametrize('size_pix', [40, 72])
def test_no_view_of_a_constant_sky_shows_a_corner(size_pix):
  sky = np.full((16, 100, 100, 1), 50.0, np.float32)
  input = dataclasses.replace(LINEAR, size_pix=size_pix)
  group = dataclasses.replace(PLAIN, blur_probability=1.0, crop_area=(0.3, 1.0))
  out = _views(_batch(sky), group=group, input=input)['global']
  np.testing.assert_allclose(out, 0.5, rtol=1e-4)


def test_corners_beyond_the_image_are_background():
  sky = np.full((8, 100, 100, 1), 50.0, np.float32)
  input = dataclasses.replace(
    LINEAR, field_arcsec=180.0, allow_coarse_pixels=True
  )
  group = dataclasses.replace(PLAIN, crop_area=(1.0, 1.0))
  out = np.asarray(_views(_batch(sky), group=group, input=input)['global'])
  np.testing.assert_allclose(out[:, :, 15:25, 15:25], 0.5, rtol=1e-4)
  assert out[:, :, 0, 0].min() == 0


def test_views_of_no_change_are_the_prepared_image():
  group = dataclasses.replace(
    PLAIN, crop_area=(1.0, 1.0), rotate=False, flip=False
  )
  batch = _batch(_sky(2))
  input = dataclasses.replace(LINEAR, size_pix=60)
  out = _views(batch, group=group, input=input)['global']
  wanted = inputs.prepare(batch, input, FIRST)
  np.testing.assert_allclose(out[0], wanted, atol=1e-5)
  np.testing.assert_allclose(out[1], wanted, atol=1e-5)


def test_flux_of_a_source_is_kept_in_every_view():
  y, x = np.mgrid[:100, :100]
  source = np.exp(-4 * np.log(2) * ((y - 52) ** 2 + (x - 44) ** 2) / 9)
  sky = np.repeat(99 * source[None, :, :, None], 6, axis=0).astype('f4')
  group = dataclasses.replace(PLAIN, crop_area=(0.7, 0.7))
  out = np.asarray(_views(_batch(sky), group=group, input=LINEAR)['global'])
  pixel = 60 * np.sqrt(0.7) / 40
  flux = 100 * out.sum(axis=(2, 3, 4)) * pixel**2
  np.testing.assert_allclose(flux, 99 * source.sum(), rtol=0.01)


def test_source_in_the_centre_stays_within_the_crops_reach():
  sky = np.zeros((16, 100, 100, 1), np.float32)
  sky[:, 49:51, 49:51] = 100
  out = np.asarray(_views(_batch(sky), group=PLAIN, input=LINEAR)['global'])
  out = out.reshape(32, 40, 40)
  offset = np.arange(40) - 19.5
  total = out.sum(axis=(1, 2))
  y = (out * offset[:, None]).sum(axis=(1, 2)) / total
  x = (out * offset[None, :]).sum(axis=(1, 2)) / total
  side = np.sqrt(0.65)
  reach = 40 * (1 - side) / 2 / side
  assert max(np.abs(y).max(), np.abs(x).max()) < reach + 0.5
  assert np.hypot(y, x).max() > 1


def test_noise_of_a_view_has_the_images_rms_and_beam():
  sky = np.zeros((16, 100, 100, 1), np.float32)
  group = dataclasses.replace(
    PLAIN, noise_sigma=(2.0, 2.0), crop_area=(0.4, 0.4)
  )
  input = dataclasses.replace(LINEAR, clip_low=-50.0, clip_high=50.0)
  out = _views(_batch(sky), group=group, input=input)['global']
  noise = 100 * (np.asarray(out)[..., 0] - 0.5)
  assert noise.std() == pytest.approx(2, rel=0.03)
  pixel_arcsec = 108 * np.sqrt(0.4) / 40
  sigma = 5.4 / np.sqrt(8 * np.log(2)) / pixel_arcsec
  correlation = (noise[..., 2:] * noise[..., :-2]).mean() / noise.var()
  wanted = np.exp(-(2**2) / (4 * sigma**2))
  assert correlation == pytest.approx(wanted, abs=0.03)


def test_each_view_takes_one_of_the_stretches_by_chance():
  kinds = ('linear', 'sqrt', 'log', 'asinh')
  still = dataclasses.replace(
    PLAIN, crop_area=(1.0, 1.0), rotate=False, flip=False
  )
  sky = np.repeat(np.maximum(_sky(1), 0), 64, axis=0)
  group = dataclasses.replace(still, stretches=kinds)
  own = dataclasses.replace(LINEAR, stretch='asinh', stretch_a=0.02)
  found = np.asarray(_views(_batch(sky), group=group, input=own)['global'])
  softening = {'linear': 1.0, 'sqrt': 1.0, 'log': 1000.0, 'asinh': 0.02}
  wanted = [
    inputs.prepare(
      _batch(sky[:1]),
      dataclasses.replace(own, stretch=kind, stretch_a=softening[kind]),
      FIRST,
    )[0]
    for kind in kinds
  ]
  distance = np.abs(found.reshape(128, 1, -1) - np.reshape(wanted, (1, 4, -1)))
  distance = distance.max(axis=-1)
  assert distance.min(axis=1).max() < 1e-4
  counts = np.bincount(distance.argmin(axis=1), minlength=4)
  # 32 of each, +- 5.
  assert counts.min() > 15


def test_blur_of_a_view_is_in_arcsec():
  y, x = np.mgrid[:100, :100] - 49.5
  source = 90 * np.exp(-(y**2 + x**2) / (2 * 2.0**2))
  sky = np.repeat(source[None, :, :, None], 4, axis=0).astype('f4')
  group = dataclasses.replace(
    PLAIN,
    crop_area=(0.4, 0.4),
    blur_probability=1.0,
    blur_sigma_arcsec=(3.6, 3.6),
  )
  sizes = []
  for one in (dataclasses.replace(group, blur_probability=0.0), group):
    out = np.asarray(_views(_batch(sky), group=one, input=LINEAR)['global'])
    out = out.reshape(8, 40, 40) / out.sum(axis=(2, 3, 4)).reshape(8, 1, 1)
    place = np.arange(40)
    mean = (out * place).sum(axis=(1, 2), keepdims=True)
    sizes.append((out * (place - mean) ** 2).sum(axis=(1, 2)))
  pixel_arcsec = 108 * np.sqrt(0.4) / 40
  wanted = (3.6 / pixel_arcsec) ** 2
  np.testing.assert_allclose(sizes[1] - sizes[0], wanted, rtol=0.05)


def test_eight_bit_pictures_take_the_same_path():
  picture = np.clip(_sky(2) * 5, 0, 255).astype(np.uint8)
  geometry = dataclasses.replace(FIRST, dtype='uint8')
  out = _views(_batch(picture), geometry=geometry)['global']
  sigma = picture * np.float32(INPUT.full_scale_sigma / 255)
  np.testing.assert_allclose(out, _views(_batch(sigma))['global'], atol=1e-4)
  assert float(out.max()) > 0.3


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'crop_area': (0.0, 1.0)}, r'crop_area is \(0.0, 1.0\); wanted within'),
    ({'gamma': (0.0, 1.0)}, 'gamma is .*; wanted > 0'),
    ({'noise_sigma': (-1.0, 1.0)}, 'noise_sigma .*; wanted >= 0'),
    ({'contrast': (2.0, 1.0)}, r'contrast is .*; wanted \(low, high\)'),
    ({'size_pix': 24}, 'views.global: pixels of 4.5 arcsec'),
    ({'size_pix': 4}, 'size_pix is 4; wanted 8 or more, or 0'),
    ({'stretches': ('sqrt', 'cubic')}, "No stretch named 'cubic'"),
  ],
)
def test_groups_that_do_not_fit_are_refused(change, message):
  group = dataclasses.replace(PLAIN, **change)
  with pytest.raises(ValueError, match=message):
    views.make_views(INPUT, {'global': group}, COUNTS, FIRST)


def test_groups_must_be_those_of_the_method():
  with pytest.raises(ValueError, match='has global; this method wants local'):
    views.make_views(INPUT, {'global': PLAIN}, {'local': 2}, FIRST)


def test_blur_and_noise_need_a_scale_and_a_beam():
  whole = dataclasses.replace(INPUT, field_arcsec=None, size_pix=50)
  varying = dataclasses.replace(
    FIRST, pixel_scale_arcsec=None, beam_major_arcsec=None
  )
  group = views.ViewGroup()
  with pytest.raises(ValueError, match='set blur_probability=0'):
    views.make_views(whole, {'global': group}, COUNTS, varying)
  group = dataclasses.replace(group, blur_probability=0.0)
  with pytest.raises(ValueError, match=r'set noise_sigma=\(0, 0\)'):
    views.make_views(whole, {'global': group}, COUNTS, varying)
  assert _views(_batch(_sky(2)), group=PLAIN, input=whole, geometry=varying)[
    'global'
  ].shape == (2, 2, 50, 50, 1)


def test_views_are_bicubic_where_the_group_says_so():
  batch = _batch(_sky(1))
  turned = dataclasses.replace(PLAIN, crop_area=(1.0, 1.0))
  linear, cubic = (
    _views(batch, group=dataclasses.replace(turned, bicubic=b), input=LINEAR)
    for b in (False, True)
  )
  assert 1e-3 < np.abs(linear['global'] - cubic['global']).max() < 0.3
