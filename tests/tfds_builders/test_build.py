import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys

import astropy.io.fits
import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl.data import examples, pipeline
from tfds_builders import build, card, check
from tfds_builders.radio_fits import convert


@pytest.fixture
def survey(tmp_path):
  """Arguments of a small build: one image of 64 x 64 pixels."""
  header = astropy.io.fits.Header(
    {
      'CTYPE1': 'RA---TAN',
      'CTYPE2': 'DEC--TAN',
      'CRVAL1': 10.0,
      'CRVAL2': 10.0,
      'CDELT1': -0.0005,
      'CDELT2': 0.0005,
      'BUNIT': 'Jy/beam',
      'BMAJ': 0.0015,
    }
  )
  pixels = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
  astropy.io.fits.PrimaryHDU(pixels, header).writeto(tmp_path / 'a.fits')
  return {
    'data_dir': tmp_path / 'data',
    'images': str(tmp_path / '*.fits'),
    'name': 'small',
    'size_pix': 16,
  }


def flags(survey):
  return [f'--{key}={value}' for key, value in survey.items()]


def test_builders_are_found_by_their_folder():
  assert 'radio_fits' in build.available()
  with pytest.raises(ValueError, match=r"'x'; there are: .*radio_fits"):
    build.build('x')
  with pytest.raises(ValueError, match="no config 'x'; there are: cutouts"):
    build.build('radio_fits', config='x')
  with pytest.raises(ValueError, match="no option 'x'; there are: images"):
    build.build('radio_fits', x=1)


@pytest.mark.parametrize('name', build.available())
def test_every_flag_of_every_builder_answers_help(name, capsys):
  with pytest.raises(SystemExit) as exit_:
    build.main([name, '--help'])
  assert exit_.value.code == 0
  shown = capsys.readouterr().out
  for action in build.parser(name)._actions:
    assert action.help
    assert all(option in shown for option in action.option_strings)


def test_help_without_a_builder_lists_them(capsys):
  with pytest.raises(SystemExit) as exit_:
    build.main(['--help'])
  assert exit_.value.code == 0
  assert 'radio_fits' in capsys.readouterr().out


def test_the_command_prints_the_directory_and_nothing_else(survey, capsys):
  assert build.main(['radio_fits', *flags(survey)]) == 0
  directory = pathlib.Path(capsys.readouterr().out.strip())
  assert directory == survey['data_dir'] / 'small' / 'tiles' / '1.0.0'
  builder = tfds.builder_from_directory(directory)
  # Corners 0 8 ... 48 in both directions.
  assert len(builder.as_data_source('train')) == 49
  assert builder.info.file_format.value == 'array_record'


def test_names_that_the_shell_made_of_a_pattern_are_told(tmp_path, capsys):
  names = [tmp_path / 'a.fits', tmp_path / 'b.fits', tmp_path / 'c.fits']
  for name in names:
    name.write_text('')
  with pytest.raises(SystemExit):
    build.main(['radio_fits', '--images', *map(str, names)])
  told = capsys.readouterr().err
  assert f'{names[1]} belongs to no flag: 2 names too many. Put' in told


def test_the_builder_may_be_named_after_the_flags(survey):
  assert build.main([*flags(survey), 'radio_fits']) == 0


def test_an_interrupted_build_leaves_nothing_behind(
  survey, monkeypatch, capsys
):
  def interrupted(*args, **settings):
    raise KeyboardInterrupt
    yield

  monkeypatch.setattr(convert, 'convert', interrupted)
  assert build.main(['radio_fits', *flags(survey)]) == 130
  assert not list(survey['data_dir'].rglob('*1.0.0*'))
  assert 'Traceback' not in capsys.readouterr().err


def test_bad_input_is_one_line_and_status_one(survey, capsys):
  (pathlib.Path(survey['images']).parent / 'b.fits').write_text('x')
  assert build.main(['radio_fits', *flags(survey)]) == 1
  shown = capsys.readouterr()
  assert shown.out == ''
  last = shown.err.strip().splitlines()[-1]
  assert last.startswith('error: ') and 'b.fits' in last
  assert 'Traceback' not in shown.err
  assert build.main(['nothing', '--images', 'x']) == 1
  with pytest.raises(ValueError, match=r'b\.fits'):
    build.main(['radio_fits', '--traceback', *flags(survey)])


def test_a_failed_build_leaves_nothing_behind(survey):
  (pathlib.Path(survey['images']).parent / 'b.fits').write_text('x')
  with pytest.raises(ValueError, match=r'b\.fits'):
    build.build('radio_fits', **survey)
  assert not list(survey['data_dir'].rglob('*array_record*'))
  assert not list(survey['data_dir'].rglob('*incomplete*'))


