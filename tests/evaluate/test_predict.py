"""Predictions are those of the evaluator, in tables that astronomers open."""

import json
import shutil

import numpy as np
import pytest
from astropy import table

from radio_ssl import predict
from radio_ssl.convert import export
from radio_ssl.data import examples, pipeline
from radio_ssl.evaluate import features, runner


@pytest.fixture
def probed(simclr_run, config, tmp_path):
  result = runner.run(config, checkpoint=simclr_run, output=tmp_path / 'eval')
  return tmp_path / 'eval', result


def test_predictions_are_the_evaluators(probed, simclr_run, dataset, tmp_path):
  folder, result = probed
  shared = export.export(simclr_run, tmp_path / 'shared')
  for checkpoint in (simclr_run, shared):
    found = predict.predict(checkpoint, folder, dataset, 'test')
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
  rows[1]['image'][:3] = np.nan
  rows[2]['image'][:] = 1e-4 * np.random.default_rng(0).normal(size=(40, 40, 1))
  return write_dataset(
    {'train': rows}, pixel_scale_arcsec=1.8, beam_major_arcsec=5.4
  )


def test_unlabelled_sources_get_classes_and_flags(
  probed, simclr_run, write_dataset, make_rows
):
  directory = _unlabelled(write_dataset, make_rows)
  found = predict.predict(
    simclr_run,
    probed[0],
    pipeline.open_dataset(directory),
    with_features=True,
  )
  flags = dict(zip(found['name'], found['flags'], strict=True))
  assert flags == {'s100': '', 's101': 'missing', 's102': 'faint', 's103': ''}
  assert found['features'].shape == (4, 32)
  np.testing.assert_allclose(found['p_one'] + found['p_two'], 1, rtol=1e-5)


@pytest.mark.parametrize('kind', ['.vot', '.fits', '.ecsv', '.csv'])
def test_program_writes_every_kind_of_table(
  probed, simclr_run, dataset, tmp_path, capsys, kind
):
  output = tmp_path / 'new' / f'out{kind}'
  arguments = ['--checkpoint', str(simclr_run), '--probe', str(probed[0])]
  arguments += ['--data', str(dataset.directory), '--split', 'test']
  if kind != '.csv':
    arguments.append('--features')
  assert predict.main([*arguments, '--output', str(output)]) == 0
  assert '10 sources: ' in capsys.readouterr().out
  back = table.Table.read(output)
  assert sorted(back['name'].astype(str)) == [f's{i}' for i in range(100, 110)]
  assert back['ra_deg'].min() == 100
  assert kind == '.csv' or back['features'].shape == (10, 32)


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
  (tmp_path / 'sources.csv').write_text('\n'.join(rows) + '\n')
  arguments = ['--checkpoint', str(simclr_run), '--probe', str(probed[0])]
  arguments += ['--images', str(tmp_path / '*.fits.fz')]
  arguments += ['--catalogue', str(tmp_path / 'sources.csv')]
  arguments += ['--output', str(tmp_path / 'out.vot'), '--']
  assert predict.main([*arguments, '--beam_arcsec', '5.4']) == 0
  back = table.Table.read(tmp_path / 'out.vot')
  assert len(back) == 3
  assert (back['peak_snr'] > 5).all()
  # Without the beam the builder says what it lacks.
  assert predict.main(arguments) == 1
  assert 'The cutouts were not made' in capsys.readouterr().err


def test_probe_of_another_encoder_is_refused(probed, byol_run, dataset):
  with pytest.raises(ValueError, match='fitted to another encoder'):
    predict.predict(byol_run, probed[0], dataset, 'test')


def test_what_is_no_probe_is_refused(
  probed, simclr_run, config, dataset, tmp_path, capsys
):
  folder, result = probed
  for content in ('nothing', '{}', json.dumps(result | {'baseline': {}})):
    (folder / 'results.json').write_text(content)
    with pytest.raises(ValueError, match='no probe in it'):
      predict.read_probe(folder)
  with pytest.raises(ValueError, match='no probe in it'):
    predict.read_probe(tmp_path / 'gone')
  arguments = ['--checkpoint', str(simclr_run), '--probe', str(folder)]
  for more in (
    ['--output', 'a.txt', '--data', 'x'],
    ['--output', 'a.vot'],
    ['--output', 'a.vot', '--images', 'x'],
    ['--output', 'a.csv', '--data', 'x', '--features'],
  ):
    assert predict.main([*arguments, *more]) == 1
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
  assert found.columns['missing'].tolist() == [0]
