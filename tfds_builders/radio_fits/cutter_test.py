import pathlib

import numpy as np
import pytest

from radio_ssl.data import catalogue as catalogues
from tfds_builders.radio_fits import cutter, prepare, shapes, testing

survey = testing.survey
MB = 1 << 20


def make(size, sources=None):
  shape = shapes.Tiles(size, size) if sources is None else shapes.Cutouts(size)
  return cutter.Cutter(
    shape, sources, None, prepare.Steps(), {}, False, 'float32'
  )


@pytest.mark.parametrize('size', [32, 150, 512, 1024, 6000])
@pytest.mark.parametrize('across', [0, 1, 7, 300, 5000])
def test_examples_of_a_task_fit_in_memory(size, across):
  rows, columns = range(100), tuple(range(across))
  task = cutter.Task(
    pathlib.Path('a.fits'), 'a', tuple(rows), columns, shared=(1,)
  )
  parts = make(size).parts(task)
  assert not any(part.shared for part in parts)
  found = [(y, part.columns) for part in parts for y in part.wanted]
  if across:
    found = [(y, x) for y, columns_ in found for x in columns_]
    assert sorted(found) == [(y, x) for y in rows for x in columns]
  else:
    assert found == [(y, ()) for y in rows]
  for part in parts:
    held = len(part.wanted) * max(1, len(part.columns))
    assert held == 1 or held * 4 * size**2 <= 16 * MB
    assert held <= 256


def test_first_part_and_the_rest_are_all_tiles(survey, monkeypatch):
  monkeypatch.setattr(cutter, '_EXAMPLES_OF_A_TASK', 5)
  path = pathlib.Path(survey['images'].replace('*', 'a'))
  work = make(16)
  begun = work.begin(cutter.Task(path, 'a', None))
  # 100 x 90 pixels: seven tiles across, six down, five and two in a task.
  assert len(begun.made.examples) == 5
  assert [len(task.columns) for task in begun.rest] == [2] + [5, 2] * 5
  keys = [key for key, _ in begun.made.examples]
  for task in begun.rest:
    made = work.cut(task)
    assert made.report.examples == len(made.examples) == len(task.columns)
    keys += [key for key, _ in made.examples]
  corners = {(x, y) for x in (0, 16, 32, 48, 64, 80, 84) for y in range(0, 91)}
  found = [(int(k[3:8]), int(k[9:14])) for k in keys]
  assert len(set(found)) == len(found) == 42
  assert set(found) <= corners
  assert {y for _, y in found} == {0, 16, 32, 48, 64, 74}


def test_judged_images_tell_noise_or_missing_pixels(survey, tmp_path):
  path = testing.write_catalogue(tmp_path / 'c.csv', testing.SOURCES[:3])
  work = make(20, catalogues.read(path))
  image = pathlib.Path(survey['images'].replace('*', 'b'))
  begun = work.begin(cutter.Task(image, 'b', (), shared=(0, 2)))
  assert not begun.made.examples
  # `first` lies 18 pixels beyond the edge of b.fits.
  assert begun.judged[0] == 'incomplete'
  assert begun.judged[2] == pytest.approx(testing.RMS, rel=0.25)
  assert np.isfinite(begun.statistics.brightest)
