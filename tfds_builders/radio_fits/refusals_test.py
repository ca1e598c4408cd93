import json
import pathlib

import astropy.io.fits
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfds_builders import build
from tfds_builders.radio_fits import testing

read = testing.read
survey = testing.survey
write_catalogue = testing.write_catalogue
write_field = testing.write_field
SOURCES = testing.SOURCES


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


def test_an_image_smaller_than_a_tile_is_counted(survey):
  small = write_field(
    pathlib.Path(survey['images']).with_name('small.fits'), 150.0
  )
  with astropy.io.fits.open(small, mode='update') as hdus:
    hdus[0].data = hdus[0].data[:30]
  directory = build.build('radio_fits', size_pix=40, **survey)
  report = json.loads((directory / 'ingest_report.json').read_text())
  assert report['files']['small.fits']['status'] == 'too small'
  assert report['files']['a.fits']['status'] == 'accepted'
  assert report['summary'] == (
    '32 examples of 2 images; left out: 1 files smaller than a tile.'
  )


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


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'images': 'nowhere/*.fits'}, r'nowhere/\*\.fits.*no such files'),
    ({'config': 'cutouts'}, 'cutouts need a catalogue'),
    ({'source_factor': 3.0}, "'tiles' has no option 'source_factor'"),
    (
      {'field_arcsec': 60.0, 'pixel_scale_arcsec': 2.0},
      'field_arcsec or pixel_scale_arcsec, not both',
    ),
    ({'pixel_scale_arcsec': 3.0}, r'pixels of 3 arcsec.*half the beam \(2\.7'),
    ({'target_beam_arcsec': 5.0}, r'beam of 5\.4 arcsec is larger'),
    ({'target_beam_arcsec': 9.0, 'rms_image': 'x'}, 'leave out one'),
    ({'min_response': 0.5}, 'needs primary_beam_image'),
    ({'rms_image': '{folder}/{stem}_rms.fits'}, r'a_rms\.fits: no such file'),
    ({'config': 'cutouts', 'stride_pix': 3}, "has no option 'stride_pix'"),
    ({'size_pix': 400}, 'no example to make'),
    ({'size_pix': 2}, 'size_pix 2: wanted 8'),
    ({'name': 'mirabest'}, 'is a builder'),
    ({'name': 'A b'}, 'wanted lower-case'),
    ({'max_missing': 1.0}, 'max_missing'),
    ({'stokes': 'X'}, "stokes 'X': wanted I, Q, U or V"),
    ({'stokes': 'Q'}, r'a\.fits: no Stokes axis; wanted one with Q'),
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
