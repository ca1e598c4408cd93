"""The card tells what is in the folder, and the folder still opens."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl import testing
from radio_ssl.data import examples, pipeline
from tfds_builders import card


def _dataset(folder, *, placed=True, dtype='float32', **metadata):
  rows = [
    examples.example(
      np.random.default_rng(i).normal(size=(20, 20)).astype(np.float32),
      name=f's{i}',
      source_file='a.fits',
      ra_deg=10.0 + i if placed else np.nan,
      dec_deg=-5.0 if placed else np.nan,
      background_jy_beam=0.0,
      rms_jy_beam=1.0,
      label=i % 2,
    )
    for i in range(5)
  ]
  rows = [examples.stored(row, dtype) for row in rows]
  directory = testing.write(
    folder,
    {'train': rows[:3], 'test': rows[3:]},
    label_names=['fri', 'frii'],
    pixel_scale_arcsec=1.8,
    **metadata,
  )
  return pipeline.open_dataset(directory)


def _card(dataset, **changes):
  settings = {'about': 'What it is.', 'licence': None, 'command': ['a b', 'c']}
  card.write(dataset, **(settings | changes))
  return (dataset.directory / 'README.md').read_text()


def test_card_tells_counts_classes_sky_and_command(tmp_path):
  dataset = _dataset(tmp_path)
  before = dataset.fingerprint
  told = _card(dataset, licence='CC BY 4.0')
  for line in (
    '- images: 3 train, 2 test',
    '- each 20 x 20 pixels of 1.8 arcsec, float32, unit Jy/beam; '
    'beam varying arcsec',
    '- classes: fri, frii',
    '- sky: RA 10.000 to 14.000, Dec -5.000 to -5.000 deg (ICRS, centres)',
    '- licence of the images: CC BY 4.0',
    "      'a b' c",
    'What it is.',
  ):
    assert line in told.splitlines()
  for name in ('sheet.png', 'sky.png'):
    assert (dataset.directory / name).read_bytes().startswith(b'\x89PNG')
  assert pipeline.open_dataset(dataset.directory).fingerprint == before
  source = tfds.builder_from_directory(dataset.directory).as_data_source(
    'train'
  )
  assert len(source) == 3


@pytest.mark.parametrize(
  ('ra', 'wanted'),
  [
    ([10.0, 30.0, 20.0], (10, 30)),
    ([359.9, 0.1, 0.0], (359.9, 0.1)),
    ([0.0, 100.0, 240.0, 250.0], (240, 100)),
    ([5.0], (5, 5)),
  ],
)
def test_right_ascensions_span_their_shortest_arc(ra, wanted):
  np.testing.assert_allclose(card._arc(np.array(ra)), wanted)


@pytest.mark.parametrize('placed', [True, False])
def test_overlap_that_nobody_can_know_is_told(tmp_path, placed):
  told = _card(_dataset(tmp_path, placed=placed))
  assert ('overlap with other sets: unknown' in told) != placed
  assert 'not stated: ask the survey' in told


@pytest.mark.parametrize(
  ('metadata', 'wanted'),
  [
    ({}, 'not stated'),
    ({'survey': 'FIRST'}, 'FIRST'),
    ({'options': {'survey': 'EMU'}}, 'EMU'),
    ({'surveys': {'LoTSS': 2, 'RACS': 1}}, 'LoTSS, RACS'),
  ],
)
def test_survey_and_name_of_the_set_are_told(tmp_path, metadata, wanted):
  told = _card(_dataset(tmp_path / 'elsewhere', **metadata)).splitlines()
  assert f'- survey: {wanted}' in told
  # It has no config, and the folder above is none of it.
  assert told[0] == '# small/1.0.0'


def test_inputs_are_those_of_the_report(tmp_path):
  dataset = _dataset(tmp_path)
  report = {'files': {'a.fits': {}, 'b.fits': {}}, 'summary': '5 examples.'}
  path = dataset.directory / 'ingest_report.json'
  path.write_text(json.dumps(report))
  assert '- from 2 files, ' in _card(dataset)


def test_what_was_given_and_what_was_rejected_is_listed(tmp_path):
  accepted = {'status': 'accepted', 'overrides': {'beam_arcsec': 5.4}}
  rejected = {'status': 'rejected', 'kind': 'unit', 'reason': 'BUNIT is K.'}
  files = {'a.fits': accepted, 'b.fits': accepted, 'c.fits': rejected}
  dataset = _dataset(tmp_path, inputs={'a.zip': 'abc'})
  report = json.dumps({'files': files, 'summary': 'All.'})
  (dataset.directory / 'ingest_report.json').write_text(report)
  told = _card(dataset).splitlines()
  assert '- given, not read from the files: beam_arcsec 5.4 (of 2)' in told
  assert told[told.index('- 1 files rejected:') + 1] == (
    '  - `c.fits` (unit): BUNIT is K.'
  )
  where = told.index('- from 1 files, SHA-256 of each:')
  assert told[where + 1] == '  - `a.zip` abc'


def test_float16_is_told_with_the_way_back_to_jy_beam(tmp_path):
  told = _card(_dataset(tmp_path, dtype='float16'))
  assert 'float16, unit image_scale_jy_beam above background_jy_beam;' in told
  back = 'Jy/beam = image * image_scale_jy_beam + background_jy_beam'
  assert back in told
  assert back not in _card(_dataset(tmp_path / 'other'))
