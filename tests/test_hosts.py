"""The same command on several processes gives the same run."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest
from absl import flags

from radio_ssl import checkpoints, hosts, pretrain, testing
from radio_ssl.data import examples

_ROOT = pathlib.Path(__file__).parents[1]
_SMALL = (
  '--config.input.size_pix=16',
  '--config.input.field_arcsec=36.0',
  '--config.encoder.name=resnet10',
  '--config.encoder.width=0.0625',
  '--config.batch_size=8',
  '--config.num_epochs=2',
  '--config.warmup_epochs=1',
  '--config.log_every=1',
  '--config.save_every=3',
)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  generator = np.random.default_rng(0)
  rows = []
  for i in range(24):
    image = generator.normal(size=(40, 40)).astype(np.float32) * 1e-4
    image[20 + i % 5, 20] += 0.01 * (1 + i)
    rows.append(
      examples.example(
        image,
        name=f's{i}',
        source_file='a.fits',
        ra_deg=i,
        dec_deg=0.0,
        background_jy_beam=0.0,
        rms_jy_beam=1e-4,
      )
    )
  return testing.write(
    tmp_path_factory.mktemp('data'),
    {'train': rows},
    pixel_scale_arcsec=1.8,
    beam_major_arcsec=5.4,
  )


def _start(workdir, data, *extra, devices):
  """One process of main.py."""
  flags_ = f'--xla_force_host_platform_device_count={devices}'
  return subprocess.Popen(
    [
      sys.executable,
      'main.py',
      '--config=configs/simclr_first.py',
      f'--workdir={workdir}',
      f'--config.data.dir={data}',
      *_SMALL,
      *extra,
    ],
    cwd=_ROOT,
    env=os.environ | {'XLA_FLAGS': flags_},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def _start_two(workdir, data, *extra):
  """Two processes of two devices each, on loopback."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = probe.getsockname()[1]
  return [
    _start(
      workdir,
      data,
      f'--coordinator=127.0.0.1:{port}',
      '--num_processes=2',
      f'--process_id={i}',
      *extra,
      devices=2,
    )
    for i in range(2)
  ]


def _end(*processes):
  """Waits; the exit statuses and what was printed."""
  printed = [process.communicate(timeout=400)[0] for process in processes]
  return [process.returncode for process in processes], '\n'.join(printed)


def _losses(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  return {row['step']: row['loss'] for row in rows}


def _assert_same_run(a, b):
  losses_a, losses_b = _losses(a), _losses(b)
  assert list(losses_a) == list(losses_b)
  np.testing.assert_allclose(
    list(losses_a.values()), list(losses_b.values()), rtol=1e-4
  )
  tree_a, tree_b = checkpoints.read(a)[0], checkpoints.read(b)[0]
  for branch in ('params', 'model_state'):
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4),
      tree_a[branch],
      tree_b[branch],
    )


@pytest.fixture(scope='module')
def runs(data, tmp_path_factory):
  """The same run on one process of four devices and on two of two."""
  folder = tmp_path_factory.mktemp('runs')
  one, two = folder / 'one', folder / 'two'
  status, printed = _end(_start(one, data, devices=4))
  assert status == [0], printed
  status, printed = _end(*_start_two(two, data))
  assert status == [0, 0], printed
  return one, two


@pytest.mark.slow
def test_two_processes_equal_one(runs):
  one, two = runs
  _assert_same_run(one, two)


@pytest.mark.slow
@pytest.mark.parametrize('first', ['one', 'two'])
def test_run_goes_on_with_another_number_of_processes(
  runs, data, tmp_path, first
):
  one, two = runs
  workdir = tmp_path / 'run'
  shutil.copytree(one if first == 'one' else two, workdir)
  # As a kill after the save of step 3 leaves it.
  shutil.rmtree(workdir / 'checkpoints' / '6')
  if first == 'one':
    processes = _start_two(workdir, data)
  else:
    processes = [_start(workdir, data, devices=4)]
  status, printed = _end(*processes)
  assert set(status) == {0}, printed
  assert 'Going on after step 3' in printed
  _assert_same_run(one, workdir)


