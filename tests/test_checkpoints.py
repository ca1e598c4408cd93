"""A checkpoint is restored whole, or it is refused with a reason."""

import json
import signal
import socket
import subprocess
import sys
import textwrap
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
import tensorstore as ts

from radio_ssl import checkpoints
from radio_ssl.data import manifest
from radio_ssl.train import state as train_state

_META = {'config': {'lr': 0.1, 'range': (0, 1)}}


def _state(step=3, width=4, value=1.0):
  params = {'encoder': {'kernel': jnp.full((2, width), value)}}
  tx = optax.adamw(optax.constant_schedule(0.1), mask={'encoder': True})
  return train_state.TrainState(
    step=jnp.int32(step),
    params=params,
    model_state={'batch_stats': {}},
    opt_state=tx.init(params),
    rng=jax.random.key(step),
    first_nonfinite_step=jnp.int32(-1),
  )


def _plain(tree):
  return jax.tree.map(
    lambda x: (
      jax.random.key_data(x)
      if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
      else x
    ),
    tree,
  )


def _assert_equal(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  jax.tree.map(np.testing.assert_array_equal, _plain(a), _plain(b))


def test_state_and_meta_come_back_equal(tmp_path):
  saved = checkpoints.Checkpoints(tmp_path)
  assert saved.restore(_state()) is None
  saved.save(_state(value=0.5), _META)
  state, meta = saved.restore(_state(step=0))
  _assert_equal(state, _state(value=0.5))
  assert jax.random.uniform(state.rng) == jax.random.uniform(_state().rng)
  assert meta['config'] == {'lr': 0.1, 'range': [0, 1]}


def test_replicated_state_comes_back_equal(tmp_path):
  mesh = jax.sharding.Mesh(np.asarray(jax.local_devices()), ('d',))
  sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  saved = checkpoints.Checkpoints(tmp_path)
  saved.save(jax.device_put(_state(value=2.0), sharding), _META)
  state, _ = saved.restore(_state())
  _assert_equal(state, _state(value=2.0))


def test_newest_ones_are_kept(tmp_path):
  saved = checkpoints.Checkpoints(tmp_path, keep=2)
  for step in (2, 9, 10, 11):
    saved.save(_state(step=step), _META)
  assert sorted(int(p.name) for p in tmp_path.iterdir()) == [10, 11]
  assert int(saved.restore(_state())[0].step) == 11


@pytest.mark.parametrize('keep', [1, 2])
def test_good_steps_stay_however_new_the_damaged_ones_are(tmp_path, keep):
  saved = checkpoints.Checkpoints(tmp_path, keep=4)
  for step in (5, 10, 11, 12):
    saved.save(_state(step=step), _META)
  for step in (10, 11, 12):
    (tmp_path / str(step) / 'meta.json').write_text('{}')
  saved = checkpoints.Checkpoints(tmp_path, keep=keep)
  assert int(saved.restore(_state())[0].step) == 5
  saved.save(_state(step=6), _META)
  assert int(saved.restore(_state())[0].step) == 6
  assert (tmp_path / '5').exists() == (keep == 2)
  assert (tmp_path / '10').exists()


def test_step_below_the_kept_ones_survives_its_own_save(tmp_path):
  saved = checkpoints.Checkpoints(tmp_path, keep=1)
  saved.save(_state(step=9), _META)
  saved.save(_state(step=4), _META)
  assert int(checkpoints.read(tmp_path, 4)[0]['step']) == 4


def test_old_step_goes_after_the_new_one_is_whole(tmp_path, monkeypatch):
  saved = checkpoints.Checkpoints(tmp_path, keep=1)
  saved.save(_state(step=1), _META)
  write = manifest.write

  def write_and_look(folder):
    assert manifest.damage(tmp_path / '1') is None
    write(folder)
    assert manifest.damage(tmp_path / '1') is None

  monkeypatch.setattr(manifest, 'write', write_and_look)
  saved.save(_state(step=2), _META)
  assert [p.name for p in tmp_path.iterdir()] == ['2']


def test_half_deleted_step_is_swept_up(tmp_path):
  (tmp_path / '1.old' / 'state').mkdir(parents=True)
  checkpoints.Checkpoints(tmp_path).save(_state(step=2), _META)
  assert [p.name for p in tmp_path.iterdir()] == ['2']


def test_good_step_is_not_saved_again(tmp_path, caplog):
  saved = checkpoints.Checkpoints(tmp_path)
  saved.save(_state(value=1.0), _META)
  saved.save(_state(value=2.0), _META)
  assert 'not saved again' in caplog.text
  _assert_equal(saved.restore(_state())[0], _state(value=1.0))


def test_meta_that_is_no_json_leaves_nothing_behind(tmp_path):
  with pytest.raises(TypeError, match='JSON'):
    checkpoints.Checkpoints(tmp_path).save(_state(), {'a': object()})
  assert not list(tmp_path.iterdir())


def test_files_are_read_without_this_code(tmp_path):
  checkpoints.Checkpoints(tmp_path).save(_state(value=0.5), _META)
  folder = tmp_path / '3' / 'state'
  with warnings.catch_warnings():
    # Orbax asks for a target to place the arrays on.
    warnings.simplefilter('ignore')
    tree = ocp.PyTreeCheckpointer().restore(folder)
  wanted = np.full((2, 4), 0.5, np.float32)
  np.testing.assert_array_equal(tree['params']['encoder']['kernel'], wanted)
  store = {
    'driver': 'ocdbt',
    'base': f'file://{folder}/',
    'path': 'params.encoder.kernel/',
  }
  array = ts.open({'driver': 'zarr', 'kvstore': store}).result()
  np.testing.assert_array_equal(array.read().result(), wanted)


@pytest.mark.parametrize(
  'path', ['run', 'run/checkpoints', 'run/checkpoints/7'], ids=str
)
def test_evaluators_read_without_a_template(tmp_path, path):
  folder = tmp_path / 'run' / 'checkpoints'
  checkpoints.Checkpoints(folder).save(_state(step=7), _META)
  tree, meta = checkpoints.read(tmp_path / path)
  assert isinstance(tree['params']['encoder']['kernel'], np.ndarray)
  assert int(tree['step']) == 7
  assert meta['format_version'] == checkpoints.FORMAT_VERSION


def test_damaged_step_is_passed_over_for_the_newest_good_one(tmp_path, caplog):
  saved = checkpoints.Checkpoints(tmp_path, keep=3)
  for step in (1, 2, 3):
    saved.save(_state(step=step), _META)
  (tmp_path / '3' / 'SHA256SUMS.json').unlink()
  (tmp_path / '2' / 'meta.json').write_text('{}')
  with caplog.at_level('WARNING'):
    state, _ = saved.restore(_state())
  assert int(state.step) == 1
  assert 'meta.json has 2 bytes' in caplog.text
  assert '3: damaged checkpoint' in caplog.text


def test_damaged_step_can_be_saved_again(tmp_path):
  saved = checkpoints.Checkpoints(tmp_path)
  saved.save(_state(value=1.0), _META)
  (tmp_path / '3' / 'meta.json').unlink()
  saved.save(_state(value=2.0), _META)
  assert manifest.damage(tmp_path / '3') is None
  assert (tmp_path / '3.damaged0').is_dir()
  _assert_equal(saved.restore(_state())[0], _state(value=2.0))


def test_only_damaged_steps_are_an_error_not_a_fresh_start(tmp_path):
  saved = checkpoints.Checkpoints(tmp_path)
  saved.save(_state(), _META)
  (tmp_path / '3' / 'meta.json').unlink()
  with pytest.raises(ValueError, match='every checkpoint is damaged'):
    saved.restore(_state())


def test_kill_during_the_first_save_is_a_fresh_start(tmp_path, caplog):
  saved = checkpoints.Checkpoints(tmp_path)
  saved.save(_state(), _META)
  (tmp_path / '3' / manifest.NAME).unlink()
  assert saved.restore(_state()) is None
  assert 'not written to the end' in caplog.text
  with pytest.raises(ValueError, match='no checkpoint there'):
    checkpoints.read(tmp_path)
  saved.save(_state(value=2.0), _META)
  _assert_equal(saved.restore(_state())[0], _state(value=2.0))


@pytest.mark.parametrize('step', [None, 3])
def test_reading_a_damaged_step_is_refused(tmp_path, step):
  checkpoints.Checkpoints(tmp_path).save(_state(), _META)
  (tmp_path / '3' / 'meta.json').write_text('{}')
  with pytest.raises(ValueError, match='damaged'):
    checkpoints.read(tmp_path, step)


def test_damaged_step_folder_is_named_and_a_missing_step_lists_the_others(
  tmp_path,
):
  checkpoints.Checkpoints(tmp_path).save(_state(), _META)
  with pytest.raises(ValueError, match=r'no step 9; there are: \[3\]'):
    checkpoints.read(tmp_path, 9)
  (tmp_path / '3' / 'meta.json').unlink()
  with pytest.raises(ValueError, match=r'damaged.*meta.json is missing'):
    checkpoints.read(tmp_path / '3')


def test_another_architecture_is_named(tmp_path):
  saved = checkpoints.Checkpoints(tmp_path)
  saved.save(_state(width=4), _META)
  with pytest.raises(
    ValueError,
    match=r'kernel is float32 \(2, 4\), wanted float32 \(2, 8\)\. .*--workdir',
  ):
    saved.restore(_state(width=8))


def test_no_checkpoint_says_what_to_give(tmp_path):
  with pytest.raises(ValueError, match='--workdir of a finished'):
    checkpoints.read(tmp_path / 'nothing')


def test_other_formats_are_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(checkpoints, 'FORMAT_VERSION', 99)
  checkpoints.Checkpoints(tmp_path).save(_state(), _META)
  monkeypatch.undo()
  with pytest.raises(ValueError, match='format 99'):
    checkpoints.read(tmp_path)


def test_differences_name_the_field():
  old = {'a': {'b': 1, 'c': (1, 2)}, 'd': 0}
  new = {'a': {'b': 2, 'c': [1, 2]}, 'e': 0}
  assert checkpoints.differences(old, new) == [
    'a.b: 1 -> 2',
    'd: 0 -> absent',
    'e: absent -> 0',
  ]


def test_a_nan_and_a_whole_float_are_no_differences():
  old = {'a': float('nan'), 'b': 1}
  assert checkpoints.differences(old, {'a': float('nan'), 'b': 1.0}) == []


_SAVER = """
import jax, sys
sys.path.insert(0, {here!r})
from test_checkpoints import _META, _state
from radio_ssl import checkpoints
saved = checkpoints.Checkpoints({folder!r})
for step in range(1, 10**6):
  saved.save(_state(step=step, width=200_000, value=float(step)), _META)
  print(step, flush=True)
"""


@pytest.mark.slow
def test_kill_at_any_moment_leaves_a_good_step(tmp_path, request):
  here = str(request.path.parent)
  for trial in range(8):
    folder = tmp_path / str(trial)
    code = textwrap.dedent(_SAVER).format(here=here, folder=str(folder))
    process = subprocess.Popen(
      [sys.executable, '-c', code], stdout=subprocess.PIPE, text=True
    )
    done = int(process.stdout.readline())
    time.sleep(0.013 * trial)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = max([done, *map(int, process.stdout.read().split())])
    process.stdout.close()
    state, _ = checkpoints.Checkpoints(folder).restore(_state(width=200_000))
    step = int(state.step)
    assert step >= done
    assert (np.asarray(state.params['encoder']['kernel']) == step).all()


_TWO = """
import jax, sys
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.distributed.initialize('127.0.0.1:{port}', 2, int(sys.argv[1]))
sys.path.insert(0, {here!r})
import numpy as np
from test_checkpoints import _META, _assert_equal, _state
from radio_ssl import checkpoints
from radio_ssl.data import manifest
assert jax.device_count() == 4
if jax.process_index():
  # What to restore is decided by process 0, whatever the others see.
  manifest.damage = lambda folder: 'not seen'
saved = checkpoints.Checkpoints({folder!r}, keep=5)
_assert_equal(saved.restore(_state())[0], _state(step=1, value=1.0))
mesh = jax.sharding.Mesh(np.asarray(jax.local_devices()), ('d',))
place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
update = jax.pmap(
  lambda state, _: state.replace(step=state.step + 1),
  axis_name='d', in_axes=(None, 0), out_axes=None,
)
state = jax.device_put(_state(step=1, value=2.0), place)
saved.save(update(state, np.zeros(2)), _META)
saved.save(update(state, np.zeros(2)), _META)
_assert_equal(saved.restore(_state())[0], _state(step=1, value=2.0).replace(
  step=np.int32(2)))
"""


@pytest.mark.slow
def test_two_processes_read_what_one_saved_and_the_reverse(tmp_path, request):
  checkpoints.Checkpoints(tmp_path).save(_state(step=1, value=1.0), _META)
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = probe.getsockname()[1]
  code = _TWO.format(
    port=port, here=str(request.path.parent), folder=str(tmp_path)
  )
  processes = [
    subprocess.Popen([sys.executable, '-c', code, str(i)]) for i in range(2)
  ]
  try:
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
  finally:
    for process in processes:
      process.kill()
      process.wait()
  state, meta = checkpoints.Checkpoints(tmp_path).restore(_state())
  expected = _state(step=1, value=2.0).replace(step=jnp.int32(2))
  _assert_equal(state, expected)
  assert meta['config'] == {'lr': 0.1, 'range': [0, 1]}


def test_meta_on_disk_is_canonical_json(tmp_path):
  checkpoints.Checkpoints(tmp_path).save(_state(), {'b': 1, 'a': (2,)})
  text = (tmp_path / '3' / 'meta.json').read_text()
  assert list(json.loads(text)) == ['a', 'b', 'format_version']
