import io
import pickle
import tarfile
import types

import numpy as np
import pytest
import scipy.ndimage
import tensorflow_datasets as tfds

from tfds_builders.fr_deep import batches
from tfds_builders.fr_deep import fr_deep_dataset_builder as fr_deep
from tfds_builders.frg import pictures as frg

_META = {'label_names': ['FRI', 'FRII'], 'num_cases_per_batch': 50}


def _pixels(row):
  pixels = np.zeros((150, 150), np.uint8)
  pixels[row, 20:22] = 255
  return pixels.ravel()


def _batch(names, labels):
  return {
    'batch_label': 'training batch 1 of 11',
    'filenames': [np.str_(n) for n in names],
    'labels': labels,
    'data': [_pixels(row) for row in range(len(names))],
  }


def _archive(path, members):
  path.parent.mkdir(parents=True, exist_ok=True)
  with tarfile.open(path, 'w:gz') as archive:
    for name, batch in members.items():
      data = pickle.dumps(batch, protocol=2)
      info = tarfile.TarInfo(f'{path.name.split(".")[0]}/{name}')
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
  return path


def _small(path):
  return _archive(
    path,
    {
      'batches.meta': _META,
      'data_batch_1': _batch(['5_example.png', '5_example.png'], [1, 0]),
      'data_batch_2': _batch(['7_FRICAT_FR1_example.png'], [0]),
      'test_batch': _batch(['6_example.png'], [1]),
    },
  )


@pytest.mark.parametrize(
  'file_name, label, name',
  [
    ('141_FRICAT_FR1_example.png', 'FRI', 'FRICAT_FRI_141'),
    ('141_FRICAT_FR1_.png', 'FRI', 'FRICAT_FRI_141'),
    ('5_example.png', 'FRI', 'CoNFIG_FRI_5'),
    ('5_CoNFIG_FR1_.png', 'FRI', 'CoNFIG_FRI_5'),
    ('5_example.png', 'FRII', 'CoNFIG_FRII_5'),
    ('5a.png', 'FRII', 'CoNFIG_FRII_5'),
  ],
)
def test_a_source_has_one_name_in_both_surveys(file_name, label, name):
  assert batches.parse_name(file_name, label) == name


@pytest.mark.parametrize('file_name', ['cat.png', '5.png', '5_FRICAT_FR1.png'])
def test_another_name_is_refused(file_name):
  with pytest.raises(ValueError, match='is not an FR-DEEP name'):
    batches.parse_name(file_name, 'FRI')


@pytest.mark.parametrize(
  'file_name, label', [('5a.png', 'FRI'), ('5_CoNFIG_FR1_.png', 'FRII')]
)
def test_a_name_of_the_other_class_is_refused(file_name, label):
  with pytest.raises(ValueError, match=f'label {label} of the other class'):
    batches.parse_name(file_name, label)


def test_pictures_keep_rows_labels_and_split(tmp_path):
  pictures = batches.read(_small(tmp_path / 'a.tar.gz'))
  assert [(p.split, p.name, p.label) for p in pictures] == [
    ('test', 'CoNFIG_FRII_6', 'FRII'),
    ('train', 'CoNFIG_FRII_5', 'FRII'),
    ('train', 'CoNFIG_FRI_5', 'FRI'),
    ('train', 'FRICAT_FRI_7', 'FRI'),
  ]
  np.testing.assert_array_equal(pictures[2].pixels.ravel(), _pixels(1))


@pytest.mark.parametrize('classes', [['FRII', 'FRI'], ['FRI'], None])
def test_classes_in_another_order_are_refused(tmp_path, classes):
  meta = _META | {'label_names': classes}
  path = _archive(tmp_path / 'a.tar.gz', {'batches.meta': meta})
  with pytest.raises(ValueError, match=r'batches.meta: label_names is .*want'):
    batches.read(path)


def test_an_archive_that_does_not_name_its_classes_is_refused(tmp_path):
  path = _archive(
    tmp_path / 'a.tar.gz', {'data_batch_1': _batch(['5a.png'], [1])}
  )
  with pytest.raises(ValueError, match='label_names is None'):
    batches.read(path)


