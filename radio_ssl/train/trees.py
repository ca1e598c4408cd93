"""A train state as nested dicts of plain arrays, and back."""

from collections.abc import Mapping
from typing import Any

import flax.serialization
import flax.traverse_util
import jax


def to_tree(state: Any) -> dict[str, Any]:
  """Nested dicts of plain arrays; typed keys as their data.

  Empty branches, such as `optax.EmptyState`, are left out.
  """

  def plain(leaf):
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf

  nested = flax.serialization.to_state_dict(jax.tree.map(plain, state))
  return flax.traverse_util.unflatten_dict(
    flax.traverse_util.flatten_dict(nested)
  )


def from_tree(template: Any, tree: Mapping[str, Any]) -> Any:
  """The structure of `template` with the arrays of `tree`.

  Raises:
    ValueError: `difference` finds one.
  """
  if found := difference(template, tree):
    raise ValueError(found)

  def typed(old, new):
    if _is_key(old):
      return jax.random.wrap_key_data(new, impl=jax.random.key_impl(old))
    return new

  full = flax.traverse_util.flatten_dict(
    flax.serialization.to_state_dict(template), keep_empty_nodes=True
  )
  full |= flax.traverse_util.flatten_dict(tree)
  restored = flax.serialization.from_state_dict(
    template, flax.traverse_util.unflatten_dict(full)
  )
  return jax.tree.map(typed, template, restored)


def difference(template: Any, tree: Mapping[str, Any]) -> str | None:
  """The first leaf by name whose shape or dtype differs; None if none does."""
  wanted = flax.traverse_util.flatten_dict(to_tree(template))
  found = flax.traverse_util.flatten_dict(tree)
  for path in sorted({*wanted, *found}):
    was, is_wanted = _describe(found.get(path)), _describe(wanted.get(path))
    if was != is_wanted:
      return f'{"/".join(path)} is {was}, wanted {is_wanted}'
  return None


def _is_key(leaf) -> bool:
  return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _describe(leaf) -> str:
  return 'absent' if leaf is None else f'{leaf.dtype} {tuple(leaf.shape)}'
