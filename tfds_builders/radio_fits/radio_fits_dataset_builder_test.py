import json
import pathlib

import astropy.io.fits
import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl.data import catalogue as catalogues
from radio_ssl.data import fits
from tfds_builders import build
from tfds_builders.radio_fits import assemble, convert, cutter, shapes
from tfds_builders.radio_fits import report as reports

RMS = 1e-4
# (name, RA, Dec, size, class): two fields, the third source in both.
SOURCES = [
  ('first', 150.002, 30.001, 20.0, 'FRI'),
  ('second', 149.99, 29.99, np.nan, 'FRII'),
  ('shared', 149.975, 30.0, 12.0, 'FRI'),
  ('far', 10.0, -10.0, 12.0, 'FRI'),
]


def write_field(path, ra, **cards):
  """A field of 100 x 90 pixels of 1.8 arcsec with Gaussians of 50 mJy."""
  header = astropy.io.fits.Header(
    [
      ('CTYPE1', 'RA---SIN'),
      ('CTYPE2', 'DEC--SIN'),
      ('CRVAL1', ra),
      ('CRVAL2', 30.0),
      ('CRPIX1', 50.0),
      ('CRPIX2', 45.0),
      ('CDELT1', -0.0005),
      ('CDELT2', 0.0005),
      ('RADESYS', 'ICRS'),
      ('BUNIT', 'Jy/beam'),
      ('BMAJ', 0.0015),
      ('BMIN', 0.0015),
    ]
  )
  header.update(cards)
  wcs = astropy.wcs.WCS(header)
  pixels = np.random.default_rng(int(ra * 1e3)).normal(0, RMS, (90, 100))
  y, x = np.mgrid[:90, :100]
  for _, source_ra, source_dec, _, _ in SOURCES[:3]:
    x0, y0 = fits.sky_to_pixel(wcs, source_ra, source_dec)
    r2 = (x - x0) ** 2 + (y - y0) ** 2
    pixels += 0.05 * np.exp(-r2 / (2 * (3 / 2.3548) ** 2))
  path.parent.mkdir(exist_ok=True)
  data = pixels.astype(np.float32)
  astropy.io.fits.PrimaryHDU(data, header).writeto(path)
  return path


def write_catalogue(path, rows):
  lines = ['name,ra,dec,size,class'] + [','.join(map(str, r)) for r in rows]
  path.write_text('\n'.join(lines).replace('nan', '') + '\n')
  return str(path)


@pytest.fixture
def survey(tmp_path):
  """Options of a small survey: two overlapping fields and a catalogue."""
  write_field(tmp_path / 'images' / 'a.fits', 150.0)
  write_field(tmp_path / 'images' / 'b.fits', 149.965)
  return {
    'images': str(tmp_path / 'images' / '*.fits'),
    'name': 'survey',
    'data_dir': tmp_path / 'data',
  }


def read(directory):
  builder = tfds.builder_from_directory(directory)
  examples = {e['name'].decode(): e for e in builder.as_data_source('train')}
  return examples, builder.info.metadata


def test_tiles_are_stored_under_their_name_with_sky_and_noise(survey):
  directory = build.build('radio_fits', size_pix=40, **survey)
  assert directory == survey['data_dir'] / 'survey' / 'tiles' / '1.0.0'
  examples, metadata = read(directory)
  # Corners 0 20 40 50 by 0 20 40 60 in each of the two fields.
  assert len(examples) == 2 * 16
  assert metadata['pixel_scale_arcsec'] == 1.8
  assert metadata['beam_major_arcsec'] == 5.4
  tile = examples['a.fits#x00060y00020']
  assert tile['image'].shape == (40, 40, 1)
  assert tile['source_file'] == b'a.fits'
  image = fits.read(survey['images'].replace('*', 'a'))
  np.testing.assert_array_equal(
    tile['image'][..., 0], image.pixels_jy_beam[20:60, 60:100]
  )
  where = fits.sky_to_pixel(image.wcs, tile['ra_deg'], tile['dec_deg'])
  np.testing.assert_allclose(where, (79.5, 39.5), atol=1e-6)
  assert tile['rms_jy_beam'] == pytest.approx(RMS, rel=0.1)
  assert abs(tile['background_jy_beam']) < 0.1 * RMS


