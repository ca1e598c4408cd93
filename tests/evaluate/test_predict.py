"""Predictions are those of the evaluator, in tables that astronomers open."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from astropy import table
from astropy.io import fits as astropy_fits
from astropy.io import votable as vo
from pyarrow import parquet

from radio_ssl.convert import export
from radio_ssl.data import catalogue, examples, fits, pipeline
from radio_ssl.evaluate import features
from radio_ssl.predict import __main__ as program
from radio_ssl.predict import classes, cutting, files, probes
from tfds_builders.radio_fits import testing as survey


def test_predictions_are_the_evaluators(probed, simclr_run, dataset, tmp_path):
  folder, result = probed
  shared = export.export(simclr_run, tmp_path / 'shared')
  for checkpoint in (simclr_run, shared):
    found = classes.predict(checkpoint, probes.read(folder), dataset, 'test')
    rows = {row['name']: row for row in found}
    assert len(rows) == 10
    for wanted in result['test']['predictions']:
      row = rows[wanted['name']]
      np.testing.assert_allclose(
        [row['p_one'], row['p_two']], wanted['probabilities'], rtol=1e-5
      )
      assert row['class'] == ('one', 'two')[np.argmax(wanted['probabilities'])]


def _unlabelled(write_dataset, make_rows, **known):
  """The same sky without labels: a gap in one image, nothing in another."""
  rows = list(make_rows(4, first=100, **known))
  for row in rows:
    del row['label']
  # Inside the 36 arcsec that the encoder is shown, and outside.
  rows[1]['image'][10:12] = np.nan
  rows[3]['image'][:10] = np.nan
  rows[2]['image'][:] = 1e-4 * np.random.default_rng(0).normal(size=(40, 40, 1))
  return write_dataset(
    {'train': rows}, pixel_scale_arcsec=1.8, beam_major_arcsec=5.4
  )


def test_unlabelled_sources_get_classes_and_flags(
  probed, simclr_run, write_dataset, make_rows
):
  directory = _unlabelled(write_dataset, make_rows)
  found = classes.predict(
    simclr_run,
    probes.read(probed[0]),
    pipeline.open_dataset(directory),
    with_features=True,
  )
  flags = dict(zip(found['name'], found['flags'], strict=True))
  assert flags == {
    's100': 'none', 's101': 'missing', 's102': 'faint', 's103': 'none'
  }  # fmt: skip
  missing = dict(zip(found['name'], found['missing'], strict=True))
  assert missing == pytest.approx(
    {name: 0.1 * (name == 's101') for name in flags}
  )
  assert found['features'].shape == (4, 32)
  np.testing.assert_allclose(found['p_one'] + found['p_two'], 1, rtol=1e-5)


def test_a_hole_at_the_source_is_told_from_one_beside_it(
  probed, simclr_run, write_dataset, make_rows
):
  sizes = [np.nan, np.nan, 20.0]
  rows = list(make_rows(3, first=0, source_size_arcsec=sizes))
  # Of 40 pixels; a beam is 3, half of the size is 5.6.
  rows[0]['image'][17, 20] = np.nan
  rows[1]['image'][15, 20] = np.nan
  rows[2]['image'][15, 20] = np.nan
  directory = write_dataset(
    {'train': rows},
    label_names=('one', 'two'),
    pixel_scale_arcsec=1.8,
    beam_major_arcsec=5.4,
  )
  assert _flags_of(simclr_run, probed[0], directory) == {
    's0': 'missing missing_centre',
    's1': 'missing',
    's2': 'missing missing_centre',
  }


def _flags_of(simclr_run, folder, directory):
  found = classes.predict(
    simclr_run, probes.read(folder), pipeline.open_dataset(directory)
  )
  return dict(zip(found['name'], found['flags'], strict=True))


def test_images_unlike_those_of_the_training_are_flagged(
  probed, simclr_run, write_dataset, make_rows, caplog
):
  # The encoder was trained on a beam of 5.4 arcsec, and pixels of 1.8.
  rows = list(
    make_rows(5, first=0, beam_major_arcsec=[4.2, 4.4, 6.4, 6.6, np.nan])
  )
  for row in rows:
    del row['label']
  directory = write_dataset({'train': rows}, pixel_scale_arcsec=2.1)
  assert _flags_of(simclr_run, probed[0], directory) == {
    's0': 'beam',
    's1': 'none',
    's2': 'none',
    's3': 'beam',
    's4': 'none',
  }
  assert "'beam' is not raised for 1 of 5 sources: beam_major" in caplog.text
  assert "'pixels' is" not in caplog.text


@pytest.mark.parametrize(
  ('scale', 'beam', 'flags'),
  [(2.2, 5.4, 'pixels'), (1.0, 5.4, 'none'), (2.2, 6.6, 'beam pixels')],
)
def test_what_all_images_share_is_compared_too(
  probed, simclr_run, write_dataset, make_rows, scale, beam, flags
):
  rows = list(make_rows(2, first=0))
  directory = write_dataset(
    {'train': rows},
    label_names=('one', 'two'),
    pixel_scale_arcsec=scale,
    beam_major_arcsec=beam,
  )
  found = _flags_of(simclr_run, probed[0], directory)
  assert set(found.values()) == {flags}


_KINDS = [*files.FORMATS]


def _read(path):
  if path.suffix != '.parquet':
    back = table.Table.read(path)
    # What is empty comes back as masked.
    for name, column in back.columns.items():
      if isinstance(column, table.MaskedColumn):
        # A column of a CSV that is all empty comes back as integers.
        text = [''] * len(back) if column.dtype.kind == 'i' else None
        nothing = np.nan if column.dtype.kind == 'f' else ''
        back[name] = text or column.filled(nothing)
    return back
  # astropy writes it by pyarrow alone, and reads it by pandas.
  stored = parquet.read_table(path)
  back = table.Table(stored.to_pydict())
  told = stored.schema.metadata[b'table_meta_yaml'].decode()
  for name in ('ra_deg', 'dec_deg'):
    assert f'- name: {name}\n  unit: deg\n  datatype: float64\n' in told
    back[name].unit = 'deg'
  return back


@pytest.mark.parametrize('kind', _KINDS)
def test_program_writes_every_kind_of_table(
  probed, simclr_run, dataset, tmp_path, capsys, kind
):
  output = tmp_path / 'new' / f'out{kind}'
  arguments = ['--checkpoint', str(simclr_run), '--probe', str(probed[0])]
  arguments += ['--data', str(dataset.directory), '--split', 'test']
  if kind != '.csv':
    arguments.append('--features')
  assert program.main([*arguments, '--output', str(output)]) == 0
  assert '10 sources: ' in capsys.readouterr().out
  back = _read(output)
  assert sorted(back['name'].astype(str)) == [f's{i}' for i in range(100, 110)]
  assert back['ra_deg'].min() == 100
  if kind != '.csv':
    assert back['ra_deg'].unit == 'deg'
    wanted = classes.predict(
      simclr_run, probes.read(probed[0]), dataset, 'test', with_features=True
    )
    np.testing.assert_array_equal(back['features'], wanted['features'])


def _catalogue(tmp_path, names, ra_deg):
  path = tmp_path / 'sources.csv'
  lines = (f'{n},{ra},0' for n, ra in zip(names, ra_deg, strict=True))
  path.write_text('\n'.join(['name,ra_deg,dec_deg', *lines]) + '\n')
  return catalogue.read(path)


@pytest.mark.parametrize('kind', _KINDS)
def test_every_source_of_the_catalogue_has_a_row(
  probed, simclr_run, dataset, tmp_path, kind
):
  found = classes.predict(
    simclr_run,
    probes.read(probed[0]),
    dataset,
    'test',
    with_features=kind != '.csv',
  )
  names = [*reversed([f's{i}' for i in range(100, 110)])]
  names.insert(3, 'a source with a long name')
  ra_deg = [float(n[1:]) if n[1:].isdigit() else 7.5 for n in names]
  sources = _catalogue(tmp_path, names, ra_deg)
  output = tmp_path / f'out{kind}'
  files.write(classes.in_order_of(found, sources), output)
  back = _read(output)
  assert list(back['name'].astype(str)) == names
  assert list(back['ra_deg']) == ra_deg
  for row in back:
    blank = row['name'] == names[3]
    assert (row['class'] == '') == blank
    assert np.isnan(row['p_one']) == blank
    assert (row['flags'] == 'no_image') == blank
    if kind != '.csv':
      assert np.isnan(row['features']).all() == blank
  # The numbers went with the names.
  rows = {row['name']: row for row in found}
  for row in back:
    if row['name'] != names[3]:
      assert float(row['p_one']) == pytest.approx(rows[row['name']]['p_one'])


def test_names_that_fits_cannot_hold_are_named(
  probed, simclr_run, write_dataset, make_rows, tmp_path, capsys
):
  rows = list(make_rows(2, first=0))
  rows[1]['name'] = 'Sgr A★'
  directory = write_dataset(
    {'train': rows},
    label_names=('one', 'two'),
    pixel_scale_arcsec=1.8,
    beam_major_arcsec=5.4,
  )
  arguments = ['--checkpoint', str(simclr_run), '--probe', str(probed[0])]
  arguments += ['--data', str(directory), '--output']
  assert program.main([*arguments, str(tmp_path / 'a.fits')]) == 1
  assert "holds 'Sgr A★', and FITS tables" in capsys.readouterr().err
  assert program.main([*arguments, str(tmp_path / 'a.vot')]) == 0
  assert 'Sgr A★' in _read(tmp_path / 'a.vot')['name']


def test_images_of_another_catalogue_are_refused(
  probed, simclr_run, dataset, tmp_path
):
  found = classes.predict(simclr_run, probes.read(probed[0]), dataset, 'test')
  sources = _catalogue(tmp_path, ['s100', 'x'], [100.0, 1.0])
  with pytest.raises(ValueError, match=r"sources\.csv: has no source 's101'"):
    classes.in_order_of(found, sources)


def test_what_the_build_of_a_data_set_left_out_is_told(
  probed, simclr_run, write_dataset, make_rows, tmp_path, capsys
):
  directory = _unlabelled(write_dataset, make_rows)
  report = {'summary': '4 examples of 1 images; left out: 2 sources'}
  (directory / 'ingest_report.json').write_text(json.dumps(report))
  arguments = ['--checkpoint', str(simclr_run), '--probe', str(probed[0])]
  arguments += ['--data', str(directory), '--output', str(tmp_path / 'a.vot')]
  assert program.main(arguments) == 0
  told = capsys.readouterr().out
  assert 'flags: 1 faint, 1 missing\n' in told
  assert f'{directory}/ingest_report.json: {report["summary"]}\n' in told


def test_sources_of_fits_files_are_classified(
  probed, simclr_run, tmp_path, capsys, real_data
):
  images = sorted((real_data / 'mirabest_fits').glob('*.fits.fz'))[:3]
  rows = ['name,ra_deg,dec_deg']
  for path in images:
    shutil.copy(path, tmp_path)
    place = path.name.split('_')[1]
    ra, dec = place[:7], place[7:]
    rows.append(f'{path.name[:11]},{ra},{dec}')
  rows[0] = 'object,ra_deg,dec_deg'
  rows.insert(2, 'elsewhere,10,-80')
  (tmp_path / 'sources.csv').write_text('\n'.join(rows) + '\n')
  arguments = ['--checkpoint', str(simclr_run), '--probe', str(probed[0])]
  arguments += ['--images', str(tmp_path / '*.fits.fz')]
  arguments += ['--catalogue', str(tmp_path / 'sources.csv')]
  arguments += ['--output', str(tmp_path / 'out.vot'), '--']
  arguments += ['--columns', 'name=object']
  assert program.main([*arguments, '--beam_arcsec', '5.4']) == 0
  told = capsys.readouterr().out
  assert '4 sources: ' in told
  assert ' 1 no_image' in told
  back = table.Table.read(tmp_path / 'out.vot')
  assert list(back['name']) == [row.split(',')[0] for row in rows[1:]]
  assert list(back['flags'] == 'no_image') == [False, True, False, False]
  assert (back['peak_snr'] > 5).sum() == 3
  # Without the beam the builder says what it lacks.
  assert program.main(arguments) == 1
  assert 'The cutouts were not made' in capsys.readouterr().err


def _survey(tmp_path, **distances_arcsec):
  """An image, and a catalogue of places so far inside its right-hand edge."""
  tmp_path.mkdir(exist_ok=True)
  path = survey.write_field(tmp_path / 'images' / 'a.fits', 150.0)
  wcs = fits.header(path).wcs
  rows = ['name,ra,dec']
  for name, distance in distances_arcsec.items():
    # 100 pixels of 1.8 arcsec; the noise is there, whatever the place.
    ra, dec = fits.pixel_to_sky(wcs, 99.5 - distance / 1.8, 45.0)
    rows.append(f'{name},{ra},{dec}')
  (tmp_path / 'sources.csv').write_text('\n'.join(rows) + '\n')
  return [
    *('--images', str(tmp_path / 'images' / '*.fits')),
    *('--catalogue', str(tmp_path / 'sources.csv')),
  ]


def _run(simclr_run, folder, arguments, output):
  told = ['--checkpoint', str(simclr_run), '--probe', str(folder)]
  return program.main([*told, *arguments, '--output', str(output)])


def test_an_image_is_judged_by_the_field_that_the_encoder_sees(
  probed, simclr_run, tmp_path
):
  # Its field reaches 18 arcsec from the source, the cutout 135.
  arguments = _survey(tmp_path, whole=19, sliver=16, half=0.5, off=-30)
  assert _run(simclr_run, probed[0], arguments, tmp_path / 'a.ecsv') == 0
  back = table.Table.read(tmp_path / 'a.ecsv')
  flags = [words.replace('faint', '').strip() for words in back['flags']]
  assert flags == ['none', 'missing', 'incomplete', 'no_image']
  assert back['missing'][0] == 0 < back['missing'][1] < 0.1
  assert back['image'][:2].tolist() == ['a.fits', 'a.fits']
  assert (back['rms_jy_beam'][:2] > 5e-5).all()


def test_a_catalogue_without_any_image_gives_a_table(
  probed, simclr_run, tmp_path, capsys
):
  arguments = _survey(tmp_path, beyond=-30, cut=0.5)
  arguments += ['--output', str(tmp_path / 'b.vot')]
  assert _run(simclr_run, probed[0], arguments, tmp_path / 'a.vot') == 0
  assert '2 sources: no class; flags: 1 inc' in capsys.readouterr().out
  back = table.Table.read(tmp_path / 'a.vot')
  assert back['flags'].tolist() == ['no_image', 'incomplete']
  assert np.isnan(np.ma.filled(back['p_one'], np.nan)).all()
  # Other errors stay errors.
  bad = [*arguments, '--', '--max_missing', '7']
  assert _run(simclr_run, probed[0], bad, tmp_path / 'a.vot') == 1


@pytest.mark.parametrize(
  ('given', 'field', 'sizes'),
  [
    ([], 36.0, {'size_pix': '150', 'missing_field_arcsec': '36'}),
    ([], 290.0, {'size_pix': '162', 'missing_field_arcsec': '290'}),
    # 150 pixels to the rounding of the header.
    ([], 270.00000001, {'size_pix': '150', 'missing_field_arcsec': '270'}),
    (
      ['--pixel_scale_arcsec=1'],
      172.8,
      {'size_pix': '173', 'missing_field_arcsec': '172.8'},
    ),
    (['--size_pix', '98'], 172.8, {'missing_field_arcsec': '172.8'}),
    (['--field_arcsec', '200'], 172.8, {'missing_field_arcsec': '172.8'}),
    (['--missing_field_arcsec', '9'], 36.0, {'size_pix': '150'}),
    ([], None, {}),
  ],
)
def test_cutouts_hold_the_field_of_the_encoder(tmp_path, given, field, sizes):
  _survey(tmp_path)
  (tmp_path / 'images' / '0.fits').write_text('no FITS')
  found = cutting._sizes(
    str(tmp_path / 'images' / '*.fits'), field, cutting._parsed(given)
  )
  names = [name.removeprefix('--') for name in found[::2]]
  assert dict(zip(names, found[1::2], strict=True)) == sizes


_ANY_LENGTH = """
import pathlib
from astropy import table
from radio_ssl.predict import files
for length in range(200, 300):
  row = table.Table({'name': ['x' * length]})
  files.write(row, pathlib.Path(f'{length}.vot'))
