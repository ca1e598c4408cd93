import pickle
import shutil

import numpy as np
import PIL.Image
import pytest

from tfds_builders.image_folder import (
  collection,
  folders,
  gather,
  images,
  samples,
)
from tfds_builders.image_folder import image_folder_dataset_builder as builder


def gathered(folder, *, other=(), **options):
  options = builder.Options(folder=str(folder), **options)
  return gather.gather(folders.find(folder, other), options)


def splits_of(found: collection.Collection) -> dict[str, str]:
  return {item.image.name: item.image.split for item in found.looked}


def test_splits_are_drawn_by_class_and_seed(tmp_path):
  folder = samples.fill(tmp_path, samples.write_npy, '.npy', 10)
  found = gathered(folder)
  assert found.metadata()['counts'] == {
    'train': {'FRI': 8, 'FRII': 8},
    'valid': {'FRI': 1, 'FRII': 1},
    'test': {'FRI': 1, 'FRII': 1},
  }
  assert splits_of(gathered(folder)) == splits_of(found)
  assert splits_of(gathered(folder, seed=1)) != splits_of(found)
  assert gathered(folder, fractions=(0.5, 0, 0.5)).splits() == ['train', 'test']


def test_neighbours_and_copies_share_a_split(tmp_path):
  for label in ('FRI', 'FRII'):
    for n in range(12):
      # Pairs that are 40 arcsec apart; fields have 54 arcsec.
      samples.write_fits(
        tmp_path / label / f'{label}{n:02d}.fits',
        ra_deg=10.0 * (n // 2)
        + 0.0128 * (n % 2)
        + (180 if label == 'FRI' else 0),
      )
  found = splits_of(gathered(tmp_path, fractions=(0.5, 0.25, 0.25)))
  assert set(found.values()) == {'train', 'valid', 'test'}
  for label in ('FRI', 'FRII'):
    for n in range(0, 12, 2):
      first, second = (f'{label}/{label}{m:02d}.fits' for m in (n, n + 1))
      assert found[first] == found[second]
  alone = splits_of(
    gathered(tmp_path, fractions=(0.5, 0.25, 0.25), group_radius_arcsec=10.0)
  )
  assert any(
    alone[f'FRI/FRI{n:02d}.fits'] != alone[f'FRI/FRI{n + 1:02d}.fits']
    for n in range(0, 12, 2)
  )
  copied = samples.fill(tmp_path / 'copied', samples.write_npy, '.npy', 6)
  for n in range(6):
    path = copied / 'FRI' / f'FRI{n}.npy'
    shutil.copy(path, path.with_name(f'x{n}.npy'))
  found = gathered(copied, fractions=(0.5, 0.25, 0.25))
  split = splits_of(found)
  assert all(
    split[f'FRI/FRI{n}.npy'] == split[f'FRI/x{n}.npy'] for n in range(6)
  )
  assert found.metadata()['copies'] == 6


def test_folds_take_equal_shares_of_each_class_by_seed(tmp_path):
  folder = samples.fill(tmp_path / 'FRI_FRII', samples.write_npy, '.npy', 12)
  found = gathered(folder, folds=4)
  assert found.metadata()['counts'] == {
    f'fold_{k}': {'FRI': 3, 'FRII': 3} for k in range(4)
  }
  assert found.splits() == ['fold_0', 'fold_1', 'fold_2', 'fold_3']
  assert splits_of(gathered(folder, folds=4)) == splits_of(found)
  assert splits_of(gathered(folder, folds=4, seed=1)) != splits_of(found)
  many = gathered(folder, folds=12)
  assert many.splits() == [f'fold_{k}' for k in range(12)]


def test_neighbours_and_copies_share_a_fold(tmp_path):
  for label, first in (('FRI', 0), ('FRII', 180)):
    for n in range(16):
      # Pairs that are 40 arcsec apart; fields have 54 arcsec.
      samples.write_fits(
        # Letters, as files of one sum of digits have the same noise.
        tmp_path / 'in' / label / f'{label}{chr(97 + n)}.fits',
        ra_deg=first + 10.0 * (n // 2) + 0.0128 * (n % 2),
      )
  for seed in range(4):
    found = splits_of(gathered(tmp_path / 'in', folds=4, seed=seed))
    assert len(set(found.values())) == 4
    for label in ('FRI', 'FRII'):
      for n in range(0, 16, 2):
        one, other = (f'{label}/{label}{chr(97 + m)}.fits' for m in (n, n + 1))
        assert found[one] == found[other]
  copied = samples.fill(tmp_path / 'copied', samples.write_npy, '.npy', 8)
  for n in range(8):
    path = copied / 'FRI' / f'FRI{n}.npy'
    shutil.copy(path, path.with_name(f'x{n}.npy'))
  split = splits_of(gathered(copied, folds=4))
  assert all(
    split[f'FRI/FRI{n}.npy'] == split[f'FRI/x{n}.npy'] for n in range(8)
  )


def test_each_file_is_read_once_and_kept_as_it_was(tmp_path, monkeypatch):
  folder = samples.fill(tmp_path / 'in', samples.write_npy, '.npy', 5)
  read, pixels = images.Reader.read, {}

  def spy(self, path):
    assert path not in pixels
    pixels[path], facts = read(self, path)
    return pixels[path], facts

  monkeypatch.setattr(images.Reader, 'read', spy)
  found = gathered(folder)
  for path in pixels:
    # What is built is what was looked at.
    path.write_text('gone')
  for split in ('test', 'train', 'valid'):
    for name, example in found.examples(split):
      wanted = pixels[folder / name]
      np.testing.assert_array_equal(example['image'][..., 0], wanted)
      assert example['image'].dtype == wanted.dtype
  assert len(pixels) == 10


def damaged(path):
  samples.write_picture(path)
  path.write_bytes(path.read_bytes()[:-200])


def colours(path):
  samples.write_picture(
    path, np.random.default_rng(0).integers(0, 9, (30, 30, 3))
  )


def transparent(path):
  samples.write_picture(path, np.full((30, 30, 4), 9))


def sixteen_bits(path):
  PIL.Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)).save(
    path
  )


