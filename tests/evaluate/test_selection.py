"""Rows that are held out have no part in anything but the final score."""

import json
import pathlib

import numpy as np
import pytest

from radio_ssl.data import catalogue, manifest
from radio_ssl.evaluate import runner, selection


def _arcsec(angle):
  return angle / 3600


@pytest.fixture
def hold_out(tmp_path):
  """Writes a catalogue of [(ra, dec, size)], none of our names in it."""

  def write(places):
    path = tmp_path / 'h.csv'
    lines = [(f'J{i}', *place, np.nan) for i, place in enumerate(places)]
    catalogue.write(path, lines)
    return str(path)

  return write


def _names(chosen):
  return {
    split: sorted(r['name'].decode() for r in chosen.source(split))
    for split in chosen.rows
  }


def _spoilt(sky, held, spoil):
  """The same sets, but for what `spoil` does to the rows held out."""
  return {
    split: [spoil(r) if r['name'] in held.names else r for r in its]
    for split, its in sky.items()
  }


def _other_image(row):
  generator = np.random.default_rng(row['label'])
  image = generator.normal(0, 0.05, row['image'].shape).astype(np.float32)
  return row | {'image': image}


def _other_label(row):
  return row | {'label': 1 - row['label']}


def test_held_out_sources_are_in_neither_split(write, sky, held):
  chosen = selection.choose(write(sky), 'train', 'test', held_out=held.path)
  assert _names(chosen) == {
    split: sorted(r['name'] for r in its if r['name'] not in held.names)
    for split, its in sky.items()
  }
  assert chosen.holdout['images'] == {
    'train': {'held': 4, 'beside': 0, 'free': 20},
    'test': {'held': 2, 'beside': 0, 'free': 8},
  }
  assert chosen.holdout['num_sources'] == 6
  assert chosen.holdout['file'] == held.path
  assert len(chosen.holdout['sha256']) == 64


@pytest.mark.parametrize('spoil', [_other_image, _other_label])
@pytest.mark.parametrize('protocol', ['linear', 'knn'])
def test_left_out_rows_change_nothing(
  write, sky, held, configure, tmp_path, spoil, protocol
):
  results = []
  for name, its in (('a', sky), ('b', _spoilt(sky, held, spoil))):
    dataset = write(its, name=name)
    settings = configure(dataset, holdout=held.path)
    settings.protocol = protocol
    results.append(
      runner.run(settings, baseline='pixels', output=tmp_path / name)
    )
  for key in ('baseline', 'cross_validation', 'chosen', 'test', 'holdout'):
    assert results[0][key] == results[1][key], key
  # Without the hold-out the same change shows.
  settings.data.holdout = ''
  seen = runner.run(settings, baseline='pixels', output=tmp_path / 'c')
  assert seen['cross_validation'] != results[0]['cross_validation']


@pytest.mark.parametrize('spoil', [_other_image, _other_label])
def test_final_score_is_of_the_hold_out_alone_and_teaches_nothing(
  write, sky, held, configure, tmp_path, spoil
):
  results = []
  for name, its in (('a', sky), ('b', _spoilt(sky, held, spoil))):
    dataset = write(its, name=name)
    settings = configure(dataset, holdout=held.path, holdout_use='test')
    results.append(
      runner.run(settings, baseline='pixels', output=tmp_path / name)
    )
  for result in results:
    scored = {r['name'] for r in result['test']['predictions']}
    learnt = {r['name'] for r in result['cross_validation']['predictions']}
    assert scored == held.names
    everything = {r['name'] for its in sky.values() for r in its}
    assert learnt == everything - held.names
    assert result['scored'] == 'holdout'
  for key in ('baseline', 'cross_validation', 'chosen'):
    assert results[0][key] == results[1][key], key
  assert results[0]['test'] != results[1]['test']
  accuracy = [r['test']['scores']['accuracy'] for r in results]
  if spoil is _other_label:
    assert accuracy == [1, 0]


def _moved(sky, **arcsec):
  """Some sources north of another one, by so many arcsec: s5=('s3', 40)."""
  for its in sky.values():
    for row in its:
      if row['name'] in arcsec:
        to, north = arcsec[row['name']]
        row['ra_deg'] = np.float64(to[1:])
        row['dec_deg'] = np.float64(_arcsec(north))
  return sky


@pytest.mark.parametrize('use', ['leave_out', 'test'])
def test_images_beside_the_hold_out_neither_teach_nor_count(
  write, sky, hold_out, use
):
  # The source reaches 30 arcsec and an image 50.9; two images, 101.8.
  near = _moved(
    sky, s5=('s3', 40), s6=('s3', -100), s102=('s3', 101), s7=('s3', 103)
  )
  path = hold_out([(3.0, _arcsec(-5), np.nan)])
  chosen = selection.choose(
    write(near), 'train', 'test', held_out=path, use=use
  )
  assert chosen.holdout['images'] == {
    'train': {'held': 1, 'beside': 2, 'free': 21},
    'test': {'held': 0, 'beside': 1, 'free': 9},
  }
  left = [name for its in _names(chosen).values() for name in its]
  assert not {'s5', 's6', 's102'} & set(left)
  assert 's7' in left
  assert ('s3' in left) == (use == 'test')


