import json
import pathlib
import subprocess
import sys

import astropy.io.fits
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfds_builders import build
from tfds_builders.radio_fits import testing

survey = testing.survey


def command(survey, *flags):
  """Builds in a process of its own: Beam leaves threads and warnings."""
  return [
    sys.executable,
    '-m',
    'tfds_builders.build',
    'radio_fits',
    *(f'--{key}={value}' for key, value in survey.items()),
    *flags,
  ]


def records_and_report(directory):
  source = tfds.builder_from_directory(directory).as_data_source('train')
  report = json.loads(
    (pathlib.Path(directory) / 'ingest_report.json').read_text()
  )
  return list(source), report


@pytest.mark.slow
@pytest.mark.parametrize('config', ['tiles', 'cutouts'])
def test_beam_makes_the_same_examples_under_the_same_keys(
  survey, tmp_path, config
):
  pytest.importorskip('apache_beam')
  folder = pathlib.Path(survey['images']).parent
  (folder / 'c.fits').write_text('no image')
  flags = ['--skip_bad', '--size_pix=16', f'--config={config}']
  if config == 'cutouts':
    blank = testing.write_field(folder / 'd.fits', 150.3)
    with astropy.io.fits.open(blank, mode='update') as hdus:
      hdus[0].data[:] = np.nan
    rows = [*testing.SOURCES, ('lost', 150.3, 30.0, 10.0, 'FRI')]
    path = testing.write_catalogue(tmp_path / 'c.csv', rows)
    excluded = testing.write_catalogue(tmp_path / 'x.csv', rows[:1])
    flags += [f'--catalogue={path}', f'--exclude={excluded}']
  found = []
  for runner in (None, 'DirectRunner'):
    settings = survey | {'data_dir': tmp_path / f'{runner}'}
    more = [] if runner is None else [f'--beam_runner={runner}']
    done = subprocess.run(
      command(settings, *flags, *more),
      capture_output=True,
      text=True,
      check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found.append(records_and_report(done.stdout.strip()))
  (expected, expected_report), (records, report) = found
  assert len(expected) >= 2
  assert report == expected_report
  for a, b in zip(records, expected, strict=True):
    for key, value in a.items():
      np.testing.assert_array_equal(value, b[key], err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ([], 'c.fits: not a whole, valid FITS file'),
    (['--skip_bad', '--size_pix=300'], 'no example to make'),
    (['--beam_options=nonsense=3'], "Beam has no option 'nonsense'"),
    (['--beam_runner=Abacus'], "beam_runner 'Abacus'"),
  ],
)
def test_error_of_a_pipeline_is_one_line(survey, flags, message):
  pytest.importorskip('apache_beam')
  folder = pathlib.Path(survey['images']).parent
  (folder / 'c.fits').write_text('no image')
  done = subprocess.run(
    command(survey, '--size_pix=30', '--beam_runner=DirectRunner', *flags),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == (3 if 'no example' in message else 1)
  (line,) = [x for x in done.stderr.splitlines() if x.startswith('error:')]
  assert message in line
  assert 'while running' not in line
  assert not list(survey['data_dir'].rglob('dataset_info.json'))
  made_nothing = list(survey['data_dir'].rglob('ingest_report.json'))
  assert len(made_nothing) == ('no example' in message)


def test_without_beam_the_extra_is_named(survey, monkeypatch):
  monkeypatch.setitem(sys.modules, 'apache_beam', None)
  monkeypatch.delitem(
    sys.modules, 'tfds_builders.radio_fits.distribute', raising=False
  )
  with pytest.raises(ValueError, match=r'radio_ssl\[beam\]'):
    build.build('radio_fits', beam_runner='DirectRunner', **survey)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'beam_runner': 'DirectRunner', 'workers': 2}, 'set by beam_options'),
    ({'beam_options': ('a',)}, 'need beam_runner'),
  ],
)
def test_wrong_combinations_are_refused(survey, options, message):
  with pytest.raises(ValueError, match=message):
    build.build('radio_fits', **options, **survey)