def _wait_for_step(process, step):
  """Reads what the process prints until it has logged `step`."""
  printed = []
  for line in process.stdout:
    printed.append(line)
    found = re.search(r'step (\d+)/', line)
    if found and int(found.group(1)) >= step:
      return
  raise AssertionError(''.join(printed))


@pytest.mark.slow
@pytest.mark.parametrize('count', [1, 2])
def test_sigterm_saves_and_the_same_command_goes_on(data, tmp_path, count):
  long = '--config.num_epochs=4000'
  workdir = tmp_path / 'run'
  processes = (
    [_start(workdir, data, long, devices=2)]
    if count == 1
    else _start_two(workdir, data, long)
  )
  _wait_for_step(processes[0], 2)
  # Any one process: all stop after the same step.
  processes[-1].send_signal(signal.SIGTERM)
  status, printed = _end(*processes)
  assert status == [pretrain.EXIT_INTERRUPTED] * count, printed
  tree, _ = checkpoints.read(workdir)
  stopped = int(tree['step'])
  assert stopped == max(_losses(workdir))
  again = _start(workdir, data, long, devices=2)
  _wait_for_step(again, stopped + 1)
  again.kill()
  again.communicate()
  assert min(s for s in _losses(workdir) if s > stopped) == stopped + 1


@pytest.mark.slow
def test_killed_run_ends_like_an_uninterrupted_one(data, tmp_path):
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  assert _end(_start(whole, data, devices=2))[0] == [0]
  process = _start(killed, data, devices=2)
  _wait_for_step(process, 4)
  process.kill()
  process.communicate()
  time.sleep(0.1)
  assert _end(_start(killed, data, devices=2))[0] == [0]
  assert _losses(killed) == _losses(whole)


@pytest.fixture
def given(monkeypatch):
  """Sets the flags, and records what jax.distributed is told."""
  calls = []
  monkeypatch.setattr(
    jax.distributed, 'initialize', lambda **kwargs: calls.append(kwargs)
  )
  monkeypatch.setattr(jax.config, 'update', lambda *args: None)

  def run(environment=None, **values):
    names = ('coordinator', 'num_processes', 'process_id')
    fake = {n: types.SimpleNamespace(value=values.get(n)) for n in names}
    distributed = values.get('distributed', False)
    fake['distributed'] = types.SimpleNamespace(value=distributed)
    monkeypatch.setattr(flags, 'FLAGS', fake)
    for name, value in (environment or {}).items():
      monkeypatch.setenv(name, value)
    hosts.initialize()
    return calls

  return run


def test_a_run_of_one_process_initialises_nothing(given):
  assert given() == []


def test_flags_given_in_part_are_refused(given):
  with pytest.raises(ValueError, match='--process_id is missing'):
    given(coordinator='h:1', num_processes=2)


def test_distributed_leaves_everything_to_jax(given):
  (call,) = given(distributed=True)
  assert set(call.values()) == {None}


def test_pod_whose_processes_know_nothing_of_each_other_is_refused(
  given, monkeypatch
):
  monkeypatch.setattr(jax, 'process_count', lambda: 4)
  with pytest.raises(ValueError, match='4 processes: give --distributed'):
    given()
  monkeypatch.setattr(jax.distributed, 'is_initialized', lambda: True)
  assert len(given(distributed=True)) == 1


def test_flags_reach_jax(given):
  (call,) = given(coordinator='h:1', num_processes=2, process_id=1)
  assert call == {
    'coordinator_address': 'h:1',
    'num_processes': 2,
    'process_id': 1,
  }


@pytest.mark.parametrize(
  ('environment', 'joins'),
  [
    ({'SLURM_STEP_NUM_TASKS': '4', 'SLURM_PROCID': '0'}, 1),
    ({'SLURM_NTASKS': '4', 'SLURM_PROCID': '0'}, 0),
    ({'SLURM_STEP_NUM_TASKS': '1', 'SLURM_PROCID': '0'}, 0),
    ({'OMPI_COMM_WORLD_SIZE': '2', 'OMPI_COMM_WORLD_RANK': '1'}, 1),
    ({'TPU_WORKER_HOSTNAMES': 'a,b'}, 1),
    ({'TPU_WORKER_HOSTNAMES': 'a'}, 0),
  ],
)
def test_launchers_are_recognised(given, environment, joins):
  assert len(given(environment)) == joins
