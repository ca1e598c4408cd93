"""An evaluation from data set to report: honest, complete, or refused."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from radio_ssl.data import pipeline
from radio_ssl.evaluate import features, linear, protocols, runner, selection


def _strict(text):
  def refuse(name):
    raise AssertionError(f'{name} is not JSON')

  return json.loads(text, parse_constant=refuse)


def test_results_are_complete_strict_and_name_every_source(
  config, dataset, simclr_run, tmp_path
):
  returned = runner.run(config, checkpoint=simclr_run, output=tmp_path / 'o')
  stored = _strict((tmp_path / 'o' / 'results.json').read_text())
  assert stored == json.loads(json.dumps(returned))
  assert stored['encoder'] == simclr_run.name
  assert stored['checkpoint'] == str(simclr_run)
  assert stored['pretraining']['config']['objective']['name'] == 'simclr'
  assert stored['dataset']['fingerprint'] == dataset.fingerprint
  assert stored['config']['num_folds'] == 2
  assert stored['label_names'] == ['one', 'two']
  assert 'l2' in stored['chosen']
  for key, split in (('cross_validation', 'train'), ('test', 'test')):
    labels = {r['name'].decode(): r['label'] for r in dataset.source(split)}
    rows = stored[key]['predictions']
    assert {row['name']: row['label'] for row in rows} == labels
    assert len(rows) == len(labels)
    right = [np.argmax(r['probabilities']) == r['label'] for r in rows]
    assert stored[key]['scores']['accuracy'] == pytest.approx(np.mean(right))
    for row in rows:
      assert sum(row['probabilities']) == pytest.approx(1)


@pytest.mark.parametrize('protocol', ['linear', 'knn'])
def test_labels_that_show_in_the_images_score_one(config, tmp_path, protocol):
  config.protocol = protocol
  # The others hold noise alone, and twelve rows a fold are few.
  config.pixel_components = 1
  result = runner.run(config, baseline='pixels', output=tmp_path / 'o')
  assert result['test']['scores']['accuracy'] == 1
  assert result['cross_validation']['scores']['accuracy'] == 1


def test_shuffled_labels_score_chance(config, write, make_rows, tmp_path):
  generator = np.random.default_rng(5)
  labels = generator.permutation(np.arange(120) % 2)
  config.data.dir = str(
    write({'train': make_rows(120, first=0, labels=labels)}).directory
  )
  config.data.test = ''
  result = runner.run(config, baseline='pixels', output=tmp_path / 'o')
  accuracy = result['cross_validation']['scores']['accuracy']
  # Three standard errors about one half.
  assert abs(accuracy - 0.5) < 3 * 0.5 / np.sqrt(120)


def test_empty_test_never_reads_a_test_split(
  config, simclr_run, tmp_path, monkeypatch
):
  read = []
  source = pipeline.DataSet.source

  def spy(self, split):
    read.append(split)
    return source(self, split)

  monkeypatch.setattr(pipeline.DataSet, 'source', spy)
  config.data.test = ''
  for settings in ({'checkpoint': simclr_run}, {'baseline': 'pixels'}):
    result = runner.run(config, output=tmp_path / 'o', **settings)
    assert set(read) == {'train'}
    assert 'test' not in result
    assert 'chosen' not in result
    assert result['cross_validation']['scores']['num_examples'] == 24


def test_test_labels_change_nothing_but_the_test_score(
  config, write, make_rows, tmp_path
):
  flipped = [1 - i % 2 for i in range(10)]
  other = write(
    {
      'train': make_rows(24, first=0),
      'test': make_rows(10, first=100, labels=flipped),
    }
  )
  usual = runner.run(config, baseline='pixels', output=tmp_path / 'a')
  config.data.dir = str(other.directory)
  wrong = runner.run(config, baseline='pixels', output=tmp_path / 'b')
  assert wrong['chosen'] == usual['chosen']
  assert wrong['cross_validation'] == usual['cross_validation']
  a, b = (
    {r['name']: r['probabilities'] for r in result['test']['predictions']}
    for result in (usual, wrong)
  )
  assert a == b
  assert wrong['test']['scores']['accuracy'] == 0


def test_held_out_fold_has_no_part_in_its_probe(config, dataset, monkeypatch):
  generator = np.random.default_rng(0)
  table = features.Table(
    generator.normal(size=(24, 4)),
    np.arange(24) % 2,
    [f's{i}' for i in range(24)],
    {},
  )
  seen = []

  def predict(x, y, new, *, groups, **settings):
    seen.append((x, y, new, groups))
    return np.full((len(new), settings['num_classes']), 0.5), {}

  monkeypatch.setattr(linear, 'predict', predict)
  predictor = protocols.predictor(
    config,
    selection.choose(dataset, 'train', ''),
    {'train': table},
    np.arange(24) // 2,
    None,
  )
  runner._out_of_fold(predictor, 'train', np.arange(24) // 2 % 4)
  assert len(seen) == 4
  for x, y, new, groups in seen:
    assert not set(map(bytes, x)) & set(map(bytes, new))
    assert len(x) + len(new) == 24
    assert len(x) == len(y) == len(groups)
    # Both of a group, or none.
    assert set(np.bincount(groups).tolist()) <= {0, 2}


@pytest.mark.parametrize(
  ('path', 'name'),
  [
    ('runs/x', 'x'),
    ('runs/x/', 'x'),
    ('runs/x/checkpoints', 'x'),
    ('runs/x/checkpoints/600', 'x/600'),
  ],
)
def test_encoder_is_called_after_its_run(path, name):
  assert runner.name_of(path) == name


def test_comparison_puts_baselines_beside_the_encoder(
  config, simclr_run, tmp_path, capsys
):
  run = tmp_path / 'a_run'
  shutil.copytree(simclr_run, run)
  results = runner.compare(config, run, ('random', 'pixels'))
  assert [r['encoder'] for r in results] == ['a_run', 'random', 'pixels']
  table = (run / 'eval' / 'comparison.md').read_text()
  assert table.strip() in capsys.readouterr().out
  assert [line.split()[1] for line in table.splitlines()[2:5]] == [
    'a_run',
    'random',
    'pixels',
  ]


def _refused(config, output, match, **settings):
  with pytest.raises((ValueError, OSError), match=match):
    runner.run(config, output=output, **settings)
  assert not output.exists()
  assert not list(output.parent.glob('*.tmp'))


@pytest.mark.parametrize(
  ('field', 'value', 'match'),
  [
    ('protocol', 'svm', r"'svm'; there are: finetune, knn, linear, linear_sgd"),
    ('rotations', 3, 'rotations is 3; wanted 1 or 4 or 8'),
    ('which', 'best', r"which is 'best'; wanted"),
    ('num_folds', 1, 'num_folds is 1; wanted 2 or more'),
    ('batch_size', 0, 'batch_size is 0; wanted 1 or more'),
    ('data.test', 'train', "train and config.data.test are both 'train'"),
    ('data.test', 'tset', r"no split 'tset'; there are: .*test"),
    ('data.train', 'train[:0]', r"small.*split 'train\[:0\]'"),
    ('data.train', 'train[:x', r"small.*split 'train\[:x'"),
    ('data.test', 'train[:3]', r'share 3 sources, such as s\d+'),
    ('data.dir', '/nowhere', '/nowhere: no finished data set'),
    ('num_folds', 11, r"too few .*'one': 12.*lower config.num_folds"),
    ('data.classes', 'one,tow', r"no class 'tow'; there are: one, two"),
    ('data.classes', 'one,one', 'a class comes twice'),
  ],
)
def test_bad_field_is_refused(config, tmp_path, field, value, match):
  config.update_from_flattened_dict({field: value})
  _refused(config, tmp_path / 'o', match, baseline='pixels')


def test_unknown_baseline_is_refused(config, tmp_path):
  _refused(config, tmp_path / 'o', 'random, pixels, cat', baseline='noise')


def test_nothing_to_evaluate_is_refused(config, tmp_path):
  _refused(config, tmp_path / 'o', 'give a checkpoint or a baseline')


def test_missing_checkpoint_is_refused(config, tmp_path):
  gone = tmp_path / 'gone'
  _refused(config, tmp_path / 'o', f'{gone}: no checkpoint', checkpoint=gone)


def test_damaged_checkpoint_is_refused(config, simclr_run, tmp_path):
  run = tmp_path / 'run'
  shutil.copytree(simclr_run, run)
  meta = run / 'checkpoints' / '2' / 'meta.json'
  meta.write_text(meta.read_text().replace('resnet10', 'resnet18'))
  _refused(
    config, tmp_path / 'o', 'every checkpoint is damaged', checkpoint=run
  )
  step = run / 'checkpoints' / '2'
  _refused(config, tmp_path / 'o', 'meta.json differs', checkpoint=step)


def test_other_classes_are_left_out_and_counted(
  config, write, make_rows, tmp_path
):
  dataset = write(
    {
      'train': make_rows(36, first=0, classes=3),
      'test': make_rows(9, first=99, classes=3),
    },
    label_names=('one', 'two', 'three'),
  )
  config.data.dir = str(dataset.directory)
  config.data.classes = 'three,one'
  config.pixel_components = 1
  result = runner.run(config, baseline='pixels', output=tmp_path / 'o')
  assert result['left_out'] == {'train': 12, 'test': 3}
  assert result['label_names'] == ['three', 'one']
  assert '12 of ' in (tmp_path / 'o' / 'results.md').read_text()
  rows = result['test']['predictions']
  # Of class `i % 3`: two is gone, three comes first.
  assert {row['name']: row['label'] for row in rows} == {
    f's{i}': 0 if i % 3 == 2 else 1 for i in range(99, 108) if i % 3 != 1
  }
  assert result['test']['scores']['accuracy'] == 1


def test_class_with_one_example_is_refused(config, write, make_rows, tmp_path):
  labels = [0, 1] * 6 + [2]
  dataset = write(
    {'train': make_rows(13, first=0, labels=labels)},
    label_names=('one', 'two', 'rare'),
  )
  config.data.dir, config.data.test = str(dataset.directory), ''
  match = r"small.*{'rare': 1}.*--config.data.classes=one,two\."
  _refused(config, tmp_path / 'o', match, baseline='pixels')


def test_set_of_one_class_is_refused_before_it_is_read(
  config, write, make_rows, tmp_path, monkeypatch
):
  monkeypatch.setattr(runner.features, 'tabulate', None)
  dataset = write(
    {'train': make_rows(12, first=0, classes=1)}, label_names=('one',)
  )
  config.data.dir, config.data.test = str(dataset.directory), ''
  _refused(config, tmp_path / 'o', 'one class alone', baseline='pixels')


def test_set_without_labels_is_refused(config, write, make_rows, tmp_path):
  rows = list(make_rows(6, first=0))
  for row in rows:
    del row['label']
  dataset = write({'train': rows}, label_names=None)
  config.data.dir, config.data.test = str(dataset.directory), ''
  _refused(config, tmp_path / 'o', 'has no labels', baseline='pixels')


def test_features_that_are_not_finite_are_refused(
  config, simclr_run, tmp_path, monkeypatch
):
  load = features.from_checkpoint

  def broken(*args, **kwargs):
    frozen = load(*args, **kwargs)
    nans = jax.tree.map(lambda x: x * np.nan, frozen.variables)
    return features.dataclasses.replace(frozen, variables=nans)

  monkeypatch.setattr(features, 'from_checkpoint', broken)
  match = 'features of 24 images are not finite'
  _refused(config, tmp_path / 'o', match, checkpoint=simclr_run)


def test_images_smaller_than_the_pretraining_field_are_refused(
  config, write, make_rows, simclr_run, tmp_path
):
  rows = [r | {'image': r['image'][:16, :16]} for r in make_rows(8, first=0)]
  dataset = write({'train': rows})
  config.data.dir, config.data.test = str(dataset.directory), ''
  match = rf'small.*{simclr_run.name}.*field_arcsec is 36.*at most 28\.8'
  _refused(config, tmp_path / 'o', match, checkpoint=simclr_run)


def test_another_field_is_as_if_pretrained_with_it(
  config, dataset, simclr_run, tmp_path
):
  del dataset
  own = runner.run(config, checkpoint=simclr_run, output=tmp_path / 'a')
  config.fields_arcsec = (36.0,)
  same = runner.run(config, checkpoint=simclr_run, output=tmp_path / 'b')
  assert same['test'] == own['test']
  config.fields_arcsec = (40.5,)
  wider = runner.run(config, checkpoint=simclr_run, output=tmp_path / 'c')
  assert wider['test']['predictions'] != own['test']['predictions']
  pixels = runner.run(config, baseline='pixels', output=tmp_path / 'd')
  (shown,) = pixels['baseline']['inputs']
  assert shown['field_arcsec'] == 40.5
  config.fields_arcsec = (36.0, 90.0)
  with pytest.raises(ValueError, match='wanted more than 0 and at most 72'):
    runner.run(config, checkpoint=simclr_run, output=tmp_path / 'e')


def test_output_that_is_a_file_is_refused(config, tmp_path):
  file = tmp_path / 'o'
  file.write_text('precious')
  with pytest.raises(ValueError, match='o: a file; wanted a folder'):
    runner.run(config, baseline='pixels', output=file)
  assert file.read_text() == 'precious'
  assert pathlib.Path(file).is_file()
