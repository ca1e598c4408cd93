import jax
import jax.numpy as jnp
import numpy as np

from radio_ssl.augment import masks


def _orders(patch_sizes, rows, counts=(2, 3), seed=3):
  views = {
    'global': jnp.zeros((counts[0], len(rows), 8, 16, 1)),
    'local': jnp.zeros((counts[1], len(rows), 8, 8, 1)),
  }
  rng = jax.random.key(seed)
  return masks.make(patch_sizes, views, rng, jnp.asarray(rows))


def test_every_view_has_an_order_of_its_own_that_hangs_on_the_row():
  sizes = {'global': 2, 'local': 2}
  orders = _orders(sizes, range(6))
  assert orders['global'].shape == (2, 6, 32)
  assert orders['local'].shape == (3, 6, 16)
  for found in orders.values():
    num = found.shape[-1]
    wanted = np.broadcast_to(np.arange(num), found.shape)
    np.testing.assert_array_equal(np.sort(found, axis=-1), wanted)
    flat = found.reshape(-1, num)
    assert len(np.unique(flat, axis=0)) == len(flat)
  # Rows 4 and 5 as another device may have them.
  for group, later in _orders(sizes, range(4, 6)).items():
    np.testing.assert_array_equal(later, orders[group][:, 4:])
  other = _orders(sizes, range(6), seed=4)['global']
  assert not np.array_equal(other, orders['global'])


def test_groups_that_want_none_have_none():
  assert set(_orders({'local': 4}, range(2))) == {'local'}
  assert _orders({}, range(2)) == {}


def test_every_patch_is_seen_as_often_as_any_other():
  orders = _orders({'local': 2}, range(4000), counts=(0, 1))['local'][0]
  seen = np.bincount(np.ravel(orders[:, :4]), minlength=16) / 4000
  # Five standard deviations of a share of 1/4.
  np.testing.assert_allclose(seen, 0.25, atol=5 * np.sqrt(3 / 16 / 4000))
