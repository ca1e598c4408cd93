import astropy.table
import astropy.units as u
import numpy as np
import pytest

from radio_ssl.data import catalogue


def table(**columns):
  values = {'RAJ2000': [10.5, 350.0], 'DEJ2000': [-20.25, 89.5]} | columns
  return astropy.table.Table(
    {key: value for key, value in values.items() if value is not None}
  )


def write(path, content=None):
  content = table() if content is None else content
  formats = {'.csv': 'ascii.csv', '.xml': 'votable', '.ecsv': 'ascii.ecsv'}
  content.write(path, format=formats.get(path.suffix))
  return path


@pytest.mark.parametrize('name', ['a.csv', 'a.xml', 'a.fits', 'a.ecsv'])
def test_every_format_gives_the_same_sources(tmp_path, name):
  content = table(Size=[30.0, 60.0], Class=['FRI', 'FRII'], Source=['a', 'b'])
  found = catalogue.read(write(tmp_path / name, content))
  np.testing.assert_array_equal(found.ra_deg, [10.5, 350.0])
  np.testing.assert_array_equal(found.dec_deg, [-20.25, 89.5])
  np.testing.assert_array_equal(found.source_size_arcsec, [30, 60])
  assert found.label.tolist() == ['FRI', 'FRII']
  assert found.name.tolist() == ['a', 'b']
  assert np.isnan(found.redshift).all() and np.isnan(found.flux_jy).all()


def test_declared_units_are_converted(tmp_path):
  content = table(
    RAJ2000=[1.0, 2.0] * u.hourangle, LAS=[1.0, 2.0] * u.arcmin,
    Total_flux=[3.0, 4.0] * u.mJy,
  )  # fmt: skip
  found = catalogue.read(write(tmp_path / 'a.ecsv', content))
  np.testing.assert_allclose(found.ra_deg, [15, 30])
  np.testing.assert_allclose(found.source_size_arcsec, [60, 120])
  np.testing.assert_allclose(found.flux_jy, [0.003, 0.004])


def test_sexagesimal_positions_are_read(tmp_path):
  content = table(RAJ2000=['01:00:00', '23:20:00'], DEJ2000=['-10:30:00'] * 2)
  found = catalogue.read(write(tmp_path / 'a.csv', content))
  np.testing.assert_allclose(found.ra_deg, [15, 350])
  np.testing.assert_allclose(found.dec_deg, [-10.5, -10.5])


def test_unusual_columns_are_named(tmp_path):
  content = table(Morph=['x', 'y'])
  path = write(tmp_path / 'a.csv', content)
  assert catalogue.read(path).label is None
  found = catalogue.read(path, columns={'label': 'morph'})
  assert found.label.tolist() == ['x', 'y']
  with pytest.raises(catalogue.CatalogueError, match=r"a\.csv: no column 'M'"):
    catalogue.read(path, columns={'label': 'M'})
  with pytest.raises(catalogue.CatalogueError, match="is called 'colour'"):
    catalogue.read(path, columns={'colour': 'M'})


def test_missing_values_are_unknown_and_names_are_made_unique(tmp_path):
  (tmp_path / 'a.csv').write_text(
    'name,ra,dec,z,size\nx,1,2,,5\nx,3,4,0.5,\n', encoding='utf-8'
  )
  found = catalogue.read(tmp_path / 'a.csv')
  np.testing.assert_array_equal(found.redshift, [np.nan, 0.5])
  np.testing.assert_array_equal(found.source_size_arcsec, [5, np.nan])
  assert found.name.tolist() == ['x', 'x#2']


def test_sources_without_a_name_are_called_by_their_position(tmp_path):
  found = catalogue.read(write(tmp_path / 'a.csv'))
  assert found.name.tolist() == ['010.500000-20.250000', '350.000000+89.500000']


def test_rows_are_taken_from_every_column(tmp_path):
  found = catalogue.read(write(tmp_path / 'a.csv', table(label=['p', 'q'])))
  second = found.take(np.array([False, True]))
  assert len(second) == 1
  assert second.label.tolist() == ['q'] and second.ra_deg.tolist() == [350]


def test_right_ascension_comes_back_from_zero_to_360(tmp_path):
  found = catalogue.read(write(tmp_path / 'a.csv', table(RAJ2000=[-10, 370])))
  np.testing.assert_allclose(found.ra_deg, [350, 10])


def test_bad_catalogues_are_refused_in_one_line(tmp_path):
  cases = {
    'no rows': write(tmp_path / 'empty.csv', table()[:0]),
    "no column 'dec_deg' among RAJ2000": write(
      tmp_path / 'dec.csv', table(DEJ2000=None)
    ),
    'row 2 is at RA 350.0, Dec 95.0': write(
      tmp_path / 'range.csv', table(DEJ2000=[0, 95])
    ),
    "'size' is not numbers": write(
      tmp_path / 'text.csv', table(size=['big', 'small'])
    ),
    'do not read as sexagesimal': write(
      tmp_path / 'sex.csv', table(RAJ2000=['a', 'b'])
    ),
    'no such file': tmp_path / 'none.csv',
  }
  (tmp_path / 'foreign.fits').write_bytes(b'nothing')
  cases['not a readable table'] = tmp_path / 'foreign.fits'
  (tmp_path / 'blank.csv').write_text('')
  cases['blank'] = tmp_path / 'blank.csv'
  for message, path in cases.items():
    with pytest.raises(catalogue.CatalogueError) as caught:
      catalogue.read(path)
    text = str(caught.value)
    assert message in text and str(path) in text and '\n' not in text


def test_decimal_degrees_as_text_are_degrees(tmp_path):
  content = table(RAJ2000=['10.5', ' 350'], DEJ2000=['-20.25', '+89.5'])
  found = catalogue.read(write(tmp_path / 'a.fits', content))
  np.testing.assert_allclose(found.ra_deg, [10.5, 350])
  np.testing.assert_allclose(found.dec_deg, [-20.25, 89.5])


def test_blank_cells_of_whole_numbers_and_spaces_are_blank(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text('id,ra,dec,class\n,150.1,30,1\n3,150.2,30,\n4,150.3,30, 2 \n')
  found = catalogue.read(path)
  assert found.name.tolist() == ['', '3', '4']
  assert found.label.tolist() == ['1', '', '2']
