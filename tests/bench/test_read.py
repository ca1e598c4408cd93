"""The bench of reading stores what it says; no time is asserted."""

import os

import numpy as np
import pytest

from radio_ssl.bench import read
from radio_ssl.data import pipeline


def test_table_has_a_row_of_each_variant(capsys, monkeypatch):
  variants = read.DEFAULT, read.Variant('uint8', 'none')
  monkeypatch.setattr(read, 'VARIANTS', variants)
  cores = os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else None
  read.main(
    ['--sizes', '8', '--number', '16', '--rounds', '2', '--seconds', '0']
  )
  lines = capsys.readouterr().out.splitlines()
  cells = [[cell.strip() for cell in row.split('|')[1:-1]] for row in lines]
  wanted = [['8', v.dtype, v.encoding] for v in variants]
  assert [row[:3] for row in cells[2:]] == wanted
  assert cells[2][4] == '1.00 +- 0.00'
  assert all(float(row[n]) > 0 for row in cells[2:] for n in (3, 5, 6))
  if cores is not None:
    assert os.sched_getaffinity(0) == cores


@pytest.mark.parametrize('variant', read.VARIANTS)
def test_variant_is_stored_and_read_as_named(tmp_path, variant):
  rows = read.rows(16, 20)
  written = [read.stored(row, variant.dtype) for row in rows]
  dataset = pipeline.open_dataset(read.build(tmp_path, variant, written))
  feature = dataset._builder.info.features['image']
  assert feature._encoding.value == variant.encoding
  assert dataset.stored_dtype == variant.dtype
  found = {r['name'].decode(): r['image'] for r in dataset.source('train')}
  for before, after in zip(rows, written, strict=True):
    wanted = after if variant.dtype == 'uint8' else before
    np.testing.assert_allclose(
      found[before['name']], wanted['image'], rtol=2**-10, atol=1e-9
    )


def test_pictures_look_like_first():
  pixels = read.picture(128, np.random.default_rng(0)) / read._RMS_JY_BEAM
  median = np.median(pixels)
  spread = 1.4826 * np.median(np.abs(pixels - median))
  assert abs(median) < 0.2 and 0.9 < spread < 1.1
  assert pixels.max() > 5
  neighbours = np.clip(pixels, -3, 3)
  along = np.corrcoef(neighbours[:, 1:].ravel(), neighbours[:, :-1].ravel())
  assert 0.5 < along[0, 1] < 0.9


@pytest.mark.parametrize('flag', ['--number=15', '--rounds=0', '--sizes=0'])
def test_numbers_too_small_to_measure_are_refused(flag, capsys):
  with pytest.raises(SystemExit):
    read.main([flag])
  assert 'wanted --number from 16' in capsys.readouterr().err
