import astropy.coordinates
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


@pytest.mark.parametrize(
  ('frame', 'columns'),
  [
    ('galactic', ('GLON', 'GLAT')),
    ('galactic', ('l', 'b')),
    ('fk4', ('RAB1950', 'DEB1950')),
    ('galactic', ('lon', 'lat')),
    ('fk4', ('RA', 'DEC')),
    ('fk5', ('x', 'y')),
  ],
)
def test_positions_of_another_frame_become_icrs(tmp_path, frame, columns):
  wanted = astropy.coordinates.SkyCoord(
    [10.5, 266.0], [-20.25, -29.0], unit='deg'
  )
  there = wanted.transform_to(frame).represent_as('unitspherical')
  places = dict(zip(columns, (there.lon.deg, there.lat.deg), strict=True))
  path = write(tmp_path / 'a.csv', astropy.table.Table(places))
  settings = {'frame': frame, 'ra_deg': columns[0], 'dec_deg': columns[1]}
  # Names that tell their frame need no more.
  told = columns[0] in ('GLON', 'l', 'RAB1950')
  found = catalogue.read(path, columns=None if told else settings)
  np.testing.assert_allclose(found.ra_deg, [10.5, 266.0], atol=1e-7)
  np.testing.assert_allclose(found.dec_deg, [-20.25, -29.0], atol=1e-7)


def test_right_ascension_wins_over_galactic_columns_beside_it(tmp_path):
  path = write(tmp_path / 'a.csv', table(GLON=[1.0, 2.0], GLAT=[3.0, 4.0]))
  np.testing.assert_array_equal(catalogue.read(path).ra_deg, [10.5, 350.0])


def test_a_unit_is_told_beside_the_name_of_a_column(tmp_path):
  content = table(RAJ2000=[1.0, 2.0], big=[1.0, 2.0], **{'S[int]': [3.0, 4.0]})
  path = write(tmp_path / 'a.csv', content)
  columns = {'ra_deg': 'raj2000[h]', 'source_size_arcsec': 'big[arcmin]'}
  found = catalogue.read(path, columns=columns | {'flux_jy': 'S[int]'})
  np.testing.assert_allclose(found.ra_deg, [15, 30])
  np.testing.assert_allclose(found.source_size_arcsec, [60, 120])
  # That is a name.
  np.testing.assert_allclose(found.flux_jy, [3, 4])
  mistakes = (
    ({'source_size_arcsec': 'big[quux]'}, 'names no unit'),
    ({'source_size_arcsec': 'big[Jy]'}, 'not numbers in a unit of arcsec'),
    ({'source_size_arcsec': 'small[deg]'}, r"no column 'small\[deg\]'"),
    ({'frame': 'ecliptic'}, "no frame 'ecliptic'; there are: galactic"),
  )
  for columns, message in mistakes:
    with pytest.raises(catalogue.CatalogueError, match=message):
      catalogue.read(path, columns=columns)


def test_missing_values_are_unknown_and_names_are_made_unique(tmp_path):
  (tmp_path / 'a.csv').write_text(
    'name,ra,dec,z,size\nx,1,2,,5\nx,3,4,0.5,\n', encoding='utf-8'
  )
  found = catalogue.read(tmp_path / 'a.csv')
  np.testing.assert_array_equal(found.redshift, [np.nan, 0.5])
  np.testing.assert_array_equal(found.source_size_arcsec, [5, np.nan])
  assert found.name.tolist() == ['x', 'x#2']