def test_cutouts_come_from_the_most_central_image_with_their_catalogue(
  survey, tmp_path
):
  beside = ('beside', 150.0, 30.03, 12.0, 'FRI')
  path = write_catalogue(tmp_path / 'c.csv', [*SOURCES, beside])
  directory = build.build(
    'radio_fits',
    config='cutouts',
    catalogue=path,
    columns={'label': 'class'},
    labelled=True,
    size_pix=21,
    overlap='central',
    **survey,
  )
  examples, metadata = read(directory)
  assert sorted(examples) == ['first', 'second', 'shared']
  assert metadata['outside'] == 2
  names = tfds.builder_from_directory(directory).info.features['label'].names
  assert names == ['FRI', 'FRII']
  assert examples['second']['label'] == 1
  assert np.isnan(examples['second']['source_size_arcsec'])
  assert examples['shared']['source_size_arcsec'] == 12
  # It lies 7 pixels from the edge in a.fits, 32 in b.fits.
  assert examples['shared']['source_file'] == b'b.fits'
  assert examples['first']['source_file'] == b'a.fits'
  for example in examples.values():
    pixels = example['image'][..., 0]
    assert np.unravel_index(np.nanargmax(pixels), (21, 21)) == (10, 10)
    assert pixels.max() == pytest.approx(0.05, rel=0.02)
    assert example['flux_jy'] == pytest.approx(0.05, rel=0.05)


def test_a_field_of_so_many_source_sizes_is_resized(survey, tmp_path):
  path = write_catalogue(tmp_path / 'c.csv', SOURCES)
  settings = survey | {'config': 'cutouts', 'catalogue': path}
  directory = build.build(
    'radio_fits',
    size_pix=32,
    source_factor=2.5,
    min_field_arcsec=40,
    **settings,
  )
  examples, metadata = read(directory)
  assert examples['first']['pixel_scale_arcsec'] == np.float32(50 / 32)
  assert examples['shared']['pixel_scale_arcsec'] == np.float32(40 / 32)
  assert metadata['unsized'] == 1
  assert metadata['pixel_scale_arcsec'] is None
  assert metadata['beam_major_arcsec'] == 5.4


def test_pixels_larger_than_half_the_beam_need_the_flag(survey, tmp_path):
  path = write_catalogue(tmp_path / 'c.csv', SOURCES)
  settings = survey | {
    'config': 'cutouts',
    'catalogue': path,
    'size_pix': 10,
    'field_arcsec': 30.0,
  }
  with pytest.raises(ValueError, match=r'3 arcsec, larger than half .* to 12'):
    build.build('radio_fits', **settings)
  build.build('radio_fits', allow_coarse_pixels=True, **settings)


def test_no_image_holds_an_excluded_source(survey, tmp_path):
  path = write_catalogue(tmp_path / 'c.csv', SOURCES)
  held_out = write_catalogue(tmp_path / 'x.csv', SOURCES[:1])
  settings = survey | {'exclude': held_out}
  directory = build.build(
    'radio_fits', config='cutouts', catalogue=path, size_pix=16, **settings
  )
  examples, metadata = read(directory)
  # `second` is 37 arcsec east and 40 south of `first`, and 14 + 30 is enough.
  assert sorted(examples) == ['second', 'shared']
  assert metadata['excluded'] == 1
  directory = build.build('radio_fits', size_pix=20, **settings)
  examples, metadata = read(directory)
  everything = len(examples) + metadata['excluded']
  assert 0 < metadata['excluded'] < everything
  sky = [(e['ra_deg'], e['dec_deg']) for e in examples.values()]
  ra, dec = np.array(sky).T
  dx = np.abs((ra - 150.002) * np.cos(np.radians(30))) * 3600
  dy = np.abs(dec - 30.001) * 3600
  beyond = np.hypot(np.maximum(dx - 18, 0), np.maximum(dy - 18, 0))
  assert beyond.min() > 30 - 1e-3


