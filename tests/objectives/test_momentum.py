import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radio_ssl.objectives import _momentum


def test_decay_rises_to_one_on_a_half_cosine():
  for step in (0, 1, 37, 50, 99, 100, 130):
    wanted = 1 - 0.1 * (np.cos(np.pi * min(step, 100) / 100) + 1) / 2
    found = _momentum.rising_decay(jnp.int32(step), start=0.9, num_steps=100)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_average_moves_by_the_decay_and_knows_no_predictor():
  params = {'encoder': jnp.array([1.0, 2.0]), 'predictor': jnp.zeros(1)}
  first = _momentum.copies(params, {}, without=('predictor',))
  assert list(first['ema_params']) == ['encoder']
  new = jax.tree.map(lambda x: x + 1, params)
  moved = _momentum.moved(new, first['ema_params'], 0.75)
  np.testing.assert_allclose(moved['encoder'], [1.25, 2.25])


@pytest.mark.parametrize('decay', [-0.1, 1.1])
def test_decay_that_is_no_share_is_refused(decay):
  with pytest.raises(ValueError, match='ema_decay'):
    _momentum.check_decay(decay)