def test_prepared_data_are_returned_at_once_even_without_their_images(
  survey, monkeypatch
):
  directory = build.build('radio_fits', **survey)
  monkeypatch.setattr(
    tfds.core.DatasetBuilder, 'download_and_prepare', lambda *a, **k: 1 / 0
  )
  assert build.build('radio_fits', **survey) == directory
  os.remove(pathlib.Path(survey['images']).parent / 'a.fits')
  assert build.build('radio_fits', **survey) == directory


def test_data_built_with_other_options_are_not_taken(survey):
  directory = build.build('radio_fits', **survey)
  with pytest.raises(
    ValueError, match='built with size_pix=16, asked for is size_pix=32'
  ):
    build.build('radio_fits', **(survey | {'size_pix': 32}))
  build.build('radio_fits', overwrite=True, **(survey | {'size_pix': 32}))
  features = tfds.builder_from_directory(directory).info.features
  assert features['image'].shape == (32, 32, 1)


def test_data_outlive_a_failed_attempt_to_replace_them(survey):
  directory = build.build('radio_fits', **survey)
  (pathlib.Path(survey['images']).parent / 'b.fits').write_text('x')
  with pytest.raises(ValueError, match=r'b\.fits'):
    build.build('radio_fits', overwrite=True, **survey)
  assert len(tfds.builder_from_directory(directory).as_data_source('train'))
  assert [p.name for p in directory.parent.iterdir()] == ['1.0.0']


def test_another_exclusion_catalogue_under_the_same_name_is_noticed(survey):
  catalogue = survey['data_dir'].parent / 'x.csv'
  catalogue.write_text('ra,dec\n200,0\n')
  settings = survey | {'exclude': str(catalogue)}
  build.build('radio_fits', **settings)
  catalogue.write_text('ra,dec\n10,10\n')
  with pytest.raises(ValueError, match='built with exclude='):
    build.build('radio_fits', **settings)


def test_exclusion_that_was_not_applied_is_noticed(survey, capsys):
  catalogue = survey['data_dir'].parent / 'x.csv'
  build.build('radio_fits', **survey)
  with pytest.raises(ValueError, match='built without exclude, and what'):
    build.build('radio_fits', exclude=str(catalogue), **survey)
  catalogue.write_text('ra,dec\n200,0\n')
  settings = survey | {'exclude': str(catalogue)}
  directory = build.build('radio_fits', overwrite=True, **settings)
  with pytest.raises(ValueError, match='asked for is exclude=None'):
    build.build('radio_fits', **survey)
  catalogue.unlink()
  assert build.build('radio_fits', **settings) == directory
  assert 'exclude of the command line is not there' in capsys.readouterr().err


def test_images_made_anew_under_the_same_name_and_size_are_noticed(survey):
  build.build('radio_fits', **survey)
  path = pathlib.Path(survey['images']).parent / 'a.fits'
  with astropy.io.fits.open(path, mode='update') as hdus:
    hdus[0].data[5, 5] += 1
  with pytest.raises(ValueError, match='built with images='):
    build.build('radio_fits', **survey)


def test_new_images_under_the_same_pattern_are_noticed(survey):
  build.build('radio_fits', **survey)
  folder = pathlib.Path(survey['images']).parent
  (folder / 'b.fits').write_bytes((folder / 'a.fits').read_bytes())
  with pytest.raises(ValueError, match='built with images='):
    build.build('radio_fits', **survey)


def test_half_a_copy_is_not_taken_for_a_data_set(survey):
  directory = build.build('radio_fits', **survey)
  (shard,) = directory.glob('*array_record*')
  shard.unlink()
  with pytest.raises(
    ValueError, match=r'not a finished data set .*array_record'
  ):
    build.build('radio_fits', **survey)
  (directory / 'dataset_info.json').unlink()
  with pytest.raises(ValueError, match=r'dataset_info\.json is missing'):
    build.build('radio_fits', **survey)
  build.build('radio_fits', overwrite=True, **survey)
  assert shard.is_file()


@pytest.mark.parametrize('workers', [1, 2])
def test_a_killed_build_leaves_nothing_that_opens(survey, capsys, workers):
  program = """
import os, signal, sys
from tfds_builders import build
from tfds_builders.radio_fits import convert
real = convert.convert
def killed(*args, **settings):
  for number, example in enumerate(real(*args, **settings)):
    if number == 20:
      os.kill(os.getpid(), signal.SIGKILL)
    yield example
convert.convert = killed
if __name__ == '__main__':
  build.main(sys.argv[1:])
"""
  script = survey['data_dir'].parent / 'killed.py'
  script.write_text(program)
  done = subprocess.run(
    [
      *(sys.executable, script, 'radio_fits', *flags(survey)),
      f'--workers={workers}',
    ],
    capture_output=True,
    cwd=pathlib.Path(build.__file__).parents[1],
  )
  assert done.returncode == -signal.SIGKILL
  place = survey['data_dir'] / 'small' / 'tiles'
  assert not (place / '1.0.0').exists()
  assert not list(survey['data_dir'].rglob('dataset_info.json'))
  directory = build.build('radio_fits', **survey)
  assert len(tfds.builder_from_directory(directory).as_data_source('train'))
  assert 'left by a build that was stopped' in capsys.readouterr().err