def test_sources_without_a_label_are_left_out_and_counted(survey, tmp_path):
  rows = [
    (*row[:4], label)
    for row, label in zip(SOURCES[:3], ('b', 'a', ' '), strict=True)
  ]
  path = write_catalogue(tmp_path / 'c.csv', rows)
  directory = build.build(
    'radio_fits',
    config='cutouts',
    catalogue=path,
    labelled=True,
    size_pix=16,
    **survey,
  )
  examples, metadata = read(directory)
  names = tfds.builder_from_directory(directory).info.features['label'].names
  assert names == ['a', 'b']
  assert {n: names[e['label']] for n, e in examples.items()} == {
    rows[0][0]: 'b',
    rows[1][0]: 'a',
  }
  assert metadata['unlabelled'] == 1
  write_catalogue(tmp_path / 'c.csv', [(*row[:4], '') for row in rows])
  with pytest.raises(ValueError, match='no label column, or an empty one'):
    build.build(
      'radio_fits',
      config='cutouts',
      catalogue=path,
      labelled=True,
      overwrite=True,
      size_pix=16,
      **survey,
    )


def test_columns_of_the_exclusion_can_be_named(survey, tmp_path):
  held_out = tmp_path / 'x.csv'
  held_out.write_text('where,how_far_up\n150.002,30.001\n')
  settings = survey | {'exclude': str(held_out), 'size_pix': 20}
  with pytest.raises(ValueError, match=r'--exclude_columns (ra|dec)_deg=NAME'):
    build.build('radio_fits', **settings)
  columns = {'ra_deg': 'where', 'dec_deg': 'how_far_up'}
  directory = build.build('radio_fits', exclude_columns=columns, **settings)
  _, metadata = read(directory)
  assert metadata['excluded'] > 0
  assert metadata['excluded_unsized'] == 1


def test_sources_are_found_in_a_map_of_the_whole_sky(tmp_path):
  header = astropy.io.fits.Header(
    {'CTYPE1': 'RA---CAR', 'CTYPE2': 'DEC--CAR', 'CRVAL1': 180.0, 'CRVAL2': 0.0}
  )
  header.update(CRPIX1=180.5, CRPIX2=90.5, CDELT1=-1.0, CDELT2=1.0)
  header.update(BUNIT='Jy/beam', BMAJ=3.0)
  pixels = np.random.default_rng(0).normal(size=(180, 360)).astype(np.float32)
  path = tmp_path / 'sky.fits'
  astropy.io.fits.PrimaryHDU(pixels, header).writeto(path)
  sources = catalogues.read(
    write_catalogue(tmp_path / 'c.csv', [('s', 20.0, 0.0, 1.0, 'a')])
  )
  found = list(assemble.inside(fits.header(path), sources))
  assert [source for source, _ in found] == [0]


def test_a_bad_file_stops_the_build_or_is_listed_with_its_reason(survey):
  folder = pathlib.Path(survey['images']).parent
  (folder / 'c.fits').write_text('no image')
  write_field(folder / 'd.fits', 150.1, BUNIT='K')
  with pytest.raises(ValueError, match=r'c\.fits: not a whole'):
    build.build('radio_fits', size_pix=40, **survey)
  assert not (survey['data_dir'] / 'survey' / 'tiles' / '1.0.0').exists()
  directory = build.build('radio_fits', size_pix=40, skip_bad=True, **survey)
  examples, metadata = read(directory)
  assert len(examples) == 32
  report = json.loads((directory / 'ingest_report.json').read_text())
  skipped = {
    name: file['reason']
    for name, file in report['files'].items()
    if file['status'] == 'rejected'
  }
  assert skipped == metadata['skipped']
  assert list(skipped) == ['c.fits', 'd.fits']
  assert "BUNIT is 'K'" in skipped['d.fits']
  kinds = [report['files'][name]['kind'] for name in skipped]
  assert kinds == ['damaged', 'unit']
  assert '2 bad files (1 damaged, 1 unit)' in report['summary']
  assert metadata['images'] == 2


