"""Training curves are read to their end, and drawn where there are any."""

import json
import types

import numpy as np
import pytest

from radio_ssl.benchmark.report import curves, figures


def test_training_curve_ends_where_the_run_ended(tmp_path):
  rows = [{'step': step, 'loss': 1 / step} for step in range(1, 2001)]
  rows.append({'step': 2000, 'loss': 7.0, 'effective_rank': float('nan')})
  (tmp_path / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, rows)))
  found = curves.read(tmp_path)
  assert set(found) == {'loss'}
  steps, values = found['loss']
  assert len(steps) <= 300
  # A step that was done again after a restart counts as done last.
  assert (steps[0], steps[-1], values[-1]) == (1, 2000, 7)


def test_broken_metrics_are_named(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('{"step": 1, "loss": 2}\n{"st')
  with pytest.raises(ValueError, match=r'metrics\.jsonl, line 2'):
    curves.read(tmp_path)


def test_pictures_have_a_panel_for_each_curve_that_a_run_has(tmp_path):
  row = types.SimpleNamespace(key=('simclr', 'small', 'sky'))
  style = {row.key: types.SimpleNamespace(colour='red')}
  line = np.arange(3.0), np.ones(3)
  found = {tmp_path: {'loss': line, 'effective_rank': line}}
  figure = figures.training({tmp_path: row}, found, style, 'A title')
  shown = [axes.get_ylabel() for axes in figure.axes]
  assert shown == ['loss', 'effective rank of the features']
  assert all(axes.lines and axes.get_xlabel() == 'step' for axes in figure.axes)
