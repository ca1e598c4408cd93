import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl.data import examples, pipeline
from tfds_builders import build, check
from tfds_builders.joined import join, members
from tfds_builders.joined import report as reports

_RMS = 1e-4


def _image(name, ra, *, side=12, dtype=np.float32, **known):
  """Pixels of the name's own, at (ra, 20), 2 arcsec each."""
  rng = np.random.default_rng(sum(name.encode()))
  pixels = rng.normal(0, _RMS, (side, side))
  if dtype == np.uint8:
    pixels = rng.integers(0, 256, (side, side))
  else:
    known = {'background_jy_beam': 1e-5, 'rms_jy_beam': _RMS, **known}
  place = {'ra_deg': ra, 'dec_deg': 20.0, 'pixel_scale_arcsec': 2.0}
  place['source_file'] = f'{name}.fits'
  return examples.example(
    pixels.astype(dtype), name=name, **(place | {'rotation_deg': 0.0} | known)
  )


@pytest.fixture
def survey(write_dataset):
  """Three float images of 12 pixels."""
  rows = [_image(f's{i}', 10.0 + i, beam_major_arcsec=5.4) for i in range(3)]
  return write_dataset({'train': rows}, name='survey')


@pytest.fixture
def pictures(write_dataset):
  """Labelled pictures of 17 pixels; the first is 20 arcsec beside s2."""
  beside = 12 + 20 / 3600 / np.cos(np.radians(20))
  places = {'p0': beside, 'p1': 21.0, 'p2': 22.0, 'p3': 23.0}
  known = {'side': 17, 'dtype': np.uint8, 'label': 'FRI'}
  rows = [_image(name, ra, flux_jy=0.5, **known) for name, ra in places.items()]
  splits = {'train': rows[:2], 'test': rows[2:]}
  return write_dataset(splits, name='pictures', label_names=['FRI'])


@pytest.fixture
def joined(tmp_path):
  """Builds; gives the records by name, and the metadata."""

  def make(*sets, **options):
    options = {'data_dir': tmp_path / 'data', 'overwrite': True} | options
    directory = build.build('joined', sets=sets, name='both', **options)
    dataset = pipeline.open_dataset(directory)
    rows = {r['name'].decode(): r for r in dataset.source('train')}
    return rows, tfds.builder_from_directory(directory).info.metadata

  return make


def _catalogue(path, *rows):
  lines = ['name,ra_deg,dec_deg,source_size_arcsec']
  lines += [f'x{i},{ra},20.0,{size}' for i, (ra, size) in enumerate(rows)]
  path.write_text('\n'.join(lines) + '\n')
  return str(path)


def _original(directory, split, name):
  source = pipeline.open_dataset(directory).source(split)
  return next(r for r in source if r['name'].decode() == name)


def test_images_are_cut_to_their_centre_and_carry_what_was_known(
  survey, pictures, joined, tmp_path
):
  rows, metadata = joined(f'{survey}:train', f'{pictures}:train+test')
  assert sorted(rows) == ['p1', 'p2', 'p3', 's0', 's1', 's2']
  for name, old in (
    ('s1', _original(survey, 'train', 's1')),
    ('p2', _original(pictures, 'test', 'p2')),
  ):
    new = rows[name]
    assert new['image'].dtype == np.float32
    # Row and column 2 of 17 are the first of the middle 12.
    first = {'s': 0, 'p': 2}[name[0]]
    wanted = old['image'][first : first + 12, first : first + 12]
    np.testing.assert_array_equal(new['image'], wanted.astype(np.float32))
    assert 'label' not in new
    noise = ('background_jy_beam', 'rms_jy_beam')
    for field in set(new) - {'image', *(noise if name == 'p2' else ())}:
      np.testing.assert_array_equal(new[field], old[field], field)
  assert rows['p1']['background_jy_beam'] == 0
  assert rows['p1']['rms_jy_beam'] == np.float32(255 / 90)
  assert metadata['pixel_scale_arcsec'] == 2
  assert metadata['beam_major_arcsec'] is None
  assert metadata['unit'] == 'Jy/beam or counts'
  told = metadata['sets']['pictures']
  assert told['splits'] == 'train+test' and told['unit'] == 'counts'
  assert (told['read'], told['duplicates'], told['kept']) == (4, 1, 3)
  assert metadata['sets']['survey']['kept'] == 3


