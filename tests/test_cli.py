"""Programs tell what was wrong with their flags and input in one line."""

import subprocess
import sys

import pytest

_PROGRAM = """
from absl import flags
from ml_collections import config_flags
from radio_ssl import cli
config = config_flags.DEFINE_config_file('config', None, 'A config.')
where = flags.DEFINE_string('where', None, 'A folder.')
def main():
  if config.value.lr == 13:
    raise ValueError('a.fits: 13 brings\\n  bad luck.')
  if config.value.lr == 14:
    raise KeyError('a fault of ours')
  print(config.value.lr, config.value.sizes, config.value.name)
  print(config.value.views['global'].size, config.value.views.local.size)
  return int(config.value.lr or 0)
if __name__ == '__main__':
  cli.run(main, required=('config', 'where'))
"""

_CONFIG = """
import ml_collections
def get_config():
  return ml_collections.ConfigDict({
    'lr': 3.0, 'sizes': (1, 2), 'name': 'x',
    'views': {'global': {'size': 1}, 'local': {'size': 2}},
  })
"""


@pytest.fixture
def call(tmp_path):
  (tmp_path / 'program.py').write_text(_PROGRAM)
  (tmp_path / 'config.py').write_text(_CONFIG)

  def run(*arguments, config='config.py', where='--where=here'):
    given = [a for a in (f'--config={config}', where) if a]
    return subprocess.run(
      [sys.executable, 'program.py', *given, *arguments],
      cwd=tmp_path,
      env={'PYTHONPATH': ':'.join(sys.path)},
      capture_output=True,
      text=True,
      timeout=120,
    )

  return run


def test_result_of_main_is_the_exit_status(call):
  assert call().returncode == 3
  good = call('--config.lr=0')
  assert (good.returncode, good.stderr) == (0, '')


def test_fields_take_values_tuples_and_none(call):
  found = call('--config.lr=none', '--config.sizes=(5,)', '--config.name=a b')
  assert found.stdout == 'None (5,) a b\n1 2\n'


@pytest.mark.parametrize('name', ['.global', '["global"]'])
def test_fields_that_are_keywords_take_values(call, name):
  found = call(f'--config.views{name}.size=7', '--config.name=a.global')
  assert found.stdout == '3.0 (1, 2) a.global\n7 2\n'


@pytest.mark.parametrize(
  ('arguments', 'told'),
  [
    (['--config.lr=13'], 'error: a.fits: 13 brings bad luck.'),
    (['--config.views.global.sise=1'], 'Did you mean "size"'),
    (['--config.rl=1'], '--config.rl=1: no such field'),
    (
      ['--config.views.locall.size=1'],
      '--config.views.locall.size=1: no such field. Did you mean "local"',
    ),
    (['--config.lrr=1'], 'Did you mean "lr"'),
    (['--config.lr=fast'], '--config.lr=fast'),
    (['--config.lr'], 'config.lr'),
    (['--were=there'], "'were'"),
    (['there'], "Unknown argument 'there'"),
  ],
)
def test_bad_flags_and_input_end_in_one_line(call, arguments, told):
  found = call(*arguments)
  assert found.returncode == 1
  assert found.stdout == ''
  assert found.stderr.startswith('error: ')
  assert found.stderr.count('\n') == 1
  assert told in found.stderr


def test_missing_flag_and_config_are_named(call):
  for found, told in (
    (call(where=None), '--where'),
    (call(config='gone.py'), 'gone.py'),
  ):
    assert found.returncode == 1
    assert found.stderr.count('\n') == 1
    assert told in found.stderr


def test_faults_of_the_program_keep_their_traceback(call):
  found = call('--config.lr=14')
  assert found.returncode == 1
  assert 'Traceback' in found.stderr
  assert 'a fault of ours' in found.stderr


def test_help_names_the_flags(call):
  found = call('--help', config='config.py')
  assert '--where' in found.stdout
