import sys

import numpy as np
import pytest

from tfds_builders.rgz import fetch, fetching, runs, samples, shelf, zoo

PIXELS = samples.PIXELS


def busy(wait_s=None):
  return shelf.NotFetchedError('HTTP status 503.', wait_s=wait_s)


def test_every_image_is_asked_for_once_and_never_again(tmp_path):
  sky = runs.Sky()
  outcome, _ = runs.go(tmp_path, sky)
  assert outcome.counts == {'fetched': 4} and outcome.complete
  assert runs.files(tmp_path) == ['s0.fits', 's1.fits', 's2.fits', 's3.fits']
  # More sources are wanted now.
  outcome, _ = runs.go(tmp_path, sky, 6)
  assert outcome.counts == {'fetched': 2, 'already there': 4}
  assert set(sky.asked.values()) == {1} and len(sky.asked) == 6
  assert [line['status'] for line in runs.log(tmp_path)[4:]] == (
    ['already there'] * 4 + ['fetched'] * 2
  )
  assert list((tmp_path / 'out' / 'partial').iterdir()) == []


def test_rows_at_one_place_come_to_one_request(tmp_path):
  twice = [*runs.rows(2), ('other', *runs.rows(2)[0][1:])]
  sky = runs.Sky()
  outcome, told = runs.go(tmp_path, sky, rows=twice)
  assert outcome.counts == {'fetched': 2} and sky.asked.total() == 2
  assert '3 sources, 3 wanted, at 2 positions' in told[0]


def test_requests_never_start_more_often_than_allowed():
  clock = runs.Clock()
  pace = fetching.Pace(4.0, clock=clock, sleep=clock.sleep)
  starts = []
  for work in [0, 0, 0.1, 0, 3, 0, 0, 0.24, 0.26, 0]:
    pace.wait()
    starts.append(clock.now)
    clock.now += work
  assert (np.diff(starts) >= 0.25 - 1e-9).all()
  # Nor does it wait for longer than it has to.
  np.testing.assert_allclose(
    np.diff(starts), [0.25, 0.25, 0.25, 0.25, 3, 0.25, 0.25, 0.25, 0.26]
  )


def test_a_sleep_that_ends_early_makes_no_request_early():
  clock = runs.Clock()
  pace = fetching.Pace(
    1.0, clock=clock, sleep=lambda s: clock.sleep(min(s, 0.3))
  )
  pace.wait()
  pace.wait()
  assert clock.now == pytest.approx(101)


def test_a_busy_server_is_asked_again_after_longer_and_longer_waits(tmp_path):
  clock = runs.Clock()
  sky = runs.Sky(s1=[busy(), busy(), busy(11), busy(1e6)])
  outcome, _ = runs.go(tmp_path, sky, attempts=5, clock=clock)
  assert outcome.counts == {'fetched': 4}
  assert sky.asked == {'s0': 1, 's1': 5, 's2': 1, 's3': 1}
  assert clock.slept == [2, 4, 11, 300]
  assert [line['attempts'] for line in runs.log(tmp_path)] == [1, 5, 1, 1]


