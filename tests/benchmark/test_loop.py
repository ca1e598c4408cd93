"""The runner goes on, tries again, waits and stops as it should."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from radio_ssl.benchmark import loop, marks, plan, states

# Does what a cell does to its folder: finish, fail or die.
_CELL = """
import json, pathlib, sys, time
workdir, how, *names = sys.argv[1:]
for name in names:
  folder = pathlib.Path(workdir, name)
  with open(pathlib.Path(workdir, 'begun'), 'a') as file:
    print(name, file=file)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'log.txt').write_text('about to fail')
  if how != 'done' and 'byol' in name and 'lr0.01' in name:
    if how == 'fail':
      mark = {'why': 'no room', 'diverged': False}
      (folder / 'failed.json').write_text(json.dumps(mark))
      continue
    if how == 'die':
      sys.exit(9)
    if how == 'hang':
      time.sleep(60)
  results = {'cross_validation': {'scores': {'accuracy': 0.5}}}
  (folder / 'results.json').write_text(json.dumps(results))
  mark = {'seconds': 1.0, 'resumed': False}
  (folder / 'done.json').write_text(json.dumps(mark))
"""


@pytest.fixture
def go(config, tmp_path):
  """Runs the loop on cells that end as told; (status, begun cells)."""

  def go(how, shard=(1, 1)):
    (tmp_path / 'begun').write_text('')

    def command(names):
      return [sys.executable, '-ISc', _CELL, str(tmp_path), how, *names]

    status = loop.run(config, tmp_path, shard, command=command, pause_s=0.05)
    return status, (tmp_path / 'begun').read_text().split()

  return go


def test_all_cells_are_run_once_and_never_again(go, config, tmp_path):
  status, begun = go('done')
  assert status == 0
  names = [it.cell.name for it in states.look(config, tmp_path)]
  assert sorted(begun) == sorted(names)
  assert {it.state for it in states.look(config, tmp_path)} == {'done'}
  assert go('done') == (0, [])


def test_encoder_is_made_before_it_is_evaluated(go):
  _, begun = go('done')
  for name in begun:
    kind, _, encoder = name.rpartition('/')
    if kind != 'pretrain' and 'sky' in name:
      assert begun.index(f'pretrain/{encoder}') < begun.index(name)


@pytest.mark.parametrize(
  ('how', 'why'),
  [('fail', 'no room'), ('die', 'exit status 9: about to fail')],
)
def test_failed_cell_is_told_and_tried_again_by_the_same_command(
  go, config, tmp_path, caplog, how, why
):
  status, begun = go(how)
  assert status == 1
  failed = plan.tried(config, 'byol', 'small', 1e-2).name
  assert begun.count(failed) == 1
  found = {it.cell.name: it for it in states.look(config, tmp_path)}
  assert (found[failed].state, found[failed].why) == ('failed', why)
  assert why in caplog.text
  # All that does not need it has been done.
  assert found[plan.tried(config, 'simclr', 'small', 1e-2).name].state == 'done'
  status, begun = go('done')
  assert status == 0
  assert begun[0] == failed


def test_sigterm_ends_the_cell_and_the_runner(go, config, tmp_path):
  failed = plan.tried(config, 'byol', 'small', 1e-2).name

  def stop_when_it_hangs():
    while failed not in (tmp_path / 'begun').read_text():
      time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)

  (tmp_path / 'begun').write_text('')
  thread = threading.Thread(target=stop_when_it_hangs)
  thread.start()
  begun = time.monotonic()
  status, _ = go('hang')
  thread.join()
  assert status == 75
  assert time.monotonic() - begun < 50
  # No failure of the cell: it begins anew.
  found = {it.cell.name: it.state for it in states.look(config, tmp_path)}
  assert found[failed] == 'ready'


def test_shard_leaves_what_waits_for_others_and_says_so(go):
  status, first = go('done', (1, 2))
  assert status == 75
  second = go('done', (2, 2))[1]
  assert not set(first) & set(second)
  assert go('done', (1, 2))[1]
  while 75 in [go('done', (i, 2))[0] for i in (1, 2)]:
    pass
  assert go('done') == (0, [])


def test_shard_waits_while_another_runs_what_it_needs(go, config, tmp_path):
  mine = states.share(states.look(config, tmp_path), (1, 1))
  assert mine
  cell = plan.tried(config, 'byol', 'small', 1e-2)
  code = (
    'import pathlib, sys, time\n'
    'from radio_ssl.benchmark import marks\n'
    'folder = pathlib.Path(sys.argv[1])\n'
    'with marks.lock(folder):\n'
    "  print('held', flush=True)\n"
    '  time.sleep(3)\n'
    "  marks.write(folder / marks.DONE, {'seconds': 3.0, 'resumed': False})\n"
  )
  with subprocess.Popen(
    [sys.executable, '-c', code, tmp_path / cell.name],
    stdout=subprocess.PIPE,
    text=True,
  ) as other:
    assert other.stdout.readline() == 'held\n'
    status, begun = go('done')
  assert status == 0
  assert cell.name not in begun
  assert marks.read(tmp_path / cell.name / marks.DONE)['seconds'] == 3