def test_full_scale_and_size_are_what_the_flags_say(survey, pictures, joined):
  rows, _ = joined(
    f'{survey}:train', f'{pictures}:test', size_pix=9, full_scale_sigma=51.0
  )
  assert rows['p3']['rms_jy_beam'] == 5
  old = _original(pictures, 'test', 'p3')
  np.testing.assert_array_equal(rows['p3']['image'], old['image'][4:13, 4:13])
  old = _original(survey, 'train', 's0')
  np.testing.assert_array_equal(rows['s0']['image'], old['image'][1:10, 1:10])


def test_pixel_scales_that_differ_are_told_by_each_image(
  survey, write_dataset, joined
):
  rows = [_image('w', 50.0, pixel_scale_arcsec=5.0)]
  wide = write_dataset({'train': rows}, name='wide')
  rows, metadata = joined(f'{survey}:train', f'{wide}:train')
  assert metadata['pixel_scale_arcsec'] is None
  assert rows['w']['pixel_scale_arcsec'] == 5
  assert rows['s0']['pixel_scale_arcsec'] == 2


def test_pictures_alone_stay_what_they_are(pictures, joined):
  rows, _ = joined(f'{pictures}:train', size_pix=11)
  assert sorted(rows) == ['p0', 'p1']
  assert rows['p0']['image'].dtype == np.uint8
  old = _original(pictures, 'train', 'p0')
  np.testing.assert_array_equal(rows['p0']['image'], old['image'][3:14, 3:14])
  assert np.isnan(rows['p0']['rms_jy_beam'])
  with pytest.raises(ValueError, match=r'float16: .*stay uint8. Leave'):
    joined(f'{pictures}:train', dtype='float16')


def test_float16_is_read_back_in_either_unit(survey, pictures, joined):
  sets = (f'{survey}:train', f'{pictures}:test')
  exact, _ = joined(*sets)
  half, metadata = joined(*sets, dtype='float16')
  assert metadata['image_unit'] == examples.SCALED_UNIT
  for name, row in exact.items():
    np.testing.assert_allclose(
      half[name]['image'], row['image'], rtol=2**-10, atol=_RMS * 2**-9
    )


def test_no_cut_shows_an_excluded_source(survey, pictures, joined, tmp_path):
  # East of p2 by 30 + 12 + 4 arcsec: a frame of 17 pixels reaches it, one of 12
  # does not. The other is 70 from s0, half its size 60.
  degree = 3600 * np.cos(np.radians(20))
  path = _catalogue(
    tmp_path / 'x.csv', (22 + 46 / degree, 20), (10 - 70 / degree, 120)
  )
  sets = (f'{pictures}:test', f'{survey}:train')
  rows, metadata = joined(*sets, exclude=path)
  assert sorted(rows) == ['p2', 'p3', 's1', 's2']
  assert metadata['sets']['survey']['excluded'] == 1
  rows, metadata = joined(sets[0], exclude=path)
  assert sorted(rows) == ['p3']
  assert metadata['sets']['pictures']['excluded'] == 1


def test_a_turned_square_holds_what_lies_in_its_corners(
  write_dataset, joined, tmp_path
):
  rows = [_image('a', 10.0), _image('b', 11.0, rotation_deg=45.0)]
  folder = write_dataset({'train': rows})
  # 44 arcsec to the east: 12 + 30 straight on, 17 + 30 over a corner.
  degree = 3600 * np.cos(np.radians(20))
  places = [(ra + 44 / degree, '') for ra in (10, 11)]
  path = _catalogue(tmp_path / 'x.csv', *places)
  rows, metadata = joined(f'{folder}:train', exclude=path)
  assert sorted(rows) == ['a']
  assert metadata['excluded_unsized'] == 2


def test_a_source_of_two_sets_comes_once_as_the_first_has_it(
  survey, pictures, joined
):
  rows, metadata = joined(f'{pictures}:train', f'{survey}:train')
  assert sorted(rows) == ['p0', 'p1', 's0', 's1']
  assert metadata['sets']['survey']['duplicates'] == 1
  # They are 20 arcsec apart.
  for apart, count in ((19.5, 5), (0.0, 5), (20.5, 4)):
    sets = (f'{survey}:train', f'{pictures}:train')
    assert len(joined(*sets, same_arcsec=apart)[0]) == count


def test_a_set_is_compared_with_all_before_it_and_never_with_itself(
  survey, write_dataset, joined
):
  rows = [_image('far', 60.0), _image('beside', 60.001)]
  other = write_dataset({'train': rows}, name='other')
  rows = [_image('r1', 11.0), _image('new', 61.0), _image('again', 60.0)]
  third = write_dataset({'train': rows}, name='third')
  rows, metadata = joined(
    *(f'{folder}:train' for folder in (survey, other, third))
  )
  assert sorted(rows) == ['beside', 'far', 'new', 's0', 's1', 's2']
  assert metadata['sets']['third']['duplicates'] == 2


