"""The bench of cutouts cuts what it says, with every contender it has."""

import pytest

from radio_ssl.bench import cutouts


def test_table_has_a_row_of_each_side(capsys):
  cutouts.main(
    [
      '--size_pix',
      '400',
      '--sides',
      '16',
      '32',
      '--number',
      '5',
      '--repeats',
      '1',
    ]
  )
  lines = capsys.readouterr().out.splitlines()
  rows = [line.split('|') for line in lines if line.startswith('| ')]
  assert rows[0][2:5] == [' crops ', ' gridded ', ' cutout2d ']
  assert [row[1] for row in rows[2:]] == [' 16 ', ' 32 ']


def test_contender_that_leaves_cutouts_out_is_refused(tmp_path):
  path = tmp_path / 'mosaic.fits'
  cutouts.write_mosaic(path, 200)
  at = cutouts.positions(path, 3, 16)
  with pytest.raises(RuntimeError, match='made 2 of 3 cutouts'):
    cutouts.measure(lambda *args: 2, path, at, 16)
  assert cutouts.measure(cutouts.crops, path, at, 16) > 0