@pytest.mark.parametrize(
  'bad',
  [lambda good: good[: len(good) // 2], lambda good: samples.TROUBLE],
  ids=['half', 'html'],
)
def test_what_is_no_whole_image_is_never_kept(tmp_path, bad):
  sky = runs.Sky(s1=[bad], s2=[bad] * 3)
  outcome, told = runs.go(tmp_path, sky)
  assert outcome.counts == {'fetched': 3, 'failed': 1}
  assert not outcome.complete and not outcome.stopped
  assert runs.files(tmp_path) == ['s0.fits', 's1.fits', 's3.fits']
  assert list((tmp_path / 'out' / 'partial').iterdir()) == []
  assert sky.asked == {'s0': 1, 's1': 2, 's2': 3, 's3': 1}
  assert any('s2: failed: not a whole, valid FITS' in line for line in told)
  outcome, _ = runs.go(tmp_path, sky)
  assert outcome.counts == {'fetched': 1, 'already there': 3}
  assert sky.asked.total() == 8


def test_an_image_of_another_grid_or_place_is_not_asked_for_twice(tmp_path):
  sky = runs.Sky(
    s0=[lambda good: samples.image(*runs.rows(1)[0][1:3], PIXELS + 2)],
    s2=[lambda good: samples.image(*runs.rows(3)[2][1:3], scale_arcsec=2.0)],
  )
  outcome, told = runs.go(tmp_path, sky)
  assert outcome.counts == {'fetched': 2, 'failed': 2}
  assert sky.asked == {'s0': 1, 's1': 1, 's2': 1, 's3': 1}
  assert '42 x 42 pixels of 1.8 arcsec' in told[1]
  sky = runs.Sky(s2=[lambda good: samples.image(*runs.rows(1)[0][1:3])])
  outcome, told = runs.go(tmp_path, sky)
  assert 'pixels off the middle' in told[1] and 's2' in told[1]


def test_a_dead_server_ends_the_run_with_one_line(tmp_path):
  dead = {f's{n}': [busy()] * 3 for n in (1, 3, 4)}
  sky = runs.Sky(**dead)
  outcome, _ = runs.go(tmp_path, sky, 7)
  # s2 was well, so s1 and s3 are not one after the other.
  assert outcome.counts == {'fetched': 2, 'failed': 3, 'not asked': 2}
  assert outcome.stopped.startswith(
    'stopped: 2 images failed one after the other, the last with: HTTP status '
    '503. Look at the server'
  )
  assert not outcome.complete
  statuses = 'fetched,failed,fetched,failed,failed,not asked,not asked'
  assert [line['status'] for line in runs.log(tmp_path)] == statuses.split(',')
  outcome, _ = runs.go(tmp_path, sky, 7)
  assert outcome.complete
  assert sky.asked == {
    's0': 1,
    's1': 4,
    's2': 1,
    's3': 4,
    's4': 4,
    's5': 1,
    's6': 1,
  }


def test_progress_is_told_with_the_time_that_is_left(tmp_path):
  clock, sky = runs.Clock(), runs.Sky()

  def slow(source):
    clock.now += 4
    return sky(source)

  _, told = runs.go(tmp_path, slow, 6, clock=clock)
  assert told[1:] == [
    '3/6, ETA 0:00:12; 3 images: 3 fetched',
    '6/6; 6 images: 6 fetched',
  ]
  # What is there takes no time: four are left, after 12 seconds for three.
  clock = runs.Clock()
  _, told = runs.go(tmp_path, slow, 13, clock=clock)
  assert told[1] == ('9/13, ETA 0:00:16; 9 images: 6 already there, 3 fetched')


def test_sources_that_are_not_wanted_are_counted(tmp_path):
  mixed = runs.rows(4, ('1C-1P', '5C-6P'))
  mixed[0] = (*mixed[0][:3], 0.5, *mixed[0][4:])
  outcome, told = runs.go(tmp_path, runs.Sky(), rows=mixed, min_consensus=0.6)
  assert outcome.counts == {'fetched': 1}
  assert told[0].endswith('left out: 2 class 5C-6P, 1 consensus below 0.6')
  plan = shelf.read_plan(tmp_path / 'out')
  assert plan['left_out'] == {'class 5C-6P': 2, 'consensus below 0.6': 1}
  with pytest.raises(ValueError, match='none of 4 sources is wanted'):
    runs.go(tmp_path, runs.Sky(), rows=mixed, min_consensus=1)


def test_pixels_are_those_of_first():
  assert fetch.side(None, None) == 160
  assert fetch.side(None, 300) == 300
  assert fetch.side(4.5, None) == fetch.side(4.5, 150) == 150
  with pytest.raises(ValueError, match=r'150 pixels of 1\.8 arcsec.*not .*300'):
    fetch.side(4.5, 300)
  with pytest.raises(ValueError, match='wanted 16 or more'):
    fetch.side(0.1, None)


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--per_second=0'], 'per_second'),
    (['--columns=x'], 'columns'),
    (['--attempts=0'], 'attempts'),
    (['--min_consensus=65'], 'min_consensus'),
    (['--size_arcmin=3', '--pixels=300'], 'Give one of the two'),
    ([], 'none.csv: not a readable table'),
  ],
)
def test_a_wrong_command_is_told_in_one_line(tmp_path, capsys, flags, message):
  given = [f'--catalogue={tmp_path}/none.csv', f'--output={tmp_path}/out']
  with pytest.raises(SystemExit) as exit_:
    fetch.main([*given, *flags])
  assert exit_.value.code == 1
  error = capsys.readouterr().err
  assert message in error and error.count('\n') == 1


def test_without_astroquery_it_says_what_to_install(
  tmp_path, capsys, monkeypatch
):
  monkeypatch.setitem(sys.modules, 'astroquery', None)
  monkeypatch.delitem(sys.modules, 'tfds_builders.rgz.service', raising=False)
  monkeypatch.delattr('tfds_builders.rgz.service', raising=False)
  path = samples.write_catalogue(tmp_path / 'c.csv', runs.rows(2))
  with pytest.raises(SystemExit) as exit_:
    fetch.main([f'--catalogue={path}', f'--output={tmp_path}/out'])
  assert exit_.value.code == 1
  assert "pip install 'radio_ssl[rgz]'" in capsys.readouterr().err


def test_columns_are_read_from_the_command_line():
  assert fetch.columns('name=A, num_peaks = P') == {
    'name': 'A',
    'num_peaks': 'P',
  }
  assert set(zoo._NAMES) == set(
    'name ra_deg dec_deg num_components num_peaks consensus_level '
    'source_size_arcsec'.split()
  )