def pickled(path):
  np.save(path, np.array([{}], object), allow_pickle=True)


def bare_pickle(path):
  path.write_bytes(pickle.dumps(np.zeros((30, 30))))


def clipped(path):
  pixels = samples.noise(path)
  np.save(path, np.where(pixels > 3 * samples.RMS, pixels, 0))


BAD = {
  'FRI/.DS_Store': ('hidden', lambda p: p.touch()),
  '.git/': ('hidden', lambda p: p.mkdir()),
  'README.txt': ('no class', lambda p: p.touch()),
  'FRI/deep/': ('folder', lambda p: p.mkdir()),
  'FRI/table.csv': ('unknown kind', lambda p: p.touch()),
  'Bent/': ('empty', lambda p: p.mkdir()),
  'FRI/broken.png': ('damaged', damaged),
  'FRI/text.png': ('damaged', lambda p: p.write_text('no image')),
  'FRI/rainbow.png': ('colour', colours),
  'FRI/glass.png': ('alpha', transparent),
  'FRI/deep.png': ('bits', sixteen_bits),
  'FRI/black.png': (
    'empty',
    lambda p: samples.write_picture(p, np.zeros((30, 30))),
  ),
  'FRI/code.npy': ('damaged', pickled),
  'FRI/pickle.npy': ('damaged', bare_pickle),
  'FRI/cube.npy': ('array', lambda p: np.save(p, np.ones((3, 30, 30)))),
  'FRI/counts.npy': ('array', lambda p: np.save(p, np.ones((30, 30), int))),
  'FRI/huge.npy': ('infinite', lambda p: np.save(p, np.full((30, 30), 1e99))),
  'FRI/nothing.npy': (
    'empty',
    lambda p: np.save(p, np.full((30, 30), np.nan)),
  ),
  'FRI/clipped.npy': ('no noise', clipped),
  'FRI/kelvin.fits': ('unit', lambda p: samples.write_fits(p, BUNIT='K')),
  'FRI/nowhere.fits': (
    'WCS',
    lambda p: samples.write_fits(p).write_bytes(
      p.read_bytes().replace(b'RA---TAN', b'LINEAR  ')
    ),
  ),
}