def test_what_is_left_out_hides_no_other_image(
  survey, write_dataset, joined, tmp_path
):
  # The source is 50 arcsec east of s2, which is cut wide, and 70 of the other.
  degree = 3600 * np.cos(np.radians(20))
  rows = [_image('small', 12 - 20 / degree, pixel_scale_arcsec=1.0)]
  small = write_dataset({'train': rows}, name='small')
  path = _catalogue(tmp_path / 'x.csv', (12 + 41 / degree, 0))
  sets = (f'{survey}:train', f'{small}:train')
  assert sorted(joined(*sets)[0]) == ['s0', 's1', 's2']
  assert sorted(joined(*sets, exclude=path)[0]) == ['s0', 's1', 'small']


def test_images_without_a_position_are_counted_or_refused(
  survey, write_dataset, joined, tmp_path
):
  rows = [_image('n', np.nan), _image('m', 30.0)]
  nowhere = write_dataset({'train': rows}, name='nowhere')
  sets = (f'{nowhere}:train', f'{survey}:train')
  rows, metadata = joined(*sets)
  assert len(rows) == 5
  assert metadata['sets']['nowhere']['without_position'] == 1
  assert metadata['overlap'] == 'unknown'
  assert 'overlap' not in joined(sets[1])[1]
  path = _catalogue(tmp_path / 'x.csv', (0.0, 10))
  with pytest.raises(ValueError, match=r"nowhere.*: n of 'train' has no posit"):
    joined(*sets, exclude=path)
  rows = [_image('k', 5.0, pixel_scale_arcsec=np.nan)]
  scaleless = write_dataset({'train': rows}, name='scaleless')
  with pytest.raises(ValueError, match=r'k of .* has no pixel scale'):
    joined(f'{scaleless}:train', exclude=path)


def test_images_without_noise_are_left_out_and_sets_of_them_refused(
  survey, write_dataset, joined
):
  nan = np.float32(np.nan)
  rows = [
    _image('silent', 40.0, rms_jy_beam=nan),
    _image('zero', 41.0, rms_jy_beam=0.0),
    _image('floating', 42.0, background_jy_beam=nan),
  ]
  blank = _image('blank', 43.0)
  blank['image'] = np.full_like(blank['image'], np.nan)
  folder = write_dataset({'train': rows}, name='silent')
  with pytest.raises(ValueError, match=r'silent.*: 3 of 3 images have no rms'):
    joined(f'{survey}:train', f'{folder}:train')
  rows += [blank, _image('fine', 44.0)]
  folder = write_dataset({'train': rows}, name='some')
  rows, metadata = joined(f'{folder}:train')
  assert [*rows] == ['fine']
  told = metadata['sets']['some']
  assert (told['without_noise'], told['missing'], told['kept']) == (3, 1, 1)


def test_names_and_titles_are_unique(survey, write_dataset, joined, tmp_path):
  splits = {'train': [_image('s0', 60.0)], 'test': [_image('s0', 61.0)]}
  other = write_dataset(splits, name='other')
  rows, metadata = joined(f'{survey}:train', f'{other}:train+test')
  assert sorted(rows) == ['other/test/s0', 'other/train/s0', 's0', 's1', 's2']
  assert rows['other/test/s0']['ra_deg'] == 61
  assert metadata['sets']['other']['renamed'] == 2
  # Another set of that name, and of another content.
  moved = tmp_path / 'moved' / 'other'
  shutil.move(other.parent, moved)
  again = write_dataset({'train': [_image('z', 70.0)]}, name='other')
  rows, metadata = joined(f'{again}:train', f'{moved / "1.0.0"}:test')
  assert list(metadata['sets']) == ['other', 'other#2']


def _refusals(survey, pictures, path):
  yield (), {}, 'no data sets. Set --sets'
  yield [f'{survey}'], {}, 'wanted the folder of a data set and its splits'
  yield [f'{survey}:train+train[:1]'], {}, "split 'train' comes twice"
  yield [f'{path}:train'], {}, 'no finished data set'
  yield [f'{survey}:valid'], {}, "no split 'valid'; there are: train"
  yield [f'{survey}:train', f'{survey}:train[:1]'], {}, 'is the same data set'
  sets = [f'{pictures}:train', f'{survey}:train']
  yield sets, {'size_pix': 13}, r'survey.*12 x 12 pixels.*Lower it to 12'
  yield sets, {'size_pix': 7}, 'size_pix 7: wanted 8'
  yield sets, {'dtype': 'uint8'}, 'wanted float32 or float16'
  yield sets, {'full_scale_sigma': 0.0}, 'full_scale_sigma 0.0: wanted more'
  yield sets, {'same_arcsec': -1.0}, 'same_arcsec -1.0: wanted 0 or more'
  yield sets, {'exclude': f'{path}/no.csv'}, r'no\.csv'


