import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.objectives import _queue


def test_newest_rows_replace_the_oldest():
  queue = _queue.create(jax.random.key(0), 6, 3)
  np.testing.assert_allclose(
    jnp.linalg.norm(queue['rows'], axis=1), 1, rtol=1e-6
  )
  first = np.asarray(queue['rows'])
  batches = [np.full((2, 3), n, np.float32) for n in range(1, 5)]
  for batch in batches[:2]:
    queue = _queue.pushed(queue, jnp.asarray(batch), None)
  expected = np.concatenate([batches[0], batches[1], first[4:]])
  np.testing.assert_array_equal(queue['rows'], expected)
  for batch in batches[2:]:
    queue = _queue.pushed(queue, jnp.asarray(batch), None)
  expected = np.concatenate([batches[3], batches[1], batches[2]])
  np.testing.assert_array_equal(queue['rows'], expected)
  assert int(queue['at']) == 2


def test_devices_hold_the_global_batch_in_its_order():
  queue = _queue.create(jax.random.key(0), 4, 2)
  rows = jnp.arange(8.0).reshape(2, 2, 2)
  mapped = jax.pmap(
    lambda q, r: _queue.pushed(q, r, 'data'),
    axis_name='data',
    in_axes=(None, 0),
    out_axes=None,
    devices=jax.local_devices()[:2],
  )
  found = mapped(queue, rows)
  np.testing.assert_array_equal(found['rows'], rows.reshape(4, 2))
  assert int(found['at']) == 0


def test_no_gradient_flows_into_the_queue():
  queue = _queue.create(jax.random.key(0), 4, 2)

  def total(rows):
    return _queue.pushed(queue, rows, None)['rows'].sum()

  np.testing.assert_array_equal(jax.grad(total)(jnp.ones((2, 2))), 0)


@pytest.mark.parametrize('size', [100, 32, 0])
def test_queue_that_batches_do_not_fill_is_refused(size):
  with pytest.raises(ValueError, match=rf'queue_size is {size}, batch_size 64'):
    _queue.check(size, 64)
