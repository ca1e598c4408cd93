"""A benchmark that cannot be run is refused before its first cell."""

import pytest

from configs import benchmark_small
from radio_ssl.benchmark import checks, plan, settings


def _set(config, field, value):
  *groups, name = field.split('.')
  for group in groups:
    config = config[group]
  with config.unlocked(), config.ignore_type():
    config[name] = value


def test_small_benchmark_is_sound():
  config = benchmark_small.get_config()
  checks.structure(config)
  # One as in the issue: six methods, three sets of images, three seeds.
  trained = {
    cell.of_encoder
    for cell in plan.cells(config)
    if cell.stage == 'evaluate' and cell.source == 'method' and not cell.rank
  }
  assert len(trained) == 54


@pytest.mark.parametrize(
  ('field', 'value', 'match'),
  [
    ('methods', {}, r'config\.methods is empty'),
    ('speed', 1, "config has no field 'speed'"),
    ('seeds', (0, 0), r'config\.seeds is \(0, 0\); wanted one or more, each'),
    ('seeds', (), r'config\.seeds is \(\)'),
    ('seeds', (0, -1), 'wanted whole numbers >= 0'),
    ('learning_rates', (0.0,), 'wanted numbers above 0'),
    ('search.seed', 7, r'config\.search\.seed is 7; wanted one of'),
    ('search.corpus', 'sea', r"corpus is 'sea'; wanted one of sky"),
    ('search.protocol', 'svm', 'wanted one of knn, linear'),
    ('protocol_of_best.knn', 3, r'protocol_of_best\.knn is 3; wanted 1 to 2'),
    ('protocol_of_best.svm', 1, "protocol_of_best is 'svm'"),
    ('protocol_label_sets', {'knn': ('sea',)}, "is 'sea'; wanted one of spots"),
    ('protocol_corpora', {'knn': ('sea',)}, "is 'sea'; wanted one of sky"),
    ('protocols.knn.protocol', 'svm', "'svm'; wanted one of finetune, knn"),
    ('comparisons', ('simclr',), 'wanted A:B'),
    ('comparisons', ('simclr:dino',), "is 'dino'; wanted one of"),
    ('comparisons', ('simclr@sea:byol',), "is 'sea'; wanted one of sky"),
    ('comparisons', ('byol:pixels@sky',), "is 'pixels'; wanted one of"),
    ('baselines.simclr', {'baseline': 'random', 'seeds': (0,)}, 'both have'),
    ('baselines.pixels.sedes', (0,), "has no field 'sedes'"),
    ('baselines.pixels.label_sets', ('sea',), "is 'sea'; wanted one of spots"),
    ('baselines.pixels.protocols', ('svm',), "is 'svm'; wanted one of knn"),
    ('baselines.pixels.protocols', (), r'pixels\.protocols is empty'),
    ('methods.sim-clr', {}, "'sim-clr'; wanted letters, digits"),
    ('checkpoints.x', {'path': 'x'}, "lacks the field 'seeds'"),
  ],
)
def test_structure_that_is_wrong_is_refused_by_name(
  config, field, value, match
):
  _set(config, field, value)
  with pytest.raises(ValueError, match=match):
    checks.structure(config)


@pytest.mark.parametrize(
  ('field', 'value', 'match'),
  [
    (
      'methods.byol.batch_size',
      64,
      r'pretrain/byol-.*24 images are fewer than config\.batch_size = 64',
    ),
    ('corpora.sky.dir', '/nowhere', 'pretrain/.*/nowhere'),
    ('corpora.sky.colour', 'red', r"corpora\.sky has no field 'colour'"),
    ('label_sets.spots.tset', '', r"label_sets\.spots has no field 'tset'"),
    ('baselines.pixels.baseline', 'sea', 'pixels.*No baseline named'),
    ('methods.simclr.eval_after', {'a': 1}, 'eval_after is set; wanted none'),
    (
      'label_sets.spots.fields_arcsec',
      (90.0,),
      'wanted more than 0 and at most 72',
    ),
    (
      'checkpoints.lite',
      {'path': '/nowhere/lite', 'seeds': (0,)},
      'lite-s0.*/nowhere/lite',
    ),
  ],
)
def test_cell_that_could_not_run_is_refused_by_name(
  config, tmp_path, field, value, match
):
  _set(config, field, value)
  checks.structure(config)
  with pytest.raises(ValueError, match=match):
    checks.parts(config, tmp_path)


def test_sound_one_is_accepted_and_nothing_is_written(config, tmp_path):
  checks.structure(config)
  checks.parts(config, tmp_path)
  assert not list(tmp_path.iterdir())


def test_search_sees_neither_test_split_nor_hold_out(config):
  config.label_sets.spots = {
    **config.label_sets.spots, 'holdout': 'h.csv', 'holdout_use': 'test'
  }  # fmt: skip
  searched = settings.evaluation(
    config, plan.searched(config, 'simclr', 'small', 1e-3)
  )
  assert searched.data.test == ''
  assert searched.data.holdout == 'h.csv'
  assert searched.data.holdout_use == 'leave_out'
  final = next(c for c in plan.cells(config) if c.stage == 'evaluate')
  assert settings.evaluation(config, final).data.holdout_use == 'test'


def test_choice_by_the_scores_of_the_end_is_told(config, tmp_path, caplog):
  checks.parts(config, tmp_path)
  assert 'those that choose' not in caplog.text
  with config.unlocked():
    config.label_sets.spots.test = ''
  checks.parts(config, tmp_path)
  assert 'those that choose' in caplog.text


def test_baselines_see_what_the_methods_see(config):
  cell = next(c for c in plan.cells(config) if c.method == 'untrained')
  assert settings.evaluation(config, cell).input.size_pix == 16
  config.methods.byol.input.size_pix = 32
  with pytest.raises(ValueError, match=r'input\.size_pix: (16|32) ->'):
    settings.evaluation(config, cell)
  with config.unlocked():
    config.baselines.untrained.input = {'size_pix': 24}
  assert settings.evaluation(config, cell).input.size_pix == 24
