"""Any change of a folder's files is found and named."""

import pathlib
import random

import pytest

from radio_ssl.data import manifest


@pytest.fixture
def folder(tmp_path):
  folder = tmp_path / 'a'
  (folder / 'b').mkdir(parents=True)
  (folder / 'one').write_bytes(bytes(range(200)))
  (folder / 'b' / 'two').write_bytes(b'two')
  (folder / 'b' / 'empty').touch()
  manifest.write(folder)
  assert manifest.damage(folder) is None
  return folder


@pytest.mark.parametrize('name', ['one', 'b/two', manifest.NAME])
def test_any_flipped_bit_is_damage(folder, name):
  file = folder / name
  whole = file.read_bytes()
  generator = random.Random(0)
  for _ in range(100):
    at = generator.randrange(len(whole))
    flipped = bytes([whole[at] ^ 1 << generator.randrange(8)])
    file.write_bytes(whole[:at] + flipped + whole[at + 1 :])
    assert name in manifest.damage(folder) or name == manifest.NAME
  file.write_bytes(whole)
  assert manifest.damage(folder) is None


@pytest.mark.parametrize('name', ['one', 'b/two', 'b/empty', manifest.NAME])
def test_missing_or_truncated_file_is_named(folder, name):
  file = folder / name
  if whole := file.read_bytes():
    file.write_bytes(whole[:-1])
    assert name in manifest.damage(folder)
  file.unlink()
  assert f'{name} is missing' in manifest.damage(folder)


@pytest.mark.parametrize(
  'text', ['', '[]', '{}', 'null', '{"one": 3}', '{"one": [1, 2, 3]}', '\x00']
)
def test_manifest_that_is_none_is_damage(folder, text):
  (folder / manifest.NAME).write_text(text)
  assert manifest.NAME in manifest.damage(folder)


def test_file_that_cannot_be_read_is_damage(folder, monkeypatch):
  def fail(self, *args):
    raise OSError(5, 'Input/output error', str(self))

  monkeypatch.setattr(pathlib.Path, 'open', fail)
  monkeypatch.setattr(
    pathlib.Path, 'read_text', lambda self: '{"one": [200, "0"]}'
  )
  assert 'Input/output error' in manifest.damage(folder)


def test_folder_that_is_no_folder_is_damage(folder):
  assert 'cannot be read' in manifest.damage(folder / 'one')


def test_manifest_comes_last_and_all_at_once(folder, monkeypatch):
  (folder / manifest.NAME).unlink()

  def stop(self, target):
    raise KeyboardInterrupt

  monkeypatch.setattr(pathlib.Path, 'replace', stop)
  with pytest.raises(KeyboardInterrupt):
    manifest.write(folder)
  assert f'{manifest.NAME} is missing' in manifest.damage(folder)