def test_a_beam_must_be_known(survey):
  folder = pathlib.Path(survey['images']).parent
  with astropy.io.fits.open(folder / 'a.fits', mode='update') as hdus:
    del hdus[0].header['BMAJ']
  with pytest.raises(ValueError, match=r'a\.fits: no beam.*--beam_arcsec'):
    build.build('radio_fits', size_pix=40, **survey)
  directory = build.build('radio_fits', size_pix=40, beam_arcsec=6.0, **survey)
  _, metadata = read(directory)
  assert metadata['beam_major_arcsec'] == 6
  assert metadata['options']['beam_arcsec'] == 6


def test_a_source_is_cut_from_the_next_image_where_the_best_is_blank(
  survey, tmp_path
):
  folder = pathlib.Path(survey['images']).parent
  with astropy.io.fits.open(folder / 'b.fits', mode='update') as hdus:
    hdus[0].data[:, 25:] = np.nan
  rows = [('shared', 149.975, 30.0, 12.0, 'FRI')]
  report = reports.Report()
  sources = catalogues.read(write_catalogue(tmp_path / 'c.csv', rows))
  ((_, example),) = convert.convert(
    sorted(folder.glob('*.fits')),
    shapes.Cutouts(size_pix=11),
    catalogue=sources,
    report=report,
  )
  assert example['source_file'] == 'a.fits'
  assert report.missing == 0


@pytest.mark.parametrize('noisier', ['a', 'b'])
def test_shared_source_is_cut_where_the_noise_is_least(
  survey, tmp_path, noisier
):
  folder = pathlib.Path(survey['images']).parent
  with astropy.io.fits.open(folder / f'{noisier}.fits', mode='update') as hdus:
    rng = np.random.default_rng(7)
    noise = rng.normal(0, 3 * RMS, hdus[0].data.shape).astype(np.float32)
    # Beyond the cutout of `shared` in either image.
    noise[:, 35:70] *= noisier == 'b'
    hdus[0].data += noise
  path = write_catalogue(tmp_path / 'c.csv', SOURCES)
  directory = build.build(
    'radio_fits', config='cutouts', catalogue=path, size_pix=11, **survey
  )
  examples, metadata = read(directory)
  better = {'a': b'b.fits', 'b': b'a.fits'}[noisier]
  assert examples['shared']['source_file'] == better
  assert metadata['images'] == 2


def test_sources_of_bad_images_are_counted(survey, tmp_path):
  folder = pathlib.Path(survey['images']).parent
  for name, ra in (('c', 200.0), ('d', 199.99)):
    path = write_field(folder / f'{name}.fits', ra)
    with astropy.io.fits.open(path, mode='update') as hdus:
      hdus[0].data[:] = np.nan
  alone = ('alone', 200.02, 30.0, 1.0, 'a')
  both = ('both', 199.995, 30.0, 1.0, 'a')
  path = write_catalogue(tmp_path / 'c.csv', [*SOURCES, alone, both])
  directory = build.build(
    'radio_fits',
    config='cutouts',
    catalogue=path,
    size_pix=11,
    skip_bad=True,
    **survey,
  )
  examples, metadata = read(directory)
  assert len(examples) == 3
  assert metadata['unreadable'] == 2
  assert metadata['missing'] == 0
  assert metadata['outside'] == 1


def test_faint_images_are_left_out_and_counted(survey, tmp_path):
  beside = ('beside', 150.0, 30.012, 4.0, 'FRI')
  path = write_catalogue(tmp_path / 'c.csv', [*SOURCES, beside])
  settings = survey | {'min_snr': 8.0}
  # The other sources are in the frame of `beside`, but not within its size.
  directory = build.build(
    'radio_fits', config='cutouts', catalogue=path, size_pix=40, **settings
  )
  examples, metadata = read(directory)
  assert sorted(examples) == ['first', 'second', 'shared']
  assert metadata['faint'] == 1
  directory = build.build('radio_fits', size_pix=12, **settings)
  examples, metadata = read(directory)
  assert metadata['faint'] > 0 and len(examples) > 3
  for example in examples.values():
    assert example['image'].max() > 8 * RMS


