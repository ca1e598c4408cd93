"""An exported encoder says the same as its run, anywhere, or is refused."""

import json
import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy

import radio_ssl
from radio_ssl import exports
from radio_ssl.convert import __main__ as program
from radio_ssl.convert import export
from radio_ssl.data import manifest
from radio_ssl.evaluate import features, runner


@pytest.fixture
def exported(simclr_run, tmp_path):
  return export.export(simclr_run, tmp_path / 'shared')


def _seal(folder):
  """As if the files had been written so."""
  (folder / manifest.NAME).unlink()
  manifest.write(folder)


def test_features_are_bit_equal(exported, simclr_run, dataset):
  wanted = features.extract(
    features.from_checkpoint(simclr_run), dataset, 'test', rotations=4
  )
  found = features.extract(
    radio_ssl.load_encoder(exported), dataset, 'test', rotations=4
  )
  np.testing.assert_array_equal(found.features, wanted.features)
  assert wanted.features.std() > 0


def test_a_loaded_encoder_can_be_called(exported):
  frozen = radio_ssl.load_encoder(exported)
  images = jax.random.uniform(jax.random.key(0), (3, 16, 16, 1))
  wanted = frozen.encoder.apply(frozen.variables, images, train=False).pooled
  np.testing.assert_array_equal(frozen(images), wanted)


def test_each_encoder_of_a_run_can_be_exported(byol_run, tmp_path):
  for which in ('online', 'ema'):
    folder = export.export(byol_run, tmp_path / which, which=which)
    wanted = features.from_checkpoint(byol_run, which)
    found = features.from_checkpoint(folder, which)
    jax.tree.map(
      np.testing.assert_array_equal, found.variables, wanted.variables
    )
    json.loads((folder / 'config.json').read_text())
  with pytest.raises(ValueError, match="export of an 'ema' encoder"):
    features.from_checkpoint(tmp_path / 'ema', 'online')


def test_evaluation_is_the_same_and_knows_what_was_seen(
  exported, simclr_run, config, tmp_path
):
  wanted = runner.run(config, checkpoint=simclr_run, output=tmp_path / 'a')
  # Elsewhere nobody has the training images.
  meta = json.loads((exported / 'config.json').read_text())
  gone = tmp_path / 'gone'
  meta['pretraining']['dataset']['directory'] = str(gone)
  (exported / 'config.json').write_text(json.dumps(meta))
  _seal(exported)
  found = runner.run(config, checkpoint=exported, output=tmp_path / 'b')
  assert found['test'] == wanted['test']
  assert found['overlap'] == wanted['overlap']
  assert found['overlap']['showing']['train'] == 24


def test_the_folder_holds_all_that_is_promised(exported):
  arrays = safetensors.numpy.load_file(exported / 'model.safetensors')
  assert {name.split('/')[0] for name in arrays} == {'params', 'batch_stats'}
  text = json.loads((exported / 'config.json').read_text())
  assert text['encoder']['name'] == 'resnet10'
  assert text['input']['size_pix'] == 16
  assert len(text['pretraining']['dataset']['fingerprint']) == 64
  sky = safetensors.numpy.load_file(exported / 'footprints.safetensors')
  assert sorted(sky['ra_deg']) == list(range(24))
  assert len(sky['rotation_deg']) == len(sky['field_arcsec']) == 24
  modes = {file.stat().st_mode for file in exported.iterdir()}
  assert len(modes) == 1
  page = (exported / 'README.md').read_text()
  assert 'pretrained without labels by simclr' in page
  assert '| size_pix | 16 |' in page


@pytest.mark.parametrize(
  'file', ['model.safetensors', 'config.json', 'footprints.safetensors']
)
def test_damage_is_refused(exported, file):
  data = bytearray((exported / file).read_bytes())
  data[len(data) // 2] ^= 1
  (exported / file).write_bytes(data)
  with pytest.raises(ValueError, match=f'damaged export: {file}'):
    radio_ssl.load_encoder(exported)


def test_arrays_of_another_encoder_are_refused(exported):
  flat = safetensors.numpy.load_file(exported / 'model.safetensors')
  name = sorted(n for n in flat if n.endswith('kernel'))[0]
  flat[name] = flat[name][..., :-1].copy()
  safetensors.numpy.save_file(flat, exported / 'model.safetensors')
  _seal(exported)
  with pytest.raises(ValueError, match='its arrays are not those'):
    radio_ssl.load_encoder(exported)


def test_another_format_is_refused(exported):
  text = json.loads((exported / 'config.json').read_text())
  (exported / 'config.json').write_text(
    json.dumps(text | {'format_version': 99})
  )
  _seal(exported)
  with pytest.raises(ValueError, match='export format 99'):
    radio_ssl.load_encoder(exported)


def test_a_full_folder_is_left_alone(exported, simclr_run):
  before = {p.name: p.read_bytes() for p in exported.iterdir()}
  with pytest.raises(ValueError, match='not an empty folder'):
    export.export(simclr_run, exported)
  assert {p.name: p.read_bytes() for p in exported.iterdir()} == before


def test_unknown_positions_are_told(simclr_run, tmp_path):
  run = shutil.copytree(simclr_run, tmp_path / 'run')
  (meta,) = run.glob('checkpoints/*/meta.json')
  meta.write_text(
    meta.read_text().replace('"fingerprint": "', '"fingerprint": "0')
  )
  _seal(meta.parent)
  folder = export.export(run, tmp_path / 'out')
  assert not (folder / 'footprints.safetensors').exists()
  assert 'has been built anew' in (folder / 'README.md').read_text()


def test_program_writes_the_card_with_results(
  simclr_run, config, tmp_path, capsys
):
  runner.run(config, checkpoint=simclr_run, output=tmp_path / 'eval')
  arguments = ['export', str(simclr_run), '--output', str(tmp_path / 'out')]
  results = ['--results', str(tmp_path / 'eval/results.json')]
  assert program.main([*arguments, *results, '--licence', 'CC-BY-4.0']) == 0
  page = (tmp_path / 'out/README.md').read_text()
  assert '| simclr | ' in page
  assert 'CC-BY-4.0' in page
  assert program.main(arguments) == 1
  assert 'error: ' in capsys.readouterr().err
  assert program.main(['export', 'gone', '--output', 'out']) == 1
  assert exports.is_one(tmp_path / 'out')