def test_bad_input_is_told_and_leaves_nothing(
  survey, pictures, joined, tmp_path
):
  for sets, options, told in _refusals(survey, pictures, tmp_path):
    with pytest.raises((ValueError, OSError), match=told):
      joined(*sets, **options)
  with pytest.raises(ValueError, match="name 'frg' is a builder"):
    build.build('joined', sets=[f'{survey}:train'], name='frg')
  path = _catalogue(tmp_path / 'x.csv', *((10 + i, 0) for i in range(3)))
  with pytest.raises(ValueError, match='no image is left: survey: 3 read, 0'):
    joined(f'{survey}:train', exclude=path)
  assert not [p for p in (tmp_path / 'data').rglob('*') if p.is_file()]


def test_a_copy_of_a_set_is_the_same_set(survey, joined, tmp_path):
  copy = shutil.copytree(survey, tmp_path / 'copy')
  with pytest.raises(ValueError, match='is the same data set as'):
    joined(f'{survey}:train', f'{copy}:train')


def test_options_stand_for_the_content_of_what_they_name(
  survey, joined, tmp_path, capsys
):
  path = _catalogue(tmp_path / 'x.csv', (0.0, 10))
  joined(f'{survey}:train', exclude=path)
  again = {'overwrite': False, 'exclude': path}
  moved = shutil.move(survey, tmp_path / 'moved')
  joined(f'{moved}:train', **again)
  with pytest.raises(ValueError, match='was built with same_arcsec='):
    joined(f'{moved}:train', same_arcsec=1.0, **again)
  with pytest.raises(ValueError, match=r'was built with sets=.*train\[:2\]'):
    joined(f'{moved}:train[:2]', **again)
  _catalogue(tmp_path / 'x.csv', (1.0, 10))
  with pytest.raises(ValueError, match='was built with exclude='):
    joined(f'{moved}:train', **again)
  # The data outlive their inputs.
  _catalogue(tmp_path / 'x.csv', (0.0, 10))
  capsys.readouterr()
  rows, _ = joined(f'{survey}:train', **again)
  assert len(rows) == 3
  assert 'sets of the command line is not there' in capsys.readouterr().err


def test_the_set_is_sound_mixed_and_tells_what_became_of_its_images(
  write_dataset, tmp_path, capsys
):
  rows = [_image(f'a{i}', 10.0 + i / 2) for i in range(40)]
  first = write_dataset({'train': rows}, name='first')
  rows = [_image(f'b{i}', 90.0 + i / 2) for i in range(40)]
  second = write_dataset({'train': rows}, name='second')
  sets = f'{first}:train,{second}:train[10:]'
  argv = ['joined', '--sets', sets, '--name=both', f'--data_dir={tmp_path}/d']
  capsys.readouterr()
  assert build.main(argv) == 0
  shown = capsys.readouterr()
  directory = tmp_path / 'd' / 'both' / '1.0.0'
  assert shown.out == f'{directory}\n'
  assert 'second: 30 read, 30 kept' in shown.err
  assert check.check(directory) == check.SOUND
  source = pipeline.open_dataset(directory).source('train[:35]')
  letters = [record['name'].decode()[0] for record in source]
  # Seven standard deviations of a draw without replacement.
  assert 5 < letters.count('a') < 35
  report = json.loads((directory / 'ingest_report.json').read_text())
  assert report['sets']['first']['read'] == 40
  card = (directory / 'README.md').read_text()
  assert '- from 2 data sets, each with its fingerprint' in card
  assert report['summary'] in card


def test_images_are_read_as_they_are_asked_for(survey, monkeypatch):
  found = members.opened([f'{survey}:train'])
  drawn = []

  def endless(member):
    record = next(iter(member.dataset.source('train')))
    while True:
      drawn.append(len(drawn))
      yield 'train', {**record, 'name': f'{len(drawn)}'.encode()}

  monkeypatch.setattr(members, 'records', endless)
  made = join.Join(found, 12, 'float32', 90.0, 30.0, None).examples(
    reports.Report(found)
  )
  for _ in range(1000):
    next(made)
  assert len(drawn) < 1100