def test_no_two_names_are_the_same(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text('name,ra,dec\na,1,2\na,2,3\na#2,4,5\na#2,6,7\na,8,9\n')
  found = catalogue.read(path).name.tolist()
  # Each keeps the name that the file gives to it alone or first.
  assert found == ['a', 'a#3', 'a#2', 'a#2#2', 'a#4']


@pytest.mark.parametrize(
  'word', ['nan', 'NaN', 'none', 'None', 'null', 'NULL', 'n/a', 'N/A', '--', '']
)
def test_words_for_no_label_are_none(tmp_path, word):
  path = tmp_path / 'a.csv'
  path.write_text(f'ra,dec,label\n1,2,FRI\n3,4, {word} \n5,6,Nano\n')
  assert catalogue.read(path).label.tolist() == ['FRI', '', 'Nano']


@pytest.mark.parametrize('size', ['inf', '-inf', '-5', '-99', 'nan', ''])
def test_impossible_sizes_are_unknown(tmp_path, size):
  path = tmp_path / 'a.csv'
  path.write_text(f'ra,dec,size\n1,2,{size}\n3,4,0\n')
  found = catalogue.read(path).source_size_arcsec
  np.testing.assert_array_equal(found, [np.nan, 0])


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


@pytest.mark.parametrize('ra', ['-1e-16', '360', '-0.0', '-00:00:00.0000'])
def test_right_ascension_is_never_360(tmp_path, ra):
  (tmp_path / 'a.csv').write_text(f'ra,dec\n{ra},30\n')
  found = catalogue.read(tmp_path / 'a.csv')
  assert found.ra_deg.tolist() == [0]
  assert found.name.tolist() == ['000.000000+30.000000']


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


_VOTABLE = """<?xml version="1.0"?>
<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE>{systems}<TABLE>
<FIELD name="ra" datatype="double" unit="deg" {ref}/>
<FIELD name="dec" datatype="double" unit="deg" {ref}/>
<FIELD name="label" datatype="char" arraysize="*"/>
<DATA><TABLEDATA><TR><TD>{ra}</TD><TD>{dec}</TD><TD>FRI</TD></TR></TABLEDATA>
</DATA></TABLE></RESOURCE></VOTABLE>"""


def votable(path, *systems, ref='', ra=192.25, dec=27.4):
  elements = [f'<COOSYS ID="s{n}" {one}/>' for n, one in enumerate(systems)]
  ref = f'ref="{ref}"' if ref else ''
  text = _VOTABLE.format(systems=''.join(elements), ref=ref, ra=ra, dec=dec)
  path.write_text(text)
  return path


# The north Galactic pole is at 12h49m, +27.4 degrees (B1950), by definition.
_POLE = 192.85948, 27.12825


@pytest.mark.parametrize(
  ('system', 'ra', 'dec'),
  [
    ('system="eq_FK4" equinox="B1950"', 192.25, 27.4),
    ('system="eq_FK4" equinox="1950.0"', 192.25, 27.4),
    ('system="eq_FK4"', 192.25, 27.4),
    ('system="galactic"', 0, 90),
    ('system="ICRS" equinox="2000"', *_POLE),
    ('system="eq_FK5" equinox="J2000"', *_POLE),
    ('system="eq_FK5" equinox="2000"', *_POLE),
  ],
)
@pytest.mark.parametrize('ref', ['', 's0'])
def test_declared_coordinate_systems_are_converted(
  tmp_path, system, ra, dec, ref
):
  path = votable(tmp_path / 'a.vot', system, ref=ref, ra=ra, dec=dec)
  found = catalogue.read(path)
  # E-terms of aberration, which the definition leaves out, are 0.3 arcsec.
  np.testing.assert_allclose(found.ra_deg, _POLE[0], atol=2e-4)
  np.testing.assert_allclose(found.dec_deg, _POLE[1], atol=2e-4)
  assert found.label.tolist() == ['FRI']


def test_the_system_that_the_columns_refer_to_holds(tmp_path):
  systems = 'system="eq_FK4"', 'system="ICRS"'
  found = catalogue.read(votable(tmp_path / 'a.vot', *systems, ref='s1'))
  assert (found.ra_deg[0], found.dec_deg[0]) == (192.25, 27.4)
  found = catalogue.read(votable(tmp_path / 'b.vot', *systems, ref='s0'))
  np.testing.assert_allclose(found.ra_deg, _POLE[0], atol=2e-4)


@pytest.mark.parametrize(
  'systems',
  [
    ['system="ecl_FK5" equinox="J2000"'],
    ['system="ECLIPTIC"'],
    ['system="AZ_EL"'],
    ['system="xy"'],
    ['system="eq_FK4"', 'system="eq_FK5"'],
  ],
)
def test_unknown_coordinate_systems_are_refused(tmp_path, systems):
  path = votable(tmp_path / 'a.vot', *systems)
  said = r"a\.vot: column 'ra' is in no known coordinate system.* to ICRS"
  with pytest.raises(catalogue.CatalogueError, match=said):
    catalogue.read(path)
