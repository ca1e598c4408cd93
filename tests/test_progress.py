"""Clocks and the log, first and last step included."""

import json
import struct
import sys
import types

import pytest
from tensorboardX.proto import event_pb2

from radio_ssl import progress


@pytest.mark.parametrize(
  ('every', 'last', 'fires'),
  [
    (1, 3, [1, 2, 3]),
    (2, 5, [2, 4, 5]),
    (2, 4, [2, 4]),
    (10, 3, [3]),
    (0, 4, [4]),
    (3, 1, [1]),
  ],
)
def test_clock_fires_at(every, last, fires):
  steps = range(1, last + 1)
  assert [s for s in steps if progress.due(s, every, last)] == fires


@pytest.mark.parametrize(
  ('seconds', 'text'),
  [(0, '0:00'), (59.6, '1:00'), (3599, '59:59'), (3661, '1:01:01')],
)
def test_duration_reads(seconds, text):
  assert progress.duration(seconds) == text


def _rows(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_of_steps_that_are_done_again_are_dropped(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  whole = ''.join(json.dumps({'step': s, 'old': 1.0}) + '\n' for s in (1, 2, 3))
  path.write_text(whole + '{"step": 4, "lo')
  log = progress.MetricsLog(tmp_path, first_step=2, num_steps=5)
  log.write(3, {'loss': 0.5, 'feature_std': float('nan')})
  log.close()
  assert [row['step'] for row in _rows(path)] == [1, 2, 3]
  assert _rows(path)[-1] == {'step': 3, 'loss': 0.5}


def test_speed_and_eta_count_from_the_clock(tmp_path, monkeypatch, caplog):
  now = iter([10.0, 16.0])
  clock = types.SimpleNamespace(monotonic=lambda: next(now))
  monkeypatch.setattr(progress, 'time', clock)
  log = progress.MetricsLog(tmp_path, first_step=0, num_steps=9)
  log.write(1, {'loss': 1.0})
  log.start_clock(1)
  with caplog.at_level('INFO', logger='radio_ssl'):
    log.write(4, {'loss': 1.0})
  log.close()
  first, second = _rows(tmp_path / 'metrics.jsonl')
  assert 'seconds_per_step' not in first
  assert second['seconds_per_step'] == 2.0
  # Five steps of 2 s are left.
  assert caplog.messages == ['step 4/9  ETA 0:10  loss 1']


def _events(folder):
  """(tag, step, value) of every scalar in TensorBoard's files."""
  for path in sorted(folder.iterdir()):
    data = path.read_bytes()
    while data:
      # Length, its checksum, the event, its checksum.
      (length,) = struct.unpack_from('<Q', data)
      event = event_pb2.Event.FromString(data[12 : 12 + length])
      data = data[16 + length :]
      for value in event.summary.value:
        yield value.tag, event.step, value.simple_value


def test_tensorboard_gets_the_same_numbers(tmp_path):
  log = progress.MetricsLog(tmp_path, first_step=0, num_steps=2)
  log.write(1, {'loss': 0.5, 'feature_std': float('nan')})
  log.write(2, {'loss': 0.25})
  log.close()
  found = list(_events(tmp_path / 'tensorboard'))
  assert found == [('loss', 1, 0.5), ('loss', 2, 0.25)]


def test_without_tensorboard_the_rows_are_written(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  log = progress.MetricsLog(tmp_path, first_step=0, num_steps=1)
  log.write(1, {'loss': 0.5})
  log.close()
  assert [path.name for path in tmp_path.iterdir()] == ['metrics.jsonl']


def test_other_processes_write_nothing(tmp_path):
  log = progress.MetricsLog(tmp_path, first_step=0, num_steps=1, writer=False)
  log.write(1, {'loss': 1.0})
  log.close()
  assert not list(tmp_path.iterdir())
