"""Several processes give what one gives, and survive the death of one."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

from radio_ssl.data import fits
from tfds_builders.radio_fits import pool


class Target:
  """Sent to the processes."""

  def square(self, number):
    if number == 13:
      os._exit(11)
    return number * number

  def refuse(self, number):
    error = fits.FitsError(f'{number}.fits: bad.', 'damaged')
    if number < 0:
      raise error
    return error

  def who(self, number):
    return os.getpid()


@pytest.mark.parametrize('workers', [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
  with pool.of(Target(), workers) as run:
    pairs = list(run('square', iter(range(9))))
  assert pairs == [(n, n * n) for n in range(9)]


def test_work_is_done_elsewhere():
  with pool.of(Target(), 2) as run:
    pids = {pid for _, pid in run('who', range(4))}
  assert os.getpid() not in pids


def test_item_whose_process_dies_is_told_and_the_others_are_done():
  items = [1, 2, 13, 3, 4, 5, 13, 6]
  with pool.of(Target(), 2) as run:
    pairs = list(run('square', items))
  assert [item for item, _ in pairs] == items
  for item, result in pairs:
    if item == 13:
      assert isinstance(result, pool.Crashed)
    else:
      assert result == item * item


def test_errors_of_fits_travel_with_their_kind():
  with pool.of(Target(), 2) as run:
    ((_, found),) = run('refuse', [7])
    assert (str(found), found.kind) == ('7.fits: bad.', 'damaged')
    with pytest.raises(fits.FitsError, match=r'-1\.fits'):
      list(run('refuse', [-1]))


def test_the_same_processes_do_all_the_work():
  with pool.of(Target(), 2) as run:
    pids = {pid for _ in range(3) for _, pid in run('who', range(8))}
  assert len(pids) <= 2


_PARENT = """
import os, sys
sys.path.insert(0, sys.argv[1])
import test_pool
from tfds_builders.radio_fits import pool
if __name__ == '__main__':
  with pool.of(test_pool.Target(), 2) as run:
    print(*{pid for _, pid in run('who', range(8))}, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_killed_parent_leaves_no_process_behind(tmp_path):
  program = tmp_path / 'parent.py'
  program.write_text(_PARENT)
  folder = str(pathlib.Path(__file__).parent)
  done = subprocess.run(
    [sys.executable, str(program), folder],
    stdout=subprocess.PIPE,
    text=True,
    timeout=60,
  )
  assert done.returncode == -9
  pids = [int(pid) for pid in done.stdout.split()]
  assert pids
  for _ in range(100):
    if not any(pathlib.Path(f'/proc/{pid}').exists() for pid in pids):
      return
    time.sleep(0.1)
  pytest.fail(f'still there: {pids}')


def test_items_are_not_taken_far_ahead():
  taken = []

  def items():
    for number in range(100):
      taken.append(number)
      yield number

  with pool.of(Target(), 2) as run:
    results = run('square', items())
    next(results)
    assert len(taken) <= 5