@pytest.mark.parametrize('name', BAD)
def test_what_is_bad_stops_the_build_or_is_listed(tmp_path, name):
  kind, write = BAD[name]
  folder = samples.fill(tmp_path / 'in', samples.write_npy, '.npy')
  write(folder / name)
  with pytest.raises(ValueError, match=r'.*[.].*[.]') as error:
    gathered(folder)
  assert name.strip('/') in str(error.value)
  assert '\n' not in str(error.value)
  found = gathered(folder, skip_bad=True)
  (rejected,) = found.rejected
  assert rejected.strip('/') == name.strip('/')
  assert found.rejected[rejected][0] == kind
  assert len(found.looked) == 8
  assert found.labels() == ['FRI', 'FRII']


def mixed_shapes(folder):
  samples.write_npy(folder / 'FRI' / 'x.npy', samples.noise(folder, (20, 24)))


WRONG = [
  (mixed_shapes, {}, r'2 shapes: 30 x 30 \(8, .*20 x 24 \(1.*--size_pix 30'),
  (
    lambda f: samples.write_fits(f / 'FRI' / 'x.fits'),
    {},
    r'2 units: unknown \(8,',
  ),
  (
    lambda f: samples.write_picture(f / 'FRI' / 'x.png'),
    {},
    r'8-bit \(1, such as FRI',
  ),
  (
    lambda f: samples.write_fits(f / 'train' / 'x' / 'x.fits'),
    {},
    "'FRI' is .* class",
  ),
  (shutil.rmtree, {}, 'no such folder'),
  (lambda f: [shutil.rmtree(p) for p in f.iterdir()], {}, 'no folders in it'),
  (lambda f: (f / 'FRI').rename(f / 'a,b'), {}, "class 'a,b' has a comma"),
  (lambda f: None, {'fractions': (0.5, 0.5)}, 'wanted three of train,valid'),
  (lambda f: None, {'fractions': (0.5, 0.6, -0.1)}, 'wanted three of'),
  (lambda f: None, {'size_pix': 4}, 'size_pix 4: wanted 8'),
  (lambda f: None, {'folds': 1}, 'folds 1: wanted 2'),
  (lambda f: None, {'folds': 0}, 'folds 0: wanted 2'),
  (
    lambda f: None,
    {'folds': 2, 'fractions': (0.5, 0.0, 0.5)},
    'folds 2 and fractions .*equal shares',
  ),
  (lambda f: None, {'folds': 5}, r'4 sources, fewer .*\(--folds 5 asks'),
  (lambda f: None, {'beam_arcsec': np.nan}, 'beam_arcsec nan: wanted'),
  (lambda f: None, {'unit': 'K'}, "'K' does not convert"),
  (lambda f: None, {'name': 'radio_fits'}, 'is a builder'),
  (lambda f: (f / 'FRI' / 'FRI0.npy').unlink(), {'name': 'A'}, 'lower-case'),
]


@pytest.mark.parametrize(('change', 'options', 'message'), WRONG)
def test_what_makes_no_data_set_is_told_in_one_line(
  tmp_path, change, options, message
):
  folder = samples.fill(tmp_path / 'in', samples.write_npy, '.npy')
  change(folder)
  with pytest.raises(ValueError, match=message) as error:
    gathered(folder, **options)
  assert '\n' not in str(error.value)


def test_options_that_files_contradict_are_refused(tmp_path):
  pictures = samples.fill(tmp_path / 'png', samples.write_picture, '.png')
  with pytest.raises(ValueError, match='Leave out --unit'):
    gathered(pictures, unit='Jy/beam')
  linear = samples.fill(tmp_path / 'fits', samples.write_fits, '.fits')
  with pytest.raises(ValueError, match='Leave out --pixel_scale_arcsec'):
    gathered(linear, pixel_scale_arcsec=1.8)
  samples.fill(tmp_path / 'twice' / 'val', samples.write_npy, '.npy')
  samples.fill(tmp_path / 'twice' / 'valid', samples.write_npy, '.npy')
  with pytest.raises(ValueError, match='two folders of one split'):
    gathered(tmp_path / 'twice')
  parted = samples.fill(tmp_path / 'p' / 'train', samples.write_npy, '.npy')
  with pytest.raises(ValueError, match=r'folders tell the splits.*--folds'):
    gathered(parted.parent, folds=2)
  few = samples.fill(tmp_path / 'few', samples.write_npy, '.npy', 2)
  with pytest.raises(ValueError, match=r'2 sources, fewer .*0\.8,0,0\.2'):
    gathered(few)
