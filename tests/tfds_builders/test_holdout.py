"""Whole groups of sky are held out, and nothing that shares their sky stays."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl import testing
from radio_ssl.data import catalogue, examples, exclusion, manifest, pipeline
from radio_ssl.evaluate import holdout as evaluated
from tfds_builders import build, holdout
from tfds_builders.image_folder import samples

_CLASSES = ('FRI', 'FRII')


def _example(name, ra, dec, **known):
  settings = {'pixel_scale_arcsec': 10.0, 'label': 'FRI', **known}
  pixels = np.full((8, 8), settings.pop('pixel', 1), np.uint8)
  return examples.example(
    pixels, name=name, source_file='a.png', ra_deg=ra, dec_deg=dec, **settings
  )


@pytest.fixture
def write(tmp_path):
  def of(name, rows):
    # TFDS shuffles, and both splits count.
    return testing.write(
      tmp_path,
      {'train': rows[: len(rows) // 2], 'test': rows[len(rows) // 2 :]},
      name=name,
      label_names=_CLASSES,
    )

  return of


def _alone(prefix, num, first=0):
  """Sources a degree apart, FRI and FRII in turn."""
  return [
    _example(f'{prefix}{i}', first + i, 10.0, label=_CLASSES[i % 2])
    for i in range(num)
  ]


def _run(output, *folders, **flags):
  argv = [f'--{key}={value}' for key, value in flags.items()]
  paths = [str(folder) for folder in folders]
  return holdout.main([*paths, '--output', str(output), *argv])


def _refused(capsys, output, *folders, **flags):
  capsys.readouterr()
  with pytest.raises(SystemExit) as stop:
    _run(output, *folders, **flags)
  assert stop.value.code == 1
  told = capsys.readouterr().err
  assert told.count('\n') == 1
  return told


def test_catalogue_is_one_that_others_read(write, tmp_path, capsys):
  rows = _alone('a', 20)
  rows[4]['source_size_arcsec'] = np.float32(70)
  folder = write('small', rows)
  output = tmp_path / 'h.csv'
  assert _run(output, folder) == 0
  found = catalogue.read(output)
  assert len(found) == 6
  by_name = {row['name']: row for row in rows}
  for name, ra, dec, size, label in zip(
    found.name,
    found.ra_deg,
    found.dec_deg,
    found.source_size_arcsec,
    found.label,
    strict=True,
  ):
    row = by_name[name]
    assert (ra, dec, label) == (row['ra_deg'], row['dec_deg'], row['label'])
    np.testing.assert_equal(size, float(row['source_size_arcsec']))
  header = output.read_text().splitlines()[0]
  assert header.endswith('source_size_arcsec,data_set,class,group')
  record = json.loads((tmp_path / 'h.json').read_text())
  assert record['sha256'] == manifest.sha256(output)
  assert (record['fraction'], record['seed']) == (0.3, 0)
  assert record['groups'] == {'all': 20, 'held_out': 6}
  assert record['data_sets']['small'] == {
    'classes': {
      'FRI': {'all': 10, 'held_out': 3},
      'FRII': {'all': 10, 'held_out': 3},
    },
    'empty': 0,
    'fingerprint': pipeline.open_dataset(folder).fingerprint,
    'unknown_size': 19,
  }
  shown = capsys.readouterr().out
  assert '3 of 10 FRI' in shown and '6 of 20 groups' in shown


def test_order_of_the_sets_makes_no_difference(write, tmp_path):
  folders = [
    write('a', _alone('a', 30)),
    write('b', _alone('b', 24, first=15)),
    write('c', _alone('c', 20, first=100)),
  ]
  _run(tmp_path / 'x.csv', *folders)
  _run(tmp_path / 'y.csv', *folders[::-1])
  # The same rows in another order on disk.
  moved = testing.write(
    tmp_path / 'other',
    {'only': _alone('a', 30)[::-1]},
    name='a',
    label_names=_CLASSES,
  )
  _run(tmp_path / 'z.csv', folders[2], moved, folders[1])
  text = (tmp_path / 'x.csv').read_text()
  assert (tmp_path / 'y.csv').read_text() == text
  assert (tmp_path / 'z.csv').read_text() == text
  _run(tmp_path / 's.csv', *folders, seed=1)
  assert (tmp_path / 's.csv').read_text() != text


def test_draw_is_what_it_was():
  # A hold-out is told by its seed: another one needs another name.
  sources = [
    holdout.Source('a', f'{i:02d}', i, 0.0, 'FRI', -1.0, 60.0, False)
    for i in range(20)
  ]
  held, groups = holdout.draw(sources, fraction=0.3, seed=0)
  assert np.flatnonzero(held).tolist() == [0, 2, 4, 5, 8, 16]
  assert groups.tolist() == list(range(20))


def _crowded(seed):
  """Two sets on 3 x 3 degrees: many images overlap, many sources are in both.

  Fields of 80 and 400 arcsec; sizes are known in the first set alone.
  """
  rng = np.random.default_rng(seed)
  sources = []
  for n in range(160):
    ra = 10 + 3 * rng.random() / np.cos(np.radians(51))
    dec = 50 + 3 * rng.random()
    label = _CLASSES[rng.integers(2)]
    if n % 4:
      size = float(rng.exponential(40))
      sources.append(
        holdout.Source('a', f'a{n}', ra, dec, label, size, 80.0, False)
      )
    if n % 4 != 1:
      # Catalogues differ by some arcsec, and in their classes.
      dec += float(rng.normal(0, 4)) / 3600
      other = _CLASSES[rng.integers(2)]
      sources.append(
        holdout.Source('b', f'b{n}', ra, dec, other, -1.0, 400.0, False)
      )
  return sources


def _columns(sources, *names):
  return [np.array([getattr(s, name) for s in sources]) for name in names]


@pytest.mark.parametrize('seed', range(4))
def test_nothing_that_is_kept_shares_sky_with_what_is_held_out(seed):
  sources = _crowded(seed)
  held, _ = holdout.draw(sources, fraction=0.3, seed=seed)
  ra, dec, size, field, of = _columns(
    sources, 'ra_deg', 'dec_deg', 'size_arcsec', 'field_arcsec', 'data_set'
  )
  size = np.where(size < 0, np.nan, size)
  for a, b in ((held, ~held), (~held, held)):
    shown = exclusion.Exclusion(ra[a], dec[a], size[a]).holds(
      ra[b], dec[b], field_arcsec=field[b]
    )
    assert not shown.any()
  # Squares, north up, by a formula of its own.
  east = (ra - ra[:, None]) * np.cos(np.radians(dec)) * 3600
  north = (dec - dec[:, None]) * 3600
  overlap = np.maximum(np.abs(east), np.abs(north)) < (
    (field + field[:, None]) / 2
  )
  assert np.triu(overlap, 1).sum() > 100
  assert not (overlap & (held[:, None] != held)).any()
  # Each class of each set has its share all the same.
  (labels,) = _columns(sources, 'label')
  for name in 'ab':
    for label in _CLASSES:
      share = held[(of == name) & (labels == label)].mean()
      assert share == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize('seed', range(4))
def test_evaluator_finds_what_was_drawn_and_nothing_beside_it(seed, tmp_path):
  sources = _crowded(seed)
  held, groups = holdout.draw(sources, fraction=0.3, seed=seed)
  lines = holdout.rows(sources, held, groups)
  catalogue.write(
    tmp_path / 'h.csv', [(*line[:3], line[3] or np.nan, '') for line in lines]
  )
  out = evaluated.read(tmp_path / 'h.csv')
  for name in 'ab':
    mine = np.array([s.data_set == name for s in sources])
    its = [s for s in sources if s.data_set == name]
    ra, dec, size, field = _columns(
      its, 'ra_deg', 'dec_deg', 'size_arcsec', 'field_arcsec'
    )
    sky = np.stack([ra, dec, field, np.where(size < 0, np.nan, size)], axis=1)
    fates = evaluated.judge(out, [s.name for s in its], sky, tmp_path)
    wanted = np.where(held[mine], evaluated.HELD, evaluated.FREE)
    np.testing.assert_array_equal(fates, wanted)


def test_one_source_in_three_sets_is_on_one_side(write, tmp_path):
  folders = [write(name, _alone(name, 20)) for name in ('a', 'b', 'c')]
  _run(tmp_path / 'h.csv', *folders)
  held = catalogue.read(tmp_path / 'h.csv')
  numbers = sorted(name[1:] for name in held.name)
  assert len(held) == 18
  assert all(numbers.count(number) == 3 for number in numbers)


def test_source_listed_twice_is_on_one_side_and_counts_twice(write, tmp_path):
  rows = _alone('a', 20)
  rows += [dict(rows[i]) for i in (0, 1, 2, 3)]
  _run(tmp_path / 'h.csv', write('a', rows), fraction=0.5)
  held = [str(name) for name in catalogue.read(tmp_path / 'h.csv').name]
  for name in ('a0', 'a1', 'a2', 'a3'):
    assert (name in held) == (f'{name}#2' in held)
  record = json.loads((tmp_path / 'h.json').read_text())
  assert record['images']['all'] == 24
  assert record['groups']['all'] == 20


def test_images_that_show_nothing_are_kept(write, tmp_path):
  rows = _alone('a', 20)
  for row in rows[:8]:
    row['image'] = np.zeros_like(row['image'])
  _run(tmp_path / 'h.csv', write('a', rows), fraction=0.5)
  held = set(catalogue.read(tmp_path / 'h.csv').name)
  assert len(held) == 10
  assert not held & {f'a{i}' for i in range(8)}
  record = json.loads((tmp_path / 'h.json').read_text())
  assert record['data_sets']['a']['empty'] == 8


def _without(field):
  def spoil(rows):
    rows[3][field] = np.float64(np.nan)
    return rows

  return spoil


@pytest.mark.parametrize(
  ('spoil', 'flags', 'told'),
  [
    (_without('ra_deg'), {}, "a3 of 'train' has no position"),
    (_without('dec_deg'), {}, "a3 of 'train' has no position"),
    (_without('pixel_scale_arcsec'), {}, 'no pixel scale'),
    (lambda rows: rows, {'fraction': 0}, '--fraction 0.0: wanted more'),
    (lambda rows: rows, {'fraction': 'nan'}, '--fraction nan: wanted more'),
    (lambda rows: rows, {'fraction': 1.5}, '--fraction 1.5: wanted'),
    (lambda rows: rows[::2] + rows[1:2], {}, 'Class a FRII has 1 sources'),
  ],
)
def test_what_cannot_be_drawn_from_is_refused_in_one_line(
  write, tmp_path, capsys, spoil, flags, told
):
  folder = write('a', spoil(_alone('a', 12)))
  assert told in _refused(capsys, tmp_path / 'h.csv', folder, **flags)
  assert not list(tmp_path.glob('h.*'))


def test_sets_without_labels_and_sets_given_twice_are_refused(
  write, tmp_path, capsys
):
  folder = write('a', _alone('a', 12))
  output = tmp_path / 'h.csv'
  assert 'a is given twice' in _refused(capsys, output, folder, folder)
  bare = [dict(row) for row in _alone('b', 4)]
  for row in bare:
    del row['label']
  unlabelled = testing.write(tmp_path, {'train': bare}, name='b')
  assert 'has no labels' in _refused(capsys, output, folder, unlabelled)
  assert 'no finished data set' in _refused(capsys, output, tmp_path / 'no')
  assert 'ends in .csv' in _refused(capsys, tmp_path / 'h.json', folder)
  assert not list(tmp_path.glob('h.*'))


def test_another_hold_out_is_not_overwritten(write, tmp_path, capsys):
  folder = write('a', _alone('a', 20))
  output = tmp_path / 'h.csv'
  _run(output, folder)
  before = output.read_bytes(), (tmp_path / 'h.json').read_bytes()
  assert _run(output, folder) == 0
  assert 'another hold-out is there' in _refused(capsys, output, folder, seed=1)
  assert (output.read_bytes(), (tmp_path / 'h.json').read_bytes()) == before


def test_no_unlabelled_tile_shows_a_held_out_source(tmp_path):
  # Ten sources 90 arcsec apart on a mosaic of 900, which is then tiled.
  path = samples.write_fits(
    tmp_path / 'mosaic.fits',
    ra_deg=30.0,
    size_pix=500,
    BMAJ=0.0015,
    BMIN=0.0015,
  )
  rows = [
    _example(
      f's{i}',
      30 + (90 * i - 400) / 3600 / np.cos(np.radians(30)),
      30.0,
      label=_CLASSES[i % 2],
      pixel_scale_arcsec=4.0,
    )
    for i in range(10)
  ]
  folder = testing.write(
    tmp_path, {'train': rows}, name='a', label_names=_CLASSES
  )
  output = tmp_path / 'h.csv'
  _run(output, folder)
  directory = build.build(
    'radio_fits',
    config='tiles',
    data_dir=tmp_path / 'data',
    name='blind',
    images=str(path),
    size_pix=20,
    exclude=str(output),
  )
  blind = pipeline.open_dataset(directory)
  tiles = list(blind.source('train'))
  held = catalogue.read(output)
  assert len(held) == 4
  ra, dec = (np.array([t[k] for t in tiles]) for k in ('ra_deg', 'dec_deg'))
  east = (ra - held.ra_deg[:, None]) * np.cos(np.radians(30)) * 3600
  north = (dec - held.dec_deg[:, None]) * 3600
  # Tiles of 36 arcsec that grow by 30 at every side, corners rounded.
  beyond = np.hypot(
    np.maximum(np.abs(east) - 18, 0), np.maximum(np.abs(north) - 18, 0)
  )
  assert beyond.min() > 29.9
  metadata = json.loads(pathlib.Path(directory, 'metadata.json').read_text())
  assert metadata['excluded'] > 4
  assert tfds.builder_from_directory(directory).info.splits['train']