def test_order_does_not_depend_on_where_the_files_lie(survey, tmp_path):
  directory = build.build('radio_fits', size_pix=40, **survey)
  moved = tmp_path / 'elsewhere' / 'deep'
  moved.parent.mkdir()
  pathlib.Path(survey['images']).parent.rename(moved)
  settings = survey | {'images': str(moved / '*.fits'), 'name': 'other'}
  other = build.build('radio_fits', size_pix=40, **settings)
  assert list(read(directory)[0]) == list(read(other)[0])


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'images': 'nowhere/*.fits'}, r'nowhere/\*\.fits.*no such files'),
    ({'config': 'cutouts'}, 'cutouts need a catalogue'),
    ({'field_arcsec': 60.0}, "'tiles' has no option 'field_arcsec'"),
    ({'config': 'cutouts', 'stride_pix': 3}, "has no option 'stride_pix'"),
    ({'size_pix': 400}, 'no example to make'),
    ({'size_pix': 2}, 'size_pix 2: wanted 8'),
    ({'name': 'mirabest'}, 'is a builder'),
    ({'name': 'A b'}, 'wanted lower-case'),
    ({'max_missing': 1.0}, 'max_missing'),
    ({'overlap': 'both'}, "overlap 'both': wanted deepest or central"),
    ({'min_snr': -1.0}, 'min_snr -1.0: wanted more'),
    ({'stride_pix': -1}, 'stride_pix -1: wanted more'),
    ({'exclude': 'none.csv'}, r'none\.csv: no such file'),
  ],
)
def test_wrong_options_are_refused(survey, options, message):
  with pytest.raises(ValueError, match=message):
    build.build('radio_fits', **(survey | options))
  assert not list(survey['data_dir'].rglob('dataset_info.json'))


def test_whole_pixels_are_those_of_the_image(survey, tmp_path):
  path = write_catalogue(tmp_path / 'c.csv', SOURCES)
  directory = build.build(
    'radio_fits',
    config='cutouts',
    catalogue=path,
    size_pix=15,
    whole_pixels=True,
    **survey,
  )
  examples, _ = read(directory)
  assert set(examples) == {'first', 'second', 'shared'}
  for name, ra, dec, *_ in SOURCES[:3]:
    found = examples[name]
    image = fits.read(
      pathlib.Path(survey['images']).parent / found['source_file'].decode()
    )
    x, y = fits.sky_to_pixel(image.wcs, found['ra_deg'], found['dec_deg'])
    x0, y0 = round(float(x)) - 7, round(float(y)) - 7
    np.testing.assert_array_equal(
      found['image'][..., 0],
      image.pixels_jy_beam[y0 : y0 + 15, x0 : x0 + 15],
    )
    off = np.array(fits.sky_to_pixel(image.wcs, ra, dec)) - [x, y]
    assert np.abs(off).max() <= 0.5 + 1e-4


@pytest.mark.parametrize('config', ['tiles', 'cutouts'])
def test_workers_change_nothing(survey, tmp_path, monkeypatch, config):
  folder = pathlib.Path(survey['images']).parent
  (folder / 'c.fits').write_text('no image')
  extra = {'skip_bad': True}
  if config == 'cutouts':
    extra['catalogue'] = write_catalogue(tmp_path / 'c.csv', SOURCES)
  found = []
  for workers, at_once in ((1, 99), (1, 3), (2, 99)):
    monkeypatch.setattr(cutter, '_EXAMPLES_OF_A_TASK', at_once)
    directory = build.build(
      'radio_fits',
      config=config,
      size_pix=40,
      workers=workers,
      **extra,
      **(survey | {'data_dir': tmp_path / f'{workers} {at_once}'}),
    )
    records = list(
      tfds.builder_from_directory(directory).as_data_source('train')
    )
    report = json.loads((directory / 'ingest_report.json').read_text())
    found.append((records, report))
  (expected, expected_report), *others = found
  assert len(expected) > 2
  for records, report in others:
    assert report == expected_report
    for a, b in zip(records, expected, strict=True):
      for key, value in a.items():
        np.testing.assert_array_equal(value, b[key], err_msg=key)
