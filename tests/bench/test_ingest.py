import numpy as np
import pytest

from radio_ssl.bench import ingest
from radio_ssl.data import fits


@pytest.mark.parametrize('encoding', ingest.ENCODINGS)
def test_mosaics_are_of_the_named_encoding(tmp_path, encoding):
  path = ingest.write_mosaic(tmp_path, 230, encoding)
  assert list(tmp_path.iterdir()) == [path]
  start = path.read_bytes()[:2880]
  assert start.startswith(b'\x1f\x8b') == (encoding == 'gzip')
  assert (b'BSCALE' in start) == (encoding == 'int16')
  image = fits.read(path)
  assert image.pixels_jy_beam.shape == (230, 230)
  assert np.std(image.pixels_jy_beam) == pytest.approx(1e-4, rel=0.02)
  assert abs(np.mean(image.pixels_jy_beam)) < 1e-5


@pytest.mark.slow
def test_table_has_a_line_for_each_encoding(capsys):
  ingest.main(['--size_pix', '1500', '--encodings', 'float32', 'gzip'])
  lines = capsys.readouterr().out.splitlines()
  assert [line.split()[1] for line in lines[2:]] == ['float32', 'gzip']
  for line in lines[2:]:
    above_mb, seconds = map(float, line.split()[7:10:2])
    assert -50 < above_mb < 500
    assert seconds > 0