@pytest.mark.parametrize('keep', [0, 0.01, 0.5])
def test_half_an_archive_is_named(tmp_path, keep):
  path = _small(tmp_path / 'a.tar.gz')
  data = path.read_bytes()
  path.write_bytes(data[: int(keep * len(data))])
  with pytest.raises(ValueError, match=r'a.tar.gz: .* Fetch it again'):
    batches.read(path)


@pytest.mark.parametrize(
  'wrong, message',
  [
    ({'labels': [2]}, r"'5a.png' has the label 2; wanted 0 or 1"),
    ({'labels': [0]}, r'label FRI of the other class'),
    ({'data': [np.zeros(9, np.uint8)]}, r"'5a.png' is uint8 \(9,\); wanted"),
    ({'data': [np.zeros(22500)]}, r"'5a.png' is float64"),
    ({'data': []}, r'argument 3 is shorter'),
  ],
)
def test_a_picture_that_is_not_as_published_is_named(tmp_path, wrong, message):
  batch = _batch(['5a.png'], [1]) | wrong
  path = _archive(
    tmp_path / 'a.tar.gz', {'batches.meta': _META, 'data_batch_1': batch}
  )
  with pytest.raises(ValueError, match=f'a.tar.gz: data_batch_1: .*{message}'):
    batches.read(path)


def test_a_source_that_comes_twice_is_refused(tmp_path):
  batch = _batch(['5a.png'], [1])
  path = _archive(
    tmp_path / 'a.tar.gz',
    {'batches.meta': _META, 'data_batch_1': batch, 'test_batch': batch},
  )
  with pytest.raises(ValueError, match='comes twice'):
    batches.read(path)


class _Program:
  def __reduce__(self):
    return print, ('a pickle ran code',)


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys):
  path = _archive(tmp_path / 'a.tar.gz', {'data_batch_1': _Program()})
  with pytest.raises(ValueError, match=r'a.tar.gz: .*refused global'):
    batches.read(path)
  assert capsys.readouterr().out == ''


def _generate(config, tmp_path):
  files = {'first': 'FIRST', 'nvss': 'NVSS'}
  path = tmp_path / 'frdeep' / f'{files[config]}_PNG_dataset.tar.gz'
  downloads = types.SimpleNamespace(
    manual_dir=tmp_path, download=lambda url: _small(path)
  )
  _small(path)
  builder = fr_deep.Builder(config=config, data_dir=tmp_path / 'data')
  splits = builder._split_generators(downloads)
  return {split: dict(examples) for split, examples in splits.items()}


@pytest.mark.parametrize(
  'config, scale, beam', [('first', 1.8, np.nan), ('nvss', 15, 45)]
)
def test_examples_have_a_scale_and_no_position(
  tmp_path, monkeypatch, config, scale, beam
):
  monkeypatch.setattr(fr_deep, '_COUNTS', {'train': (2, 1), 'test': (0, 1)})
  examples = _generate(config, tmp_path)
  assert {k: len(v) for k, v in examples.items()} == {'train': 3, 'test': 1}
  example = examples['train']['CoNFIG_FRI_5']
  assert example['label'] == 'FRI'
  assert example['source_file'] == '5_example.png'
  assert np.isnan([example['ra_deg'], example['dec_deg']]).all()
  assert example['pixel_scale_arcsec'] == np.float32(scale)
  np.testing.assert_equal(example['beam_major_arcsec'], np.float32(beam))
  np.testing.assert_array_equal(example['image'].ravel(), _pixels(1))


def test_metadata_say_that_overlap_is_unknown(tmp_path):
  for config in ('first', 'nvss'):
    builder = fr_deep.Builder(config=config, data_dir=tmp_path)
    assert builder.info.metadata['overlap'] == 'unknown'


def test_other_counts_than_the_published_are_refused(tmp_path):
  with pytest.raises(ValueError, match=r'NVSS_PNG.*not the published one'):
    _generate('nvss', tmp_path)


