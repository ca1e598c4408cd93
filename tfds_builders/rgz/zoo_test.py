import math

import astropy.table
import numpy as np
import pytest

from radio_ssl.data import catalogue as catalogues
from tfds_builders.rgz import samples, zoo


def test_the_catalogue_of_data_release_1_is_read(tmp_path):
  rows = [
    ('RGZ_J000130.2+014816', 0.37578, 1.80451, 0.7, 31.5, 2, 3),
    ('RGZ_J000130.1+014816', 0.37578, 1.80451, 1.0, 31.5, 1, 1),
    ('RGZ_J100000.0-010203', 150.0, -1.03417, 0.65, -99, 9, 10),
  ]
  sources = zoo.read(samples.write_catalogue(tmp_path / 'c.csv', rows))
  assert [s.label for s in sources] == ['2C-3P', '1C-1P', '9C-10P']
  assert [s.consensus_level for s in sources] == [0.7, 1.0, 0.65]
  assert sources[0].name == 'RGZ_J000130.2+014816'
  assert (sources[0].ra_deg, sources[0].dec_deg) == (0.37578, 1.80451)
  assert sources[0].source_size_arcsec == 31.5
  assert math.isnan(sources[2].source_size_arcsec)
  # One place, one image.
  assert sources[1].image == sources[0].image == 'RGZ_J000130.2+014816'
  assert sources[2].image == 'RGZ_J100000.0-010203'


FLAT_2019 = (
  'catalog_id,rgz_name,zooniverse_id,radio.ra,radio.dec,consensus.radio_level,'
  'n,total,radio.max_angular_extent,radio.number_components,radio.number_peaks'
)


@pytest.mark.parametrize('suffix', ['.csv', '.vot', '.fits'])
def test_the_catalogue_of_2019_is_read_in_any_format(tmp_path, suffix):
  path = samples.write_catalogue(
    tmp_path / 'c.csv', samples.rows(3, ('1C-2P', '3C-3P')), FLAT_2019
  )
  if suffix != '.csv':
    table = astropy.table.Table.read(path, format='ascii.csv')
    # VOTable and FITS know neither dots nor units in names by themselves.
    path = path.with_suffix(suffix)
    table['radio.max_angular_extent'].unit = 'arcsec'
    table.write(path, format='votable' if suffix == '.vot' else 'fits')
  sources = zoo.read(path)
  assert [s.label for s in sources] == ['1C-2P', '3C-3P', '1C-2P']
  assert sources[1].ra_deg == pytest.approx(121.1234567, abs=1e-9)
  assert sources[1].consensus_level == pytest.approx(0.9)
  assert sources[1].source_size_arcsec == 20


def test_unusual_columns_are_named_and_missing_ones_told(tmp_path):
  header = 'i,who,q,A,D,L,v,t,S,C,P'
  rows = samples.rows(2)
  path = samples.write_catalogue(tmp_path / 'c.csv', rows, header)
  named = {
    'name': 'who',
    'ra_deg': 'A',
    'dec_deg': 'D',
    'num_components': 'C',
    'num_peaks': 'P',
  }
  sources = zoo.read(path, named)
  assert [s.label for s in sources] == ['1C-1P'] * 2
  assert np.isnan([s.consensus_level for s in sources]).all()
  assert np.isnan([s.source_size_arcsec for s in sources]).all()
  sources = zoo.read(
    path, named | {'consensus_level': 'L', 'source_size_arcsec': 'S'}
  )
  assert sources[0].consensus_level == 0.9
  assert sources[0].source_size_arcsec == 20
  del named['num_peaks']
  with pytest.raises(ValueError, match=r"no column 'num_peaks' among i, who.*"):
    zoo.read(path, named)
  with pytest.raises(
    ValueError, match=r"no column 'X' among .*consensus_level"
  ):
    zoo.read(path, named | {'num_peaks': 'P', 'consensus_level': 'X'})
  with pytest.raises(ValueError, match="no column of ours is called 'peaks'"):
    zoo.read(path, {'peaks': 'P'})


