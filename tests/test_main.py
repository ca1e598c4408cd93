"""What main.py refuses before it builds or writes anything."""

import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[1]


def _refused(config, workdir, *arguments):
  command = [sys.executable, 'main.py', f'--config={config}', *arguments]
  found = subprocess.run(
    [*command, f'--workdir={workdir}'],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    timeout=200,
  )
  assert found.returncode == 1
  assert 'Traceback' not in found.stderr
  return found.stderr.splitlines()[-1]


def test_workdir_that_is_a_file_is_refused(tmp_path):
  file = tmp_path / 'file'
  file.write_text('precious')
  told = _refused('configs/simclr_first.py', file)
  assert told == f'error: {file}: a file; wanted a folder for --workdir.'
  assert file.read_text() == 'precious'


def test_field_that_a_config_file_invents_is_refused(tmp_path):
  config = tmp_path / 'mine.py'
  config.write_text(
    'from configs import simclr_first\n'
    'def get_config():\n'
    '  config = simclr_first.get_config()\n'
    '  config.bacth_size = 64\n'
    '  return config\n'
  )
  assert "no field 'bacth_size'" in _refused(config, tmp_path / 'run')


@pytest.mark.parametrize(
  ('config', 'argument', 'told'),
  [
    ('configs/eval/linear_sim.py', '', 'no field "objective"'),
    ('configs/simclr_first.py', '--config.data.dir=gone', 'gone: no finished'),
    ('configs/simclr_first.py:lion', '', "No optimizer named 'lion'; there"),
    (
      'configs/simclr_first.py',
      '--config.objective.name=moco',
      "No objective named 'moco'; there are: ",
    ),
    (
      'configs/simclr_first.py',
      '--eval=configs/eval/linear_mirabest.py --eval.protocol=svm',
      "No protocol named 'svm'",
    ),
    ('configs/quickstart.py', '--config.data.dir=gone', 'gone: no finished'),
    (
      'configs/quickstart.py',
      '--config.eval_after.protocol=svm',
      "No protocol named 'svm'",
    ),
  ],
)
def test_bad_config_leaves_no_workdir(tmp_path, config, argument, told):
  workdir = tmp_path / 'run'
  assert told in _refused(config, workdir, *argument.split())
  assert not workdir.exists()
