"""Imports go one way: DESIGN's order of layers, read off the source."""

import ast
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_ORDER = (
  'cli progress data augment models objectives train checkpoints exports '
  'evaluate convert predict hosts start pretrain benchmark bench'
).split()


def _imports(path: pathlib.Path) -> set[str]:
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      found |= {f'{node.module}.{alias.name}' for alias in node.names}
  return found


def _sources(folder: str) -> list[pathlib.Path]:
  return sorted((_ROOT / folder).rglob('*.py'))


@pytest.mark.parametrize(
  'path', _sources('radio_ssl'), ids=lambda p: str(p.relative_to(_ROOT))
)
def test_a_file_imports_its_own_layer_or_an_earlier_one(path):
  own = path.relative_to(_ROOT / 'radio_ssl').parts[0].removesuffix('.py')
  if own in ('__init__', 'testing'):
    return
  for name in _imports(path):
    assert not name.startswith('tfds_builders'), name
    parts = name.split('.')
    if parts[0] == 'radio_ssl' and len(parts) > 1 and parts[1] in _ORDER:
      assert _ORDER.index(parts[1]) <= _ORDER.index(own), name


def test_every_layer_has_a_place_in_the_order():
  layers = {
    p.name.removesuffix('.py')
    for p in (_ROOT / 'radio_ssl').iterdir()
    if not p.name.startswith('_')
  }
  assert layers - {'testing'} <= set(_ORDER)


@pytest.mark.parametrize(
  'path', _sources('tfds_builders'), ids=lambda p: str(p.relative_to(_ROOT))
)
def test_builders_import_the_data_layer_only(path):
  for name in _imports(path):
    if name.startswith('radio_ssl.'):
      assert name.split('.')[1] in ('data', '__version__'), name


def test_builders_never_load_jax():
  code = (
    'import sys; from tfds_builders import build; '
    'assert [build._module(name) for name in build.available()]; '
    'sys.exit("jax" in sys.modules)'
  )
  subprocess.run([sys.executable, '-c', code], check=True, cwd=_ROOT)