def test_what_is_no_catalogue_is_told_in_one_line(tmp_path):
  with pytest.raises(catalogues.CatalogueError, match='not a readable table'):
    zoo.read(tmp_path / 'none.csv')
  (tmp_path / 'c.fits').write_bytes(b'x' * 5000)
  with pytest.raises(catalogues.CatalogueError, match='not a readable table'):
    zoo.read(tmp_path / 'c.fits')
  path = samples.write_catalogue(
    tmp_path / 'c.csv', [('a', 1, 2, 65, 20, 1, 1)]
  )
  with pytest.raises(ValueError, match=r'row 1 has a consensus level of 65\.0'):
    zoo.read(path)
  rows = [('a', 1, 2, 0.9, 20, 'one', 1)]
  with pytest.raises(ValueError, match="'N_comp' is not numbers"):
    zoo.read(samples.write_catalogue(tmp_path / 'c.csv', rows))


def test_names_become_safe_file_names_of_their_own(tmp_path):
  rows = [
    ('../up/J1', 1, 2, 0.9, 20, 1, 1),
    ('J1', 5, 2, 0.9, 20, 1, 1),
    ('J1', 6, 2, 0.9, 20, 1, 1),
  ]
  sources = zoo.read(samples.write_catalogue(tmp_path / 'c.csv', rows))
  assert [s.image for s in sources] == ['_up_J1', 'J1', 'J1_2']
  assert [s.name for s in sources] == ['../up/J1', 'J1', 'J1#2']
  rows = [('j/1', 1, 2, 0.9, 20, 1, 1), ('J_1', 5, 2, 0.9, 20, 1, 1)]
  with pytest.raises(ValueError, match=r"'J_1' and 'j/1' have one file name"):
    zoo.read(samples.write_catalogue(tmp_path / 'c.csv', rows))


def test_other_classes_are_counted_by_name(tmp_path):
  rows = samples.rows(8, (*zoo.CLASSES, '4C-7P', '1C-4P'))
  rows += [
    ('low', 10, 3, 0.5, 20, 1, 1),
    ('none', 20, 3, -99, 20, 1, 1),
    ('no count', 30, 3, 1, 20, -99, 1),
  ]
  sources = zoo.read(samples.write_catalogue(tmp_path / 'c.csv', rows))
  kept, left_out = zoo.wanted(sources, 0.65)
  assert [s.label for s in kept] == list(zoo.CLASSES)
  assert left_out == {
    'class 0C-1P': 1,
    'class 1C-4P': 1,
    'class 4C-7P': 1,
    'consensus below 0.65': 1,
    'no consensus level': 1,
  }
  kept, left_out = zoo.wanted(sources, None)
  assert len(kept) == 8 and sum(left_out.values()) == 3


def test_stored_sources_come_back(tmp_path):
  rows = [('a,"b', 1 / 3, -2 / 7, 0.9, -99, 2, 3), *samples.rows(2)]
  path = tmp_path / 'c.csv'
  path.write_text(
    'RGZID,RA,Dec,CL,LAE,N_comp,N_peaks\n'
    + ''.join(
      f'"{str(row[0]).replace(chr(34), chr(34) * 2)}",'
      + ','.join(str(value) for value in row[1:])
      + '\n'
      for row in rows
    )
  )
  sources = zoo.read(path)
  zoo.store(tmp_path / 'sources.csv', sources)
  again = zoo.load(tmp_path / 'sources.csv')
  # repr, for NaN differs from itself.
  assert list(map(repr, again)) == list(map(repr, sources))
  (tmp_path / 'sources.csv').write_text('name\nx\n')
  with pytest.raises(ValueError, match=r'not as .*fetch wrote it'):
    zoo.load(tmp_path / 'sources.csv')
