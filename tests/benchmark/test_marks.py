"""No cell is run twice at a time, and no kill leaves half a mark."""

import signal
import subprocess
import sys

import pytest

from radio_ssl.benchmark import marks

_HOLD = """
import pathlib, sys, time
from radio_ssl.benchmark import marks
with marks.lock(pathlib.Path(sys.argv[1])):
  print('held', flush=True)
  time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
  with subprocess.Popen(
    [sys.executable, '-c', _HOLD, tmp_path / 'cell'],
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    assert process.stdout.readline() == 'held\n'
    yield process
    process.kill()


def test_cell_of_another_process_is_refused_and_its_owner_named(
  holder, tmp_path
):
  with pytest.raises(marks.Locked, match=f'process {holder.pid} on'):
    with marks.lock(tmp_path / 'cell'):
      pass
  assert f'process {holder.pid} on' in marks.owner(tmp_path / 'cell')


def test_killed_process_holds_nothing(holder, tmp_path):
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  assert marks.owner(tmp_path / 'cell') is None
  with marks.lock(tmp_path / 'cell'):
    pass


def test_looking_leaves_the_lock_free(tmp_path):
  assert marks.owner(tmp_path / 'cell') is None
  with marks.lock(tmp_path / 'cell'):
    pass
  assert marks.owner(tmp_path / 'cell') is None


def test_mark_is_read_as_it_was_written(tmp_path):
  path = tmp_path / 'cell' / 'done.json'
  assert marks.read(path) is None
  marks.write(path, {'seconds': 1.5})
  assert marks.read(path) == {'seconds': 1.5}
  assert [file.name for file in path.parent.iterdir()] == ['done.json']


@pytest.mark.parametrize('text', ['{"seconds":', '[1]'])
def test_mark_that_is_none_is_named(tmp_path, text):
  path = tmp_path / 'done.json'
  path.write_text(text)
  with pytest.raises(ValueError, match=r'done\.json: .*Remove the file'):
    marks.read(path)


def test_last_line_is_the_last_one_with_words(tmp_path):
  log = tmp_path / 'log.txt'
  assert marks.last_line(log) == ''
  log.write_text('x' * 9000 + '\nerror: no memory\n\n  \n')
  assert marks.last_line(log) == 'error: no memory'