def test_card_and_sums_of_a_build_stopped_late_are_made_up_for(
  survey, monkeypatch
):
  def stopped(*args, **settings):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(card, 'write', stopped)
    with pytest.raises(KeyboardInterrupt):
      build.build('radio_fits', **survey)
  directory = build.build('radio_fits', **survey)
  assert (directory / 'README.md').is_file()
  assert check.check(directory) == 0
  # Old data are given up only for whole ones.
  old = {p.name: p.read_bytes() for p in directory.iterdir()}
  with monkeypatch.context() as patch:
    patch.setattr(card, 'write', stopped)
    with pytest.raises(KeyboardInterrupt):
      build.build('radio_fits', overwrite=True, **survey)
  assert {p.name: p.read_bytes() for p in directory.iterdir()} == old


def test_a_missing_manual_dir_is_refused(survey, tmp_path):
  with pytest.raises(ValueError, match='no such folder'):
    build.build('radio_fits', manual_dir=tmp_path / 'nowhere', **survey)


def _records(survey, **settings):
  directory = build.build('radio_fits', **survey, **settings)
  assert check.check(directory) == 0
  dataset = pipeline.open_dataset(directory)
  return dataset, {r['name']: r for r in dataset.source('train')}


def test_tf_data_reads_a_tfrecord_build_like_an_array_record_one(survey):
  pytest.importorskip('tensorflow')
  written, records = _records(survey, file_format='tfrecord')
  assert written.file_format == 'tfrecord'
  card = (written.directory / 'README.md').read_text()
  assert "builder_from_directory('.').as_dataset('train')" in card
  assert build.build('radio_fits', **survey) == written.directory
  with pytest.raises(ValueError, match='as tfrecord, asked for is array_rec'):
    build.build('radio_fits', file_format='array_record', **survey)
  builder = tfds.builder_from_directory(written.directory)
  through_tf = {
    r['name']: r for r in tfds.as_numpy(builder.as_dataset('train'))
  }
  survey = survey | {'data_dir': survey['data_dir'] / 'other'}
  _, wanted = _records(survey)
  assert records.keys() == through_tf.keys() == wanted.keys()
  for name, record in wanted.items():
    assert record.keys() == through_tf[name].keys()
    for key, value in record.items():
      for found in (records[name][key], through_tf[name][key]):
        np.testing.assert_array_equal(found, value, err_msg=key)


def test_tfrecord_without_tensorflow_is_refused_before_any_work(
  survey, monkeypatch
):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  monkeypatch.setattr(build, '_module', lambda name: 1 / 0)
  with pytest.raises(ValueError, match=r"pip install 'radio_ssl\[tf\]'"):
    build.build('radio_fits', file_format='tfrecord', **survey)
  assert not survey['data_dir'].exists()


def test_an_unknown_format_is_refused(survey, capsys):
  with pytest.raises(SystemExit) as exit_:
    build.main(['radio_fits', '--format', 'parquet', *flags(survey)])
  assert exit_.value.code == 1
  assert "invalid choice: 'parquet'" in capsys.readouterr().err
  with pytest.raises(ValueError, match="'parquet'; there are: array_record, "):
    build.build('radio_fits', file_format='parquet', **survey)


def test_another_format_than_the_one_there_is_noticed(survey, monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name)
  directory = build.build('radio_fits', **survey)
  kept = build.build('radio_fits', file_format='array_record', **survey)
  assert kept == directory
  with pytest.raises(ValueError, match='as array_record, asked for is tfrec'):
    build.build('radio_fits', file_format='tfrecord', **survey)


def test_a_float16_build_says_so_and_is_sound(survey):
  whole, _ = _records(survey)
  half, records = _records(survey | {'name': 'half'}, dtype='float16')
  metadata = json.loads((half.directory / 'metadata.json').read_text())
  assert metadata['image_unit'] == examples.SCALED_UNIT
  assert 'image_unit' not in json.loads(
    (whole.directory / 'metadata.json').read_text()
  )
  for record in whole.source('train'):
    found = records[record['name']]['image']
    rms = record['rms_jy_beam']
    np.testing.assert_allclose(
      found, record['image'], rtol=2**-10, atol=rms * 2**-11
    )


def test_building_needs_neither_jax_nor_tensorflow(survey):
  program = """
import sys
from tfds_builders import build
status = build.main(sys.argv[1:])
loaded = {'jax', 'tensorflow', 'torch'} & set(sys.modules)
sys.exit(f'loads {loaded}' if loaded else status)
"""
  done = subprocess.run(
    [sys.executable, '-c', program, 'radio_fits', *flags(survey)],
    capture_output=True,
    text=True,
    cwd=pathlib.Path(build.__file__).parents[1],
  )
  assert done.returncode == 0, done.stderr
