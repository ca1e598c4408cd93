"""What each objective costs beside its encoder.

  taskset --cpu-list 0 python -m radio_ssl.bench.methods

For every method with its default settings: CPU time of a step (loss, gradient,
Adam, moving averages), as a multiple of a step that does nothing but the same
encoder passes: forward and backward over the views that are learnt from,
forward alone over those of the moving average. Both run in turn in one process.
Then the memory that XLA plans for a step, and parameters beside
the encoder's. Losses of methods with a decoder of their own (MAE) cost more.
"""

import argparse
import dataclasses
import resource
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from radio_ssl.augment import masks
from radio_ssl.models import base as models
from radio_ssl.objectives import base
from radio_ssl.train import memory

_NUM_EXAMPLES = 1024


@dataclasses.dataclass(frozen=True)
class Case:
  """A method, ready to run.

  Attributes:
    objective: with its default settings.
    encoder: the one inside.
    batch: views and what else a method may want.
    params: first ones.
    model_state: first one.
  """

  objective: base.Objective
  encoder: Any
  batch: Mapping[str, Any]
  params: base.Tree
  model_state: base.Tree


def case(name: str, encoder: str, size: int, batch_size: int) -> Case:
  """A method around an encoder; one that needs patches gets vit_tiny."""
  method = base.module(name)
  if base.needs_patches(method):
    encoder = 'vit_tiny'
  made = models.make_encoder({'name': encoder})
  objective = method.make(
    method.Config(),
    encoder=made,
    axis_name=None,
    num_steps=100,
    steps_per_epoch=_NUM_EXAMPLES // batch_size,
    num_examples=_NUM_EXAMPLES,
    batch_size=batch_size,
  )
  rng = np.random.default_rng(0)
  batch = {
    'views': {
      group: rng.uniform(size=(count, batch_size, size, size, 1)).astype('f4')
      for group, count in objective.views.items()
    },
    'index': np.arange(batch_size),
    'row': np.arange(batch_size),
    'label': np.arange(batch_size) % 2,
  }
  batch['masks'] = masks.make(
    getattr(objective, 'masks', {}),
    batch['views'],
    jax.random.key(1),
    batch['row'],
  )
  batch = jax.device_put(batch)
  params, model_state = jax.jit(objective.init)(jax.random.key(0), batch)
  return Case(objective, made, batch, params, model_state)


def method_step(it: Case) -> Callable:
  """All that training does in a step but make views."""
  tx = optax.adam(1e-3)

  def step(state, batch):
    params, model_state, opt_state, number = state

    def loss(params):
      out = it.objective.loss(
        params,
        model_state,
        batch,
        step=number,
        rng=jax.random.fold_in(jax.random.key(0), number),
      )
      return out.loss, out.model_state

    grads, model_state = jax.grad(loss, has_aux=True)(params)
    updates, opt_state = tx.update(grads, opt_state, params)
    new = optax.apply_updates(params, updates)
    new, model_state = it.objective.after_update(
      params, new, model_state, number
    )
    return new, model_state, opt_state, number + 1

  opt_state = jax.jit(tx.init)(it.params)
  state = it.params, it.model_state, opt_state, jnp.int32(0)
  return _runner(step, state, it.batch)


def bare_step(it: Case) -> Callable:
  """The encoder's passes of the method, with their gradient and Adam."""
  tx = optax.adam(1e-3)
  online = base.encoder_variables(it.params, it.model_state)
  average = None
  if 'ema_params' in it.model_state:
    average = base.encoder_variables(it.params, it.model_state, 'ema')

  def encode(variables, images):
    out, mutated = it.encoder.apply(
      variables, images, train=True, mutable=['batch_stats']
    )
    return jnp.mean(jnp.square(out.pooled)), mutated

  def step(state, given):
    params, statistics_, opt_state = state
    views, average = given

    def loss(params):
      total, kept = 0.0, statistics_
      for group, stack in views.items():
        images = stack.reshape(-1, *stack.shape[2:])
        value, mutated = encode({'params': params, **kept}, images)
        kept, total = dict(mutated) or kept, total + value
        if average is not None and group == 'global':
          # Learnt from as little as a target is.
          value, _ = encode(average, images)
          total += jax.lax.stop_gradient(value)
      return total, kept

    (value, kept), grads = jax.value_and_grad(loss, has_aux=True)(params)
    updates, opt_state = tx.update(grads, opt_state, params)
    # What is not used is not computed.
    updates = jax.tree.map(lambda u: u + 0 * value, updates)
    return optax.apply_updates(params, updates), kept, opt_state

  params = online['params']
  kept = {k: v for k, v in online.items() if k != 'params' and v}
  state = params, kept, jax.jit(tx.init)(params)
  return _runner(step, state, (it.batch['views'], average))


def _runner(step: Callable, state: tuple, given: Any) -> Callable:
  # Constants would be worked on while it compiles.
  compiled = jax.jit(step, donate_argnums=0).lower(state, given).compile()
  # The first state may be shared with another runner.
  state = jax.tree.map(jnp.copy, state)

  def run() -> float:
    nonlocal state
    start = _cpu_seconds()
    state = jax.block_until_ready(compiled(state, given))
    return _cpu_seconds() - start

  run.planned_bytes = compiled.memory_analysis().temp_size_in_bytes
  return run


def _cpu_seconds() -> float:
  usage = resource.getrusage(resource.RUSAGE_SELF)
  return usage.ru_utime + usage.ru_stime


def _size(tree: base.Tree) -> int:
  return sum(x.size for x in jax.tree.leaves(tree))


def row(name: str, args: argparse.Namespace) -> str:
  """Measures one method."""
  it = case(name, args.encoder, args.size_pix, args.batch_size)
  method, bare = method_step(it), bare_step(it)
  pairs = [(method(), bare()) for _ in range(args.repeats + 1)][1:]
  ratios = [a / b for a, b in pairs]
  passes = '+'.join(f'{n} {group}' for group, n in it.objective.views.items())
  beside = {k: v for k, v in it.params.items() if k != 'encoder'}
  return (
    f'| {name} | {passes} | {statistics.median(a for a, _ in pairs):.2f} '
    f'| {statistics.median(ratios):.2f} ({min(ratios):.2f} to '
    f'{max(ratios):.2f}) | {method.planned_bytes / 2**20:.0f} '
    f'| {bare.planned_bytes / 2**20:.0f} | {_size(beside) / 1e6:.2f} |'
  )


def main(argv: Sequence[str] | None = None) -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    '--methods', nargs='+', choices=base.available(), default=base.available()
  )
  parser.add_argument('--encoder', default='resnet18')
  parser.add_argument('--size_pix', type=int, default=64)
  parser.add_argument('--batch_size', type=int, default=128)
  parser.add_argument('--repeats', type=int, default=5)
  args = parser.parse_args(argv)
  memory.keep_freed()
  print(
    '| method | views | CPU s a step | of its encoder passes '
    '| memory, MB | of the passes, MB | parameters beside, millions |'
  )
  print('|' + ' --- |' * 7)
  for name in args.methods:
    print(row(name, args), flush=True)


if __name__ == '__main__':
  main()