def test_final_mode_counts_no_source_twice(write, sky, held):
  with pytest.raises(ValueError, match=r"twice in the split 'train\+train\["):
    selection.choose(
      write(sky), 'train', 'train[:9]', held_out=held.path, use='test'
    )


def test_large_sources_keep_images_away_by_half_their_size(
  write, sky, hold_out
):
  near = _moved(sky, s5=('s3', 240), s6=('s3', 260))
  path = hold_out([(3.0, 0.0, 400.0)])
  chosen = selection.choose(write(near), 'train', held_out=path)
  assert chosen.holdout['images']['train']['beside'] == 1
  assert 's5' not in _names(chosen)['train']


def test_place_decides_and_no_name(write, sky, tmp_path):
  path = tmp_path / 'h.csv'
  # s3 is at 3 degrees; what is called s5 here lies at 359.999 and over 0 hours.
  catalogue.write(path, [('s5', 359.999, 0.001, np.nan, np.nan)])
  chosen = selection.choose(write(sky), 'train', held_out=path)
  assert set(range(24)) - {int(n[1:]) for n in _names(chosen)['train']} == {0}


def test_classes_and_a_hold_out_go_together(write, make_rows, held):
  scale = np.full(24, 1.8)
  dataset = write(
    {
      'train': make_rows(24, first=0, classes=3, pixel_scale_arcsec=scale),
    },
    label_names=('one', 'two', 'three'),
  )
  chosen = selection.choose(
    dataset.of_classes(['three', 'one']), 'train', held_out=held.path
  )
  wanted = {f's{i}' for i in range(24) if i % 3 != 1} - held.names
  assert set(_names(chosen)['train']) == wanted
  labels = {r['name'].decode(): r['label'] for r in chosen.source('train')}
  assert all(labels[n] == (0 if int(n[1:]) % 3 == 2 else 1) for n in wanted)


@pytest.mark.parametrize(
  ('places', 'use', 'told'),
  [
    ([(50.5, 0, np.nan)], 'leave_out', r'1 sources none is in .*Name the hold'),
    ([(3, _arcsec(70), np.nan)], 'test', r'sources none is in'),
    ([(i, 0, np.nan) for i in [*range(24), *range(100, 110)]], 'test', 'left'),
  ],
)
def test_hold_out_that_takes_nothing_or_all_is_refused(
  write, sky, hold_out, places, use, told
):
  path = hold_out(places)
  with pytest.raises(ValueError, match=told):
    selection.choose(write(sky), 'train', 'test', held_out=path, use=use)


@pytest.mark.parametrize('field', ['ra_deg', 'dec_deg', 'pixel_scale_arcsec'])
def test_images_whose_sky_is_unknown_are_refused(write, sky, held, field):
  sky['test'][2][field] = np.float64(np.nan)
  with pytest.raises(ValueError, match=r'1 images have no .* such as s102'):
    selection.choose(write(sky), 'train', 'test', held_out=held.path)


@pytest.mark.parametrize(
  ('fields', 'told'),
  [
    ({'holdout': 'gone.csv'}, r'gone\.csv: no such file'),
    ({'holdout_use': 'score'}, "is 'score'; wanted 'leave_out' or 'test'"),
    ({'holdout_use': 'test'}, 'config.data.holdout is empty'),
  ],
)
def test_bad_settings_of_a_hold_out_are_refused_first(
  write, sky, configure, tmp_path, fields, told
):
  settings = configure(write(sky), **fields)
  with pytest.raises(ValueError, match=told):
    runner.run(settings, baseline='pixels', output=tmp_path / 'o')
  assert not (tmp_path / 'o').exists()


def test_report_names_file_digest_and_counts(
  write, sky, held, configure, tmp_path
):
  settings = configure(write(sky), holdout=held.path)
  runner.run(settings, baseline='pixels', output=tmp_path / 'o')
  stored = json.loads((tmp_path / 'o' / 'results.json').read_text())
  digest = manifest.sha256(pathlib.Path(held.path))
  assert stored['holdout']['sha256'] == digest
  page = (tmp_path / 'o' / 'results.md').read_text()
  assert f'`{held.path}` of 6 sources, SHA-256 {digest}: left out' in page
  assert "of 24 images of 'train' 4 are of its sources" in page


@pytest.mark.parametrize('use', ['leave_out', 'test'])
def test_pretraining_on_the_hold_out_is_counted_and_marked(
  write, sky, hold_out, configure, simclr_run, tmp_path, use, caplog
):
  # The encoder saw all of `train` of the shared set, which has no pixel scale:
  # images count by their centre. One source of the hold-out is of no set here.
  path = hold_out([(3, 0, np.nan), (104, 0, np.nan), (9.001, 0, np.nan)])
  del sky['train'][9]
  settings = configure(write(sky), holdout=path, holdout_use=use)
  result = runner.run(settings, checkpoint=simclr_run, output=tmp_path / 'o')
  showing = result['overlap']['showing']
  assert showing['holdout'] == 2
  assert "sources of 'holdout'" in caplog.text
  page = (tmp_path / 'o' / 'results.md').read_text()
  assert (' * |' in page) == (use == 'test')