assert table.Table.read('299.vot')['name'][0] == 'x' * 299
"""


def test_no_row_is_written_beyond_its_buffer(tmp_path):
  done = subprocess.run(
    [sys.executable, '-c', _ANY_LENGTH],
    cwd=tmp_path,
    # Looks at what is written behind each block of memory.
    env=os.environ | {'PYTHONMALLOC': 'debug'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-500:]


def test_tables_tell_what_their_columns_are_and_what_made_them(
  probed, simclr_run, dataset, tmp_path
):
  arguments = ['--data', str(dataset.directory), '--split', 'test']
  for kind in ('.fits', '.vot', '.ecsv', '.parquet'):
    assert _run(simclr_run, probed[0], arguments, tmp_path / f'a{kind}') == 0
  digest = hashlib.sha256((probed[0] / 'results.json').read_bytes()).hexdigest()
  head = astropy_fits.getheader(tmp_path / 'a.fits', 1)
  comment = ''.join(map(str, head['COMMENT']))
  ucds = {head[f'TTYPE{i}']: head.get(f'TUCD{i}') for i in range(1, 11)}
  assert ucds['ra_deg'] == 'pos.eq.ra;meta.main'
  assert head['TCOMM5'] == 'that it is one'
  votable = vo.parse(tmp_path / 'a.vot').get_first_table()
  field = next(f for f in votable.fields if f.name == 'p_one')
  assert (field.ucd, field.description) == (
    'stat.probability',
    'that it is one',
  )
  written = table.Table.read(tmp_path / 'a.ecsv')
  assert written['rms_jy_beam'].unit == 'Jy/beam'
  for text in (comment, votable.description, written.meta['description']):
    assert digest in text
    assert 'python -m radio_ssl.predict --checkpoint' in text


def test_a_table_in_fits_holds_the_names_of_any_files(
  probed, simclr_run, tmp_path
):
  arguments = _survey(tmp_path / 'données', whole=19, off=-30)
  output = tmp_path / 'a.fits'
  assert _run(simclr_run, probed[0], [*arguments, '--features'], output) == 0
  comment = ''.join(map(str, astropy_fits.getheader(output, 1)['COMMENT']))
  assert 'donn\\xe9es/images' in comment


def test_options_of_the_cutting_are_read_as_the_builder_reads_them(tmp_path):
  cube = astropy_fits.PrimaryHDU(np.zeros((2, 40, 40), np.float32))
  head = astropy_fits.getheader(survey.write_field(tmp_path / 'a.fits', 150.0))
  cube.header.update({k: head[k] for k in head if k[:5] in ('CTYPE', 'CRVAL')})
  cube.header.update({'CDELT1': -0.0001, 'CDELT2': 0.0001, 'CTYPE3': 'FREQ'})
  cube.writeto(tmp_path / 'cube.fits')
  given = cutting._parsed(['--channel', '1', '--columns', 'name=a, ra_deg=b'])
  # Pixels of 0.36 arcsec.
  sizes = cutting._sizes(str(tmp_path / 'cube.fits'), 172.8, given)
  assert sizes[-2:] == ['--size_pix', '480']
  assert cutting.columns(['--columns', 'name=a, ra_deg=b']) == {
    'name': 'a',
    'ra_deg': 'b',
  }
  with pytest.raises(ValueError, match=r"invalid int value: 'big' \(after"):
    cutting.columns(['--size_pix', 'big'])


def test_probe_of_another_encoder_is_refused(probed, byol_run, dataset):
  with pytest.raises(ValueError, match='fitted to another encoder'):
    classes.predict(byol_run, probes.read(probed[0]), dataset, 'test')


def test_what_is_no_probe_is_refused(probed, simclr_run, tmp_path, capsys):
  folder, result = tmp_path / 'eval', probed[1]
  folder.mkdir()
  for content in ('nothing', '{}', json.dumps(result | {'baseline': {}})):
    (folder / 'results.json').write_text(content)
    with pytest.raises(ValueError, match='no probe in it'):
      probes.read(folder)
  with pytest.raises(ValueError, match='no probe in it'):
    probes.read(tmp_path / 'gone')
  arguments = ['--checkpoint', str(simclr_run), '--probe', str(folder)]
  for more in (
    ['--output', 'a.txt', '--data', 'x'],
    ['--output', 'a.vot'],
    ['--output', 'a.vot', '--images', 'x'],
    ['--output', 'a.vot', '--data', 'x', '--catalogue', 'y'],
    ['--output', 'a.csv', '--data', 'x', '--features'],
    ['--output', 'a.vot', '--data', 'x', '--', '--max_missing', '0.3'],
    ['--output', 'a.vot', '--data', 'x', 'a.fits'],
  ):
    assert program.main([*arguments, *more]) == 1
    assert capsys.readouterr().err.startswith('error: ')


def test_pictures_have_no_brightness(write_dataset):
  picture = examples.example(
    np.full((40, 40), 7, np.uint8),
    name='a',
    source_file='a.png',
    ra_deg=0.0,
    dec_deg=0.0,
  )
  dataset = pipeline.open_dataset(write_dataset({'train': [picture]}))
  found = features.tabulate(
    dataset, 'train', lambda batch: np.zeros((64, 1)), labelled=False
  )
  assert np.isnan(found.columns['peak_snr']).all()
