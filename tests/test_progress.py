"""Clocks and the log, first and last step included."""

import json
import types

import pytest

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


def test_speed_counts_from_the_clock(tmp_path, monkeypatch):
  now = iter([10.0, 16.0])
  clock = types.SimpleNamespace(monotonic=lambda: next(now))
  monkeypatch.setattr(progress, 'time', clock)
  log = progress.MetricsLog(tmp_path, first_step=0, num_steps=9)
  log.write(1, {'loss': 1.0})
  log.start_clock(1)
  log.write(4, {'loss': 1.0})
  log.close()
  first, second = _rows(tmp_path / 'metrics.jsonl')
  assert 'seconds_per_step' not in first
  assert second['seconds_per_step'] == 2.0


def test_other_processes_write_nothing(tmp_path):
  log = progress.MetricsLog(tmp_path, first_step=0, num_steps=1, writer=False)
  log.write(1, {'loss': 1.0})
  log.close()
  assert not list(tmp_path.iterdir())
