"""Sources of built sets come out as a catalogue that can be read again."""

import numpy as np
import pytest

from radio_ssl import testing
from radio_ssl.data import catalogue, examples
from tfds_builders import sources


@pytest.fixture
def write(tmp_path):
  def of(name, numbers, **known):
    rows = [
      examples.example(
        np.zeros((8, 8), np.uint8),
        name=f'{name}{i}',
        source_file='a.png',
        ra_deg=known.get('ra_deg', 10 + i / 3),
        dec_deg=-5.0,
        source_size_arcsec=20.0 + i if i else None,
      )
      for i in numbers
    ]
    return testing.write(
      tmp_path, {'train': rows[:1], 'test': rows[1:]}, name=name
    )

  return of


def test_catalogue_holds_the_sources_of_all_sets(write, tmp_path, capsys):
  output = tmp_path / 'out.csv'
  folders = [str(write('a', range(4))), str(write('b', range(2)))]
  sources.main([*folders, '--output', str(output)])
  found = catalogue.read(output)
  assert sorted(found.name) == ['a0', 'a1', 'a2', 'a3', 'b0', 'b1']
  order = np.argsort(found.name)
  # Positions keep all digits of a float64.
  expected = [10 + i / 3 for i in (0, 1, 2, 3, 0, 1)]
  np.testing.assert_array_equal(found.ra_deg[order], expected)
  sizes = [np.nan, 21, 22, 23, np.nan, 21]
  np.testing.assert_array_equal(found.source_size_arcsec[order], sizes)
  assert '6 sources' in capsys.readouterr().out


def test_split_is_taken_alone(write, tmp_path):
  output = tmp_path / 'out.csv'
  sources.main(
    [str(write('a', range(4))), '--split', 'test', '--output', str(output)]
  )
  assert sorted(catalogue.read(output).name) == ['a1', 'a2', 'a3']


@pytest.mark.parametrize(
  ('known', 'split', 'told'),
  [
    ({'ra_deg': np.nan}, 'test', 'has no position'),
    ({}, 'valid', "no split 'valid'"),
  ],
)
def test_what_cannot_be_kept_out_is_refused(
  write, tmp_path, capsys, known, split, told
):
  output = tmp_path / 'out.csv'
  with pytest.raises(SystemExit):
    folder = str(write('a', range(3), **known))
    sources.main([folder, '--split', split, '--output', str(output)])
  assert told in capsys.readouterr().err
  assert not output.exists()
