import json
import pathlib

import astropy.io.fits
import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl.data import catalogue as catalogues
from radio_ssl.data import fits, pipeline
from tfds_builders import build
from tfds_builders.radio_fits import assemble, convert, cutter, shapes, testing
from tfds_builders.radio_fits import order as orders
from tfds_builders.radio_fits import report as reports

read = testing.read
survey = testing.survey
write_catalogue = testing.write_catalogue
write_field = testing.write_field
RMS = testing.RMS
SOURCES = testing.SOURCES


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


def test_a_source_is_cut_from_the_next_image_where_the_best_is_blank(
  survey, tmp_path
):
  folder = pathlib.Path(survey['images']).parent
  with astropy.io.fits.open(folder / 'b.fits', mode='update') as hdus:
    hdus[0].data[:, 25:] = np.nan
  rows = [('shared', 149.975, 30.0, 12.0, 'FRI')]
  report = reports.Report()
  sources = catalogues.read(write_catalogue(tmp_path / 'c.csv', rows))
  order = orders.order(
    sorted(folder.glob('*.fits')),
    shapes.Cutouts(size_pix=11),
    catalogue=sources,
  )
  ((_, example),) = convert.convert(order, report=report)
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


def test_why_a_source_in_an_image_gave_none_is_told(survey, tmp_path):
  # Two pixels inside the edge of one image, and a place of that is excluded.
  edge = ('edge', 150.0, 30.0212, 4.0, 'FRI')
  path = write_catalogue(tmp_path / 'c.csv', [*SOURCES, edge])
  excluded = write_catalogue(tmp_path / 'e.csv', [SOURCES[1]])
  directory = build.build(
    'radio_fits',
    config='cutouts',
    catalogue=path,
    size_pix=11,
    exclude=excluded,
    min_snr=8.0,
    **survey,
  )
  report = json.loads((directory / 'ingest_report.json').read_text())
  assert report['lost'] == {'edge': 'incomplete', 'second': 'excluded'}
  assert report['counts']['outside'] == 1
  assert 'lost' not in report['counts']


@pytest.mark.parametrize('field', [None, 18.0, 16.2])
def test_pixels_beyond_a_field_may_be_missing(survey, tmp_path, field):
  # 5.5 pixels of 1.8 arcsec from the edge; the cutout reaches 20 from it.
  edge = ('edge', 150.0, 30.0195, 4.0, 'FRI')
  path = write_catalogue(tmp_path / 'c.csv', [*SOURCES, edge])
  directory = build.build(
    'radio_fits',
    config='cutouts',
    catalogue=path,
    size_pix=40,
    max_missing=0.0,
    missing_field_arcsec=field,
    **survey,
  )
  assert ('edge' in read(directory)[0]) == (field is not None)


def test_a_build_that_made_nothing_tells_what_became_of_all(
  survey, tmp_path, capsys
):
  edge = ('edge', 150.0, 30.0212, 4.0, 'FRI')
  path = write_catalogue(tmp_path / 'c.csv', [SOURCES[3], edge])
  command = ['radio_fits', '--config', 'cutouts', '--catalogue', path]
  command += ['--images', survey['images'], '--name', 'survey']
  command += ['--data_dir', str(survey['data_dir'])]
  assert build.main([*command, '--max_missing', '7']) == 1
  assert build.main(command) == 3
  file = survey['data_dir'] / 'survey' / 'cutouts' / 'ingest_report.json'
  assert f'See {file}.' in capsys.readouterr().err
  report = json.loads(file.read_text())
  assert report['lost'] == {'edge': 'incomplete'}
  assert report['counts']['outside'] == 1
  # Gone with the reason for it.
  assert build.main([*command, '--size_pix', '8', '--max_missing', '0.8']) == 0
  assert not file.exists()


def test_half_the_room_holds_the_same_pixels(survey, tmp_path):
  path = write_catalogue(tmp_path / 'c.csv', SOURCES)
  settings = survey | {'config': 'cutouts', 'catalogue': path, 'size_pix': 40}
  found = []
  for dtype in ('float32', 'float16'):
    settings |= {'data_dir': tmp_path / dtype}
    directory = build.build('radio_fits', dtype=dtype, **settings)
    dataset = pipeline.open_dataset(directory)
    assert dataset.stored_dtype == dtype
    found.append({e['name']: e for e in dataset.source('train')})
    report = json.loads((directory / 'ingest_report.json').read_text())
    assert report['counts']['pixel_scale_arcsec'] == 1.8
  whole, half = found
  assert list(whole) == list(half)
  for name, example in half.items():
    assert example['image'].dtype == np.float32
    np.testing.assert_allclose(
      example['image'], whole[name]['image'], rtol=6e-4, atol=1e-3 * RMS
    )
  with pytest.raises(ValueError, match="built with dtype='float16'"):
    build.build('radio_fits', **settings)


def test_order_does_not_depend_on_where_the_files_lie(survey, tmp_path):
  directory = build.build('radio_fits', size_pix=40, **survey)
  moved = tmp_path / 'elsewhere' / 'deep'
  moved.parent.mkdir()
  pathlib.Path(survey['images']).parent.rename(moved)
  settings = survey | {'images': str(moved / '*.fits'), 'name': 'other'}
  other = build.build('radio_fits', size_pix=40, **settings)
  assert list(read(directory)[0]) == list(read(other)[0])


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
