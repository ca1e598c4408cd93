"""The cells of a matrix, and what the search makes of them."""

import collections

import pytest

from radio_ssl.benchmark import choice, plan, states


def _counts(config):
  return collections.Counter(cell.stage for cell in plan.cells(config))


def test_every_cell_of_the_matrix_is_there_once(config):
  # Seed 0 on the search's corpus is the one that won it.
  assert _counts(config) == {
    'search_pretrain': 4,
    'search': 4,
    'pretrain': 2,
    # linear: 2 methods x 2 seeds and 2 baselines; knn: the best one's.
    'evaluate': 6 + 4,
  }


def test_names_are_folders_of_their_own(config, search, tmp_path):
  search({m: {1e-3: 0.6, 1e-2: 0.7} for m in ('simclr', 'byol')})
  names = [it.cell.name for it in states.look(config, tmp_path)]
  assert len(set(names)) == len(names)
  assert 'evaluate/spots-linear/simclr-small-sky-lr0.01-s1' in names
  assert 'evaluate/spots-linear/untrained-small-s0' in names
  assert 'evaluate/spots-linear/pixels-s0' in names


def test_one_learning_rate_and_no_best_method_need_no_search(config):
  config.learning_rates = (1e-3,)
  config.protocol_of_best = {}
  assert _counts(config) == {'pretrain': 4, 'evaluate': 12}
  assert all(cell.is_known for cell in plan.cells(config))


def test_methods_keep_their_learning_rates_without_a_grid(config):
  config.learning_rates = ()
  config.methods.byol.optimizer.lr = 0.25
  assert plan.learning_rates(config, 'byol') == (0.25,)


def test_protocol_may_be_for_some_labelled_sets_alone(config):
  config.label_sets.others = config.label_sets.spots
  config.protocol_label_sets = {'knn': ('others',)}
  found = {
    (cell.label_set, cell.protocol)
    for cell in plan.cells(config)
    if cell.stage == 'evaluate'
  }
  assert found == {
    ('spots', 'linear'), ('others', 'linear'), ('others', 'knn')
  }  # fmt: skip


def test_protocol_may_be_for_some_corpora_alone(config):
  config.corpora.sea = config.corpora.sky
  config.protocol_corpora = {'linear': ('sea',), 'knn': ('sky',)}
  found = {
    (cell.corpus, cell.protocol)
    for cell in plan.cells(config)
    if cell.stage == 'evaluate' and cell.source == 'method'
  }
  assert found == {('sea', 'linear'), ('sky', 'knn')}
  assert _counts(config)['pretrain'] == 2 + 4


def test_every_seed_is_finished_before_the_next(config):
  config.baselines.untrained.seeds = (5, 3)
  final = [c for c in plan.cells(config) if c.stage in plan.STAGES[2:]]
  seeds = [cell.seed for cell in final if cell.source == 'method']
  assert seeds == sorted(seeds) and set(seeds) == {0, 1}
  stages = [cell.stage for cell in final if cell.seed in (1, 3)]
  assert stages == ['pretrain'] * 2 + ['evaluate'] * (len(stages) - 2)
  assert [c.seed for c in final if c.method == 'untrained'] == [5, 5, 3, 3]


def test_checkpoint_is_evaluated_by_its_protocols(config):
  config.checkpoints.lite = {
    'path': 'x', 'seeds': (0, 1), 'protocols': ('linear',)
  }  # fmt: skip
  found = [c for c in plan.cells(config) if c.source == 'checkpoint']
  assert [(c.method, c.seed, c.protocol) for c in found] == [
    ('lite', 0, 'linear'),
    ('lite', 1, 'linear'),
  ]


def test_baseline_is_evaluated_on_its_label_sets(config):
  config.label_sets.others = config.label_sets.spots
  config.baselines.pixels.label_sets = ('others',)
  found = [(c.method, c.label_set) for c in plan.cells(config)]
  assert {label_set for name, label_set in found if name == 'pixels'} == {
    'others'
  }
  assert {label_set for name, label_set in found if name == 'untrained'} == {
    'spots',
    'others',
  }


def test_image_protocol_leaves_out_baselines_without_images_and_tells(config):
  config.protocols.linear.protocol = 'finetune'
  found = {
    c.method for c in plan.cells(config)
    if c.source == 'baseline' and c.protocol == 'linear'
  }  # fmt: skip
  assert found == {'untrained'}
  (told,) = plan.left_out(config)
  assert told.startswith('pixels with linear')


def test_best_learning_rate_and_method_by_cross_validation(
  config, search, tmp_path
):
  search({'simclr': {1e-3: 0.6, 1e-2: 0.7}, 'byol': {1e-3: 0.65, 1e-2: 0.5}})
  made = choice.made(config, tmp_path)
  assert {key: it.lr for key, it in made.items()} == {
    ('simclr', 'small'): 1e-2,
    ('byol', 'small'): 1e-3,
  }
  assert choice.rankings(config, made) == {'small': ['simclr', 'byol']}
  best = [
    it.cell.method
    for it in states.look(config, tmp_path)
    if it.cell.protocol == 'knn' and it.cell.source == 'method'
  ]
  assert best == ['simclr', 'simclr']


def test_half_a_search_chooses_nothing(config, search, tmp_path):
  search({'simclr': {1e-3: 0.9}, 'byol': {1e-3: 0.5, 1e-2: 0.6}})
  made = choice.made(config, tmp_path)
  assert list(made) == [('byol', 'small')]
  assert choice.rankings(config, made) == {}
  waiting = {
    it.cell.method: it.why
    for it in states.look(config, tmp_path)
    if it.cell.stage == 'pretrain' and it.state == 'waiting'
  }
  assert waiting == {'simclr': 'the learning rate of simclr with small'}


def test_learning_rate_that_diverged_is_not_chosen(
  config, search, diverge, tmp_path
):
  search({'simclr': {1e-3: 0.6}, 'byol': {1e-3: 0.5, 1e-2: 0.6}})
  diverge(plan.tried(config, 'simclr', 'small', 1e-2))
  made = choice.made(config, tmp_path)['simclr', 'small']
  assert (made.lr, made.accuracies) == (1e-3, {1e-3: 0.6, 1e-2: None})


def test_method_that_diverged_throughout_is_told(config, diverge, tmp_path):
  for lr in (1e-3, 1e-2):
    diverge(plan.tried(config, 'simclr', 'small', lr))
  assert ('simclr', 'small') not in choice.made(config, tmp_path)
  whys = {it.why for it in states.look(config, tmp_path)}
  assert any('all diverged, give lower ones' in why for why in whys)


@pytest.mark.parametrize('n', [1, 2, 3, 7])
def test_shards_divide_the_cells_by_encoder(config, tmp_path, n):
  seen = states.look(config, tmp_path)
  shares = [states.share(seen, (i, n)) for i in range(1, n + 1)]
  names = [it.cell.name for share in shares for it in share]
  assert sorted(names) == sorted(it.cell.name for it in seen)
  owners = collections.defaultdict(set)
  for i, share in enumerate(shares):
    for it in share:
      owners[it.cell.of_encoder].add(i)
  assert all(len(found) == 1 for found in owners.values())
