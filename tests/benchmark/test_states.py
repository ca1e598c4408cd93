"""How far a benchmark is, as its folders tell."""

import pytest

from radio_ssl.benchmark import marks, plan, settings, sources, states


def _by_name(config, workdir):
  return {it.cell.name: it for it in states.look(config, workdir)}


def _begin(config, cell, workdir):
  marks.write(
    workdir / cell.name / marks.CELL,
    {
      'settings': settings.compared(config, cell),
      'contents': sources.contents(config, cell),
    },
  )


def test_states_follow_the_marks(config, finish, diverge, tmp_path):
  done, running, failed, diverged = (
    plan.tried(config, method, 'small', lr)
    for method in ('simclr', 'byol')
    for lr in (1e-3, 1e-2)
  )
  finish(done)
  diverge(diverged)
  marks.write(
    tmp_path / failed.name / marks.FAILED,
    {'why': 'no room', 'diverged': False},
  )
  with marks.lock(tmp_path / running.name):
    found = _by_name(config, tmp_path)
  assert found[done.name].state == 'done'
  assert found[done.name].seconds == 2
  assert found[running.name].state == 'running'
  assert found[failed.name].state == 'failed'
  assert found[failed.name].why == 'no room'
  assert found[diverged.name].state == 'diverged'
  scores = {
    it.cell.pretraining: it.state
    for it in found.values()
    if it.cell.stage == 'search'
  }
  assert scores == {
    done.name: 'ready',
    running.name: 'waiting',
    failed.name: 'waiting',
    diverged.name: 'diverged',
  }


def test_table_counts_every_cell_and_names_what_failed(
  config, finish, diverge, tmp_path
):
  finish(plan.tried(config, 'simclr', 'small', 1e-3))
  diverge(plan.tried(config, 'byol', 'small', 1e-3))
  text = states.table(states.look(config, tmp_path))
  assert '| search pretrain | 1 | 0 | 2 | 0 | 0 | 1 |' in text
  assert '| all | 1 | 0 | 7 | 10 | 0 | 2 |' in text
  assert 'diverged: pretrain/byol-small-sky-lr0.001-s0: not finite' in text


def test_eta_is_of_what_is_left_at_the_pace_so_far(config, finish, tmp_path):
  assert '0:00 and 20 of kinds' in states.eta(states.look(config, tmp_path))
  finish(plan.tried(config, 'simclr', 'small', 1e-3))
  # Five pretrainings of two seconds; fourteen evaluations of nobody knows.
  assert states.eta(states.look(config, tmp_path)) == (
    '19 of 20 cells left; ETA of one machine 0:10 and 14 of kinds that none '
    'has been finished of yet.'
  )


@pytest.mark.parametrize(
  ('field', 'value', 'match'),
  [
    ('methods.simclr.num_steps', 3, r'settings\.num_steps: 2 -> 3'),
    ('encoders.small.width', 0.125, r'settings\.encoder\.width'),
    ('corpora.sky.split', 'train[:12]', r'settings\.data\.split'),
  ],
)
def test_cell_of_other_settings_is_refused(
  config, tmp_path, field, value, match
):
  cell = plan.tried(config, 'simclr', 'small', 1e-3)
  _begin(config, cell, tmp_path)
  states.check_unchanged(config, tmp_path, states.look(config, tmp_path))
  *groups, name = field.split('.')
  target = config
  for group in groups:
    target = target[group]
  with target.unlocked():
    target[name] = value
  with pytest.raises(ValueError, match=rf'{cell.name}.*{match}'):
    states.check_unchanged(config, tmp_path, states.look(config, tmp_path))


def test_evaluation_of_an_encoder_of_other_settings_is_refused(
  config, tmp_path
):
  cell = plan.searched(config, 'simclr', 'small', 1e-3)
  _begin(config, cell, tmp_path)
  config.methods.simclr.optimizer.weight_decay = 0.5
  with pytest.raises(ValueError, match=r'pretraining\.optimizer\.weight_decay'):
    states.check_unchanged(config, tmp_path, states.look(config, tmp_path))


def test_what_changes_no_result_may_change(config, tmp_path):
  cell = plan.tried(config, 'simclr', 'small', 1e-3)
  _begin(config, cell, tmp_path)
  config.methods.simclr.log_every = 7
  config.methods.simclr.data.num_threads = 1
  # The other method is no business of this cell.
  config.methods.byol.num_steps = 9
  states.check_unchanged(config, tmp_path, states.look(config, tmp_path))


def test_cell_of_other_images_is_refused(config, tmp_path, monkeypatch):
  cell = plan.tried(config, 'simclr', 'small', 1e-3)
  _begin(config, cell, tmp_path)
  monkeypatch.setattr(
    sources, 'contents', lambda *_: {'pretraining set': 'another'}
  )
  with pytest.raises(ValueError, match=r'pretraining set: .* -> another'):
    states.check_unchanged(config, tmp_path, states.look(config, tmp_path))
