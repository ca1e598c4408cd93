"""A state survives the way through nested dicts, or the leaf is named."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from radio_ssl.train import state as train_state
from radio_ssl.train import trees


def _state(width=4, name='kernel', dtype=jnp.float32):
  params = {'encoder': {name: jnp.ones((2, width), dtype)}}
  return train_state.TrainState(
    step=jnp.int32(3),
    params=params,
    model_state={'batch_stats': {}},
    opt_state=optax.adamw(0.1).init(params),
    rng=jax.random.key(7),
    first_nonfinite_step=jnp.int32(-1),
  )


def test_state_comes_back_with_its_key_and_empty_branches():
  tree = jax.tree.map(np.asarray, trees.to_tree(_state()))
  state = trees.from_tree(_state(), tree)
  assert jax.tree.structure(state) == jax.tree.structure(_state())
  assert jax.random.bits(state.rng) == jax.random.bits(jax.random.key(7))
  assert isinstance(state.params['encoder']['kernel'], np.ndarray)


@pytest.mark.parametrize(
  ('other', 'message'),
  [
    (_state(width=8), r'float32 \(2, 8\), wanted float32 \(2, 4\)'),
    (_state(dtype=jnp.bfloat16), r'bfloat16 \(2, 4\), wanted float32 \(2, 4\)'),
    (
      _state(name='bias'),
      r'mu/encoder/bias is float32 \(2, 4\), wanted absent',
    ),
    (_state(name='zeta'), r'mu/encoder/kernel is absent, wanted float32'),
  ],
)
def test_first_leaf_that_differs_is_named(other, message):
  with pytest.raises(ValueError, match=message):
    trees.from_tree(_state(), trees.to_tree(other))
