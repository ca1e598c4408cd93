"""The program as its users call it, from the first cell to the report."""

import json
import os
import subprocess
import sys

import pytest

_CONFIG = """
import ml_collections

def get_config():
  return ml_collections.ConfigDict({fields!r})
"""


@pytest.fixture
def benchmark(config, tmp_path):
  """Runs the program with flags on one method; (status, output)."""
  del config.methods['byol']
  config.learning_rates, config.seeds = (1e-3,), (0,)
  config.protocol_of_best = {}
  with config.unlocked():
    config.label_sets.spots.test = 'test'
  file = tmp_path / 'tiny.py'
  file.write_text(_CONFIG.format(fields=config.to_dict()))

  def run(*flags):
    done = subprocess.run(
      [
        *(sys.executable, '-m', 'radio_ssl.benchmark', f'--config={file}'),
        *(f'--workdir={tmp_path / "work"}', *flags),
      ],
      capture_output=True,
      text=True,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    )
    return done.returncode, done.stdout + done.stderr

  return run


@pytest.mark.slow
def test_whole_benchmark_runs_reports_and_has_nothing_left(benchmark, tmp_path):
  status, told = benchmark('--dry_run')
  assert status == 0, told
  assert 'pretrain/simclr-small-sky-lr0.001-s0' in told
  assert not (tmp_path / 'work').exists()

  status, told = benchmark('--report')
  assert (status, 'nothing to report' in told) == (1, True)

  status, told = benchmark()
  assert status == 0, told
  report = tmp_path / 'work' / 'report'
  text = (report / 'report.md').read_text()
  # SimCLR and the untrained encoder by both protocols, pixels by both.
  assert 'Of 6 evaluations 6 are finished.' in text
  assert '**spots, linear: test, 10 sources**' in text
  page = (report / 'report.html').read_text()
  # The map and the gallery: of the encoder's checkpoint, so all are read.
  assert 'not drawn' not in page
  assert page.count('data:image/png') > 34
  result = json.loads(
    next(
      tmp_path.glob('work/evaluate/spots-linear/simclr*/results.json')
    ).read_text()
  )
  assert result['overlap']['showing']['train'] == 24

  status, told = benchmark('--status')
  assert (status, '| all | 7 |' in told) == (0, True), told
  before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob('done.json')}
  assert len(before) == 7
  assert benchmark()[0] == 0
  assert before == {p: p.stat().st_mtime_ns for p in before}