def _build(config, tmp_path, manual_dir):
  builder = fr_deep.Builder(
    config=config, data_dir=tmp_path / 'data', file_format='array_record'
  )
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
  )
  return builder


@pytest.mark.filterwarnings('ignore::ResourceWarning')
def test_an_archive_with_another_checksum_is_refused(tmp_path):
  _small(tmp_path / 'manual' / 'frdeep' / 'FIRST_PNG_dataset.tar.gz')
  with pytest.raises(Exception, match='wrong checksum'):
    _build('first', tmp_path, tmp_path / 'manual')


@pytest.mark.parametrize('config', ['first', 'nvss'])
def test_the_real_archives_have_the_published_counts(
  real_data, tmp_path, config
):
  builder = _build(config, tmp_path, real_data)
  labels = {
    split: np.bincount([e['label'] for e in builder.as_data_source(split)])
    for split in ('train', 'test')
  }
  assert labels['train'].tolist() == [242, 308]
  assert labels['test'].tolist() == [22, 28]


@pytest.fixture(scope='module')
def published(real_data):
  return {
    survey: batches.read(real_data / f'frdeep/{survey}_PNG_dataset.tar.gz')
    for survey in ('FIRST', 'NVSS')
  }


_TURNS = (
  lambda image: image,
  lambda image: image[::-1],
  lambda image: image[:, ::-1],
  lambda image: image[::-1, ::-1],
  np.transpose,
  np.rot90,
)


def _unit(images):
  """Rows of mean 0 and norm 1, of images binned two by two."""
  binned = np.reshape(images, (-1, 75, 2, 75, 2)).mean((2, 4))
  rows = binned.reshape(len(binned), -1)
  rows = rows - rows.mean(axis=1, keepdims=True)
  return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def test_real_first_images_are_turned_as_those_of_frg(published, real_data):
  others = frg.read(real_data / 'griese' / 'galaxy_data_h5.zip')
  middle = slice(75, 225)
  known = _unit([p.pixels[middle, middle] for p in others])
  extended = [
    p.pixels for p in published['FIRST'] if np.sum(p.pixels > 40) > 100
  ]
  best = np.array(
    [(_unit([t(i) for i in extended]) @ known.T).max(axis=1) for t in _TURNS]
  )
  matched = best.max(axis=0) > 0.95
  assert matched.sum() > 70
  assert np.mean(best[:, matched].argmax(axis=0) == 0) > 0.95


def _as_nvss(pixels):
  """A FIRST image in the beam and 21 x 21 pixels of NVSS."""
  wide = np.pad(pixels.astype(float), 50)
  smooth = scipy.ndimage.gaussian_filter(wide, 45 / 2.355 / 1.8)
  at = (np.arange(21) - 10) * 15 / 1.8 + 124.5
  return scipy.ndimage.map_coordinates(
    smooth, np.meshgrid(at, at, indexing='ij'), order=1
  )


def _elongation(image):
  y, x = np.indices(image.shape)
  spread = np.cov(np.stack([y.ravel(), x.ravel()]), aweights=image.ravel())
  small, large = np.linalg.eigvalsh(spread)
  return large / small


def test_real_sources_of_one_name_are_one_source_unturned_in_both(published):
  first, nvss = (
    {p.name: p.pixels for p in published[s] if p.pixels.any()}
    for s in ('FIRST', 'NVSS')
  )
  wins = []
  for name in sorted(set(first) & set(nvss)):
    image = _as_nvss(first[name])
    if _elongation(image) < 2:
      continue
    scores = [
      max(
        np.corrcoef(
          np.roll(turn(image), (y, x), (0, 1)).ravel(),
          nvss[name][65:86, 65:86].ravel(),
        )[0, 1]
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
      )
      for turn in _TURNS
    ]
    wins.append(np.argmax(scores) == 0)
  assert len(wins) > 150
  # By chance it would be a sixth.
  assert np.mean(wins) > 0.7


def test_real_splits_of_the_two_surveys_are_not_the_same(published):
  first, nvss = (
    {p.name for p in published[s] if p.split == 'test'}
    for s in ('FIRST', 'NVSS')
  )
  assert len(first & nvss) == 5
