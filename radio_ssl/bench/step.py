"""Time of a SimCLR training step: python -m radio_ssl.bench.step.

ResNet-18 (ImageNet stem), one channel, two views, projector, NT-Xent, Adam:
ours, ours with XLA's own convolution and max-pool, and PyTorch (pip install
'radio_ssl[bench]'). Each run is a process of its own on one pinned core with
one thread; runs alternate, and what counts is the CPU time the process used.

With --gpu: 16 times the images, on the GPU that JAX and PyTorch find, by the
clock; both may round the operands of products to TF32, or to bfloat16 by
--dtype=bfloat16. XLA's convolution is ours there.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from unittest import mock

# Images a step, by side in pixels: about the same work in each row.
_BATCH = {64: 128, 128: 32, 224: 16}
# So many times on a GPU.
_GPU_FACTOR = 16


def _count(args) -> int:
  return _BATCH[args.sizes[0]] * (_GPU_FACTOR if args.gpu else 1)


def _views(args):
  import numpy as np

  rng = np.random.default_rng(0)
  shape = (2, _count(args), args.sizes[0], args.sizes[0], 1)
  return rng.uniform(size=shape).astype(np.float32)


def _jax_step(args) -> Callable[[], None]:
  import jax
  import optax

  from radio_ssl.models import base
  from radio_ssl.objectives import simclr

  encoder = base.make_encoder({'name': 'resnet18', 'dtype': args.dtype})
  objective = simclr.make(simclr.Config(), encoder=encoder, axis_name=None)
  batch = {'views': {'global': jax.device_put(_views(args))}}
  tx = optax.adam(1e-3)
  params, model_state = jax.jit(objective.init)(jax.random.key(0), batch)

  def step(params, model_state, opt_state, batch):
    def loss(params):
      out = objective.loss(params, model_state, batch, step=0, rng=None)
      return out.loss, out.model_state

    grads, model_state = jax.grad(loss, has_aux=True)(params)
    updates, opt_state = tx.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), model_state, opt_state

  step = jax.jit(step, donate_argnums=(0, 1, 2))
  state = params, model_state, jax.jit(tx.init)(params)
  # Compiled here, while the naive run's patches are in place.
  step = step.lower(*state, batch).compile()

  def run():
    nonlocal state
    state = jax.block_until_ready(step(*state, batch))

  return run


def _naive_step(args) -> Callable[[], None]:
  from flax import linen as nn
  from jax import lax

  from radio_ssl.models import conv, pool

  def max_pool(x):
    return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))

  with (
    mock.patch.object(conv, 'conv', lax.conv_general_dilated),
    mock.patch.object(pool, 'max_pool', max_pool),
  ):
    return _jax_step(args)


def _torch_step(args) -> Callable[[], None]:
  from radio_ssl.bench import torch_step

  device = 'cuda' if args.gpu else 'cpu'
  return torch_step.make(_views(args), device=device, dtype=args.dtype)


def _augmentation(args) -> Callable[[], None]:
  import jax
  import numpy as np

  from radio_ssl.augment import inputs, views
  from radio_ssl.data import examples

  # The default field, in the pixels of FIRST, with room for any rotation.
  side = round(1.5 * 172.8 / 1.8)
  geometry = examples.Geometry(side, side, 'float32', 1.8, 5.4)
  make = views.make_views(
    inputs.Input(size_pix=args.sizes[0]),
    {'global': views.ViewGroup()},
    {'global': 2},
    geometry,
  )
  count = _count(args)
  rng = np.random.default_rng(0)
  batch = {
    'image': rng.normal(size=(count, side, side, 1)).astype(np.float32),
    'background': np.zeros(count, np.float32),
    'rms': np.ones(count, np.float32),
    'row': np.arange(count, dtype=np.int32),
  }
  batch = jax.device_put(batch)
  make = jax.jit(make)
  return lambda: jax.block_until_ready(make(batch, jax.random.key(0)))


def _reading(args) -> Callable[[], None]:
  from radio_ssl.data import pipeline

  batches = pipeline.train_batches(
    pipeline.open_dataset(args.data),
    args.split,
    batch_size=_count(args),
    seed=0,
  )
  return lambda: next(batches)


_KINDS = {
  'ours': _jax_step,
  'naive': _naive_step,
  'torch': _torch_step,
  'augment': _augmentation,
  'read': _reading,
}


def _cpu_seconds() -> float:
  usage = resource.getrusage(resource.RUSAGE_SELF)
  return usage.ru_utime + usage.ru_stime


def _work(args) -> None:
  """Prints the seconds of one step of args.kind, as JSON."""
  from radio_ssl.train import memory

  memory.keep_freed()
  if args.gpu and args.kind != 'torch':
    import jax

    if jax.default_backend() == 'cpu':
      sys.exit('--gpu: JAX finds no GPU here; install jax[cuda12] or leave it.')
  # Threads read ahead: enough steps for that not to matter.
  steps = 50 if args.kind == 'read' else args.steps
  seconds = time.perf_counter if args.gpu else _cpu_seconds
  run = _KINDS[args.kind](args)
  if args.kind != 'naive':
    run()
  run()
  start = seconds()
  for _ in range(steps):
    run()
  print(json.dumps((seconds() - start) / steps))


def _measure(kind: str, size: int, args) -> float:
  """Seconds of one step, in a process of its own."""
  command = [sys.executable, '-m', 'radio_ssl.bench.step', '--kind', kind]
  command += ['--sizes', str(size), '--split', args.split]
  command += ['--steps', str(1 if kind == 'naive' else args.steps)]
  command += ['--data', args.data] if kind == 'read' else []
  command += ['--dtype', args.dtype, *(['--gpu'] if args.gpu else [])]
  names = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')
  alone = dict.fromkeys(names, '1') | {'JAX_PLATFORMS': 'cpu'}
  done = subprocess.run(
    command,
    env=os.environ | ({} if args.gpu else alone),
    preexec_fn=None
    if args.gpu
    else lambda: os.sched_setaffinity(0, {args.core}),
    capture_output=True,
    text=True,
  )
  if done.returncode:
    sys.exit(f'bench.step: {kind} at {size} failed:\n{done.stderr}')
  return json.loads(done.stdout.splitlines()[-1])


def _spread(values: list[float]) -> str:
  middle = statistics.median(values)
  return f'{middle:.3g} ({min(values):.3g}-{max(values):.3g})'


def _row(size: int, kinds: list[str], args) -> str:
  """Measures one image size; repeats alternate between the kinds."""
  runs: dict[str, list[float]] = {kind: [] for kind in kinds}
  for repeat in range(args.repeats):
    for kind in kinds:
      # Many times slower than the rest, and nothing hangs on its digits.
      if kind != 'naive' or repeat == 0:
        runs[kind].append(_measure(kind, size, args))
  ours = statistics.median(runs['ours'])
  images = _BATCH[size] * (_GPU_FACTOR if args.gpu else 1)
  cells = [f'{size}x{size}', str(images)]
  for kind in ('ours', 'torch', 'naive'):
    cells.append(_spread(runs[kind]) if kind in runs else '-')
  for value in ('torch', 'naive'):
    ratio = ours / statistics.median(runs[value]) if value in runs else None
    cells.append('-' if ratio is None else f'{ratio:.2f}')
  for share in ('augment', 'read'):
    part = statistics.median(runs[share]) / ours if share in runs else None
    cells.append('-' if part is None else f'{part:.1%}')
  return '| ' + ' | '.join(cells) + ' |'


def _check_data(parser, args) -> None:
  from radio_ssl.data import pipeline

  try:
    pipeline.open_dataset(args.data).source(args.split)
  except ValueError as error:
    parser.error(str(error))


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  sizes = list(_BATCH)
  parser.add_argument(
    '--sizes', type=int, nargs='+', choices=sizes, default=sizes
  )
  parser.add_argument('--repeats', type=int, default=5, help='runs of each')
  parser.add_argument('--steps', type=int, default=5, help='steps of a run')
  parser.add_argument('--core', type=int, default=0, help='pinned core')
  parser.add_argument(
    '--data', default='', help='folder of a data set; adds the reading share'
  )
  parser.add_argument('--split', default='train', help='of --data')
  parser.add_argument(
    '--skip_naive', action='store_true', help='it takes minutes'
  )
  parser.add_argument(
    '--gpu', action='store_true', help='by the clock, on the GPU'
  )
  dtypes = ('float32', 'bfloat16')
  parser.add_argument(
    '--dtype', choices=dtypes, default='float32', help='of activations'
  )
  parser.add_argument(
    '--kind', choices=list(_KINDS), help='one run, in this process'
  )
  args = parser.parse_args()
  if args.data or args.kind == 'read':
    _check_data(parser, args)
  if args.kind:
    _work(args)
    return
  kinds = ['ours', 'torch', 'augment']
  if not (args.skip_naive or args.gpu):
    kinds.append('naive')
  if args.data:
    kinds.append('read')
  if importlib.util.find_spec('torch') is None:
    print("No PyTorch, so no comparison: pip install 'radio_ssl[bench]'.")
    kinds.remove('torch')
  clock = 'Seconds' if args.gpu else 'CPU seconds'
  where = f'GPU, {args.dtype}' if args.gpu else 'one core, one thread'
  print(f'{clock} of a step, median (least-most), {where}')
  print(
    '| views | images | ours | PyTorch | XLA convolution '
    '| ours / PyTorch | ours / XLA | augmentation | reading |'
  )
  print('|' + ' --- |' * 9)
  for size in args.sizes:
    print(_row(size, kinds, args), flush=True)


if __name__ == '__main__':
  main()
