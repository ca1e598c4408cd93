import io
import types
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl.data import fits
from tfds_builders.frg import frg_dataset_builder as frg
from tfds_builders.frg import pictures


def _source(name, split, *, pixels=None):
  """The published form of a source; a test spoils what it is about."""
  ra, dec, label, catalogue = name.split('_')
  if pixels is None:
    pixels = np.zeros((300, 300), np.uint8)
    pixels[10, 20 : 21 + int(label)] = 255
  return {
    'pixels': pixels,
    'attrs': {
      'RA': float(ra),
      'DEC': float(dec),
      'Source': catalogue,
      'Filepath_literature': f'{pictures.CLASSES[int(label)]}/{name}.png',
    },
    'label': float(label),
    'split': split,
  }


def _write(path, sources, spoil=lambda file: None):
  path.parent.mkdir(parents=True, exist_ok=True)
  data = io.BytesIO()
  with h5py.File(data, 'w') as file:
    for number, source in enumerate(sources):
      group = file.create_group(f'data_{number}')
      image = group.create_dataset('Img', data=source['pixels'])
      image.attrs.update(source['attrs'])
      group['Label_literature'] = source['label']
      group['Split_literature'] = source['split']
    spoil(file)
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(f'{path.stem}.h5', data.getvalue())
  return path


_SMALL = [
  _source('10.5_-5.25_0_MiraBest', 'train'),
  _source('20.0_30.0_1_Gendre', 'train'),
  _source('30.0_40.0_2_Baldi2018', 'valid'),
  _source('40.0_50.0_3_Proctor', 'test'),
]


def test_a_picture_has_class_split_and_position_of_the_file(tmp_path):
  path = _write(tmp_path / 'a.zip', _SMALL)
  found = pictures.read(path)
  assert [(p.split, p.label) for p in found] == [
    ('test', 'Bent'),
    ('train', 'FRI'),
    ('train', 'FRII'),
    ('valid', 'Compact'),
  ]
  south = found[1]
  assert south.name == '10.5_-5.25_0_MiraBest'
  assert (south.ra_deg, south.dec_deg) == (10.5, -5.25)
  np.testing.assert_array_equal(south.pixels, _SMALL[0]['pixels'])


@pytest.mark.parametrize(
  'wrong, message',
  [
    ({'label': 1.0}, r'label 1.0 disagrees with the file name FRI/10.5'),
    ({'label': 4.0}, r'Label_literature is 4.0'),
    ({'label': 0.5}, r'Label_literature is 0.5'),
    ({'split': 'training'}, r"Split_literature is 'training'"),
    ({'pixels': np.zeros((300, 150), np.uint8)}, r'Img is uint8 \(300, 150\)'),
    ({'pixels': np.zeros((300, 300), np.float32)}, r'Img is float32'),
  ],
)
def test_a_group_that_is_not_as_published_is_named(tmp_path, wrong, message):
  path = _write(tmp_path / 'a.zip', [*_SMALL[1:], _SMALL[0] | wrong])
  with pytest.raises(ValueError, match=f'a.zip: group data_3: {message}'):
    pictures.read(path)


@pytest.mark.parametrize(
  'wrong, message',
  [
    ({'RA': 11.5}, r'position \(11.5, -5.25\) disagrees'),
    ({'DEC': np.nan}, r'position \(10.5, nan\) disagrees'),
    ({'Filepath_literature': 'FRI/cat.png'}, r"is 'FRI/cat.png'"),
  ],
)
def test_an_attribute_that_is_not_as_published_is_named(
  tmp_path, wrong, message
):
  source = _SMALL[0] | {'attrs': _SMALL[0]['attrs'] | wrong}
  path = _write(tmp_path / 'a.zip', [source])
  with pytest.raises(ValueError, match=f'a.zip: group data_0: .*{message}'):
    pictures.read(path)


def _soft_link(file, _):
  file['data_9'] = h5py.SoftLink('/data_0')


def _link_to_another_file(file, other):
  del file['data_0/Img']
  file['data_0/Img'] = h5py.ExternalLink(str(other), '/data_0/Img')


def _storage_in_another_file(file, other):
  attrs = dict(file['data_0/Img'].attrs)
  del file['data_0/Img']
  image = file.create_dataset(
    'data_0/Img', (300, 300), np.uint8, external=[(str(other), 0, 90000)]
  )
  image.attrs.update(attrs)


def _parts_of_another_file(file, other):
  attrs = dict(file['data_0/Img'].attrs)
  del file['data_0/Img']
  layout = h5py.VirtualLayout((300, 300), np.uint8)
  layout[:] = h5py.VirtualSource(str(other), '/data_0/Img', (300, 300))
  file.create_virtual_dataset('data_0/Img', layout).attrs.update(attrs)


@pytest.mark.parametrize(
  'spoil',
  [
    _soft_link,
    _link_to_another_file,
    _storage_in_another_file,
    _parts_of_another_file,
  ],
)
def test_what_another_file_holds_is_never_read(tmp_path, spoil):
  other = tmp_path / 'secret.h5'
  with h5py.File(other, 'w') as file:
    file['data_0/Img'] = np.full((300, 300), 7, np.uint8)
  path = _write(tmp_path / 'a.zip', _SMALL, lambda file: spoil(file, other))
  with pytest.raises(ValueError, match=r'is a link|stored in another file'):
    pictures.read(path)


def test_a_file_that_is_no_zip_is_named(tmp_path):
  path = tmp_path / 'a.zip'
  path.write_bytes(b'no zip')
  with pytest.raises(ValueError, match=r'a.zip: not a zip .* Fetch it again'):
    pictures.read(path)


def test_a_zip_without_hdf5_in_it_is_named(tmp_path):
  path = tmp_path / 'a.zip'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('a.h5', b'no HDF5')
  with pytest.raises(ValueError, match=r'a.zip: not a zip with a readable'):
    pictures.read(path)


@pytest.mark.parametrize('keep', [0.2, 0.5, 0.9])
def test_half_an_hdf5_file_is_named(tmp_path, keep):
  whole = zipfile.ZipFile(_write(tmp_path / 'a.zip', _SMALL)).read('a.h5')
  path = tmp_path / 'b.zip'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('b.h5', whole[: int(keep * len(whole))])
  with pytest.raises(ValueError, match=r'b.zip: .*[Ff]etch it again'):
    pictures.read(path)


@pytest.mark.parametrize('members', [['a.h5', 'b.h5'], ['a.txt'], []])
def test_a_zip_of_other_members_is_refused(tmp_path, members):
  path = tmp_path / 'a.zip'
  with zipfile.ZipFile(path, 'w') as archive:
    for name in members:
      archive.writestr(name, b'')
  with pytest.raises(ValueError, match=r'wanted one \.h5'):
    pictures.read(path)


def test_a_member_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(pictures, '_LARGEST_BYTES', 1000)
  with pytest.raises(ValueError, match='of at most 1000'):
    pictures.read(_write(tmp_path / 'a.zip', _SMALL))


def test_a_source_that_comes_twice_is_refused(tmp_path):
  path = _write(tmp_path / 'a.zip', [*_SMALL, _SMALL[0]])
  with pytest.raises(ValueError, match='comes twice'):
    pictures.read(path)


def _per_class(sources):
  return {
    split: tuple(
      sum(s['split'] == split and s['label'] == k for s in sources)
      for k in range(4)
    )
    for split in pictures.SPLITS
  }


def _generate(config, tmp_path, monkeypatch, files, counts):
  """Examples of each split, of small files in the published form."""
  for name, sources in files.items():
    _write(tmp_path / 'griese' / name, sources)
  monkeypatch.setitem(frg._COUNTS, config, counts)
  downloads = types.SimpleNamespace(
    manual_dir=tmp_path,
    download=lambda url: tmp_path / 'griese' / url.split('/')[-1],
  )
  builder = frg.Builder(config=config, data_dir=tmp_path / 'data')
  splits = builder._split_generators(downloads)
  return {split: dict(examples) for split, examples in splits.items()}


def test_official_examples_carry_scale_position_and_beam(tmp_path, monkeypatch):
  examples = _generate(
    'official',
    tmp_path,
    monkeypatch,
    {'galaxy_data_h5.zip': _SMALL},
    _per_class(_SMALL),
  )
  assert {k: len(v) for k, v in examples.items()} == {
    'train': 2,
    'valid': 1,
    'test': 1,
  }
  south = examples['train']['10.5_-5.25_0_MiraBest']
  north = examples['train']['20.0_30.0_1_Gendre']
  np.testing.assert_array_equal(south['image'][..., 0], _SMALL[0]['pixels'])
  assert (south['ra_deg'], south['dec_deg']) == (10.5, -5.25)
  assert south['label'] == 'FRI'
  assert south['source_file'] == '10.5_-5.25_0_MiraBest.png'
  assert south['pixel_scale_arcsec'] == np.float32(1.8)
  assert south['rotation_deg'] == 0
  assert south['beam_major_arcsec'] == np.float32(6.4)
  assert north['beam_major_arcsec'] == np.float32(5.4)
  assert np.isnan([south['redshift'], south['source_size_arcsec']]).all()


def test_a_fold_has_the_test_of_all_folds(tmp_path, monkeypatch):
  examples = _generate(
    'crossvalid_3',
    tmp_path,
    monkeypatch,
    {
      'galaxy_data_crossvalid_3_h5.zip': _SMALL[:3],
      'galaxy_data_crossvalid_test_h5.zip': _SMALL[3:],
    },
    _per_class(_SMALL),
  )
  assert list(examples['test']) == ['40.0_50.0_3_Proctor']
  assert len(examples['train']) == 2


def test_other_counts_than_the_published_are_refused(tmp_path, monkeypatch):
  with pytest.raises(
    ValueError, match=r"galaxy_data_h5.zip: config 'official'"
  ):
    _generate(
      'official',
      tmp_path,
      monkeypatch,
      {'galaxy_data_h5.zip': _SMALL[1:]},
      _per_class(_SMALL),
    )


def _build(config, tmp_path, manual_dir):
  builder = frg.Builder(
    config=config, data_dir=tmp_path / 'data', file_format='array_record'
  )
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
  )
  return builder


def test_the_real_fold_of_another_size_is_built(real_data, tmp_path):
  builder = _build('crossvalid_4', tmp_path, real_data)
  assert {k: v.num_examples for k, v in builder.info.splits.items()} == {
    'train': 1412,
    'valid': 346,
    'test': 400,
  }
  assert builder.info.metadata['pixel_scale_arcsec'] == 1.8
  first = builder.as_data_source('test')[0]
  assert first['image'].shape == (300, 300, 1)
  assert first['image'].max() == 255


@pytest.mark.slow
@pytest.mark.parametrize('config', sorted(set(frg._COUNTS) - {'crossvalid_4'}))
def test_every_real_config_has_its_counts(real_data, tmp_path, config):
  # The build compares them with the published ones, class by class.
  builder = _build(config, tmp_path, real_data)
  names = [
    record['name']
    for split in pictures.SPLITS
    for record in builder.as_data_source(split)
  ]
  assert len(names) == len(set(names)) == 2158


@pytest.mark.filterwarnings('ignore::ResourceWarning')
def test_a_file_with_another_checksum_is_refused(tmp_path):
  _write(tmp_path / 'manual' / 'griese' / 'galaxy_data_h5.zip', _SMALL)
  with pytest.raises(Exception, match='wrong checksum'):
    _build('official', tmp_path, tmp_path / 'manual')


def test_without_the_files_the_server_and_the_remedy_are_named(tmp_path):
  # The suite lets no connection leave the machine.
  with pytest.raises(ValueError, match=r'zenodo.* as griese/galaxy_data_h5'):
    _build('official', tmp_path, tmp_path)


def test_real_pictures_are_their_fits_unflipped(real_data):
  published = pictures.read(real_data / 'griese' / 'galaxy_data_h5.zip')
  paths = {
    path.name[4:19]: path
    for path in (real_data / 'mirabest_fits').glob('*.fits.fz')
  }
  agreement = []
  for picture in published[::6]:
    path = paths.get(f'{picture.ra_deg:07.3f}{picture.dec_deg:+08.3f}')
    used = picture.pixels > 0
    if path is None or not used.any():
      continue
    pixels = np.nan_to_num(fits.read(path, unit='Jy/beam').pixels_jy_beam)

    def correlate(turned, used=used, picture=picture):
      # Half of the pictures lie one row higher or lower.
      return max(
        np.corrcoef(np.roll(turned, rows, 0)[used], picture.pixels[used])[0, 1]
        for rows in (-1, 0, 1)
      )

    turns = [pixels[::-1], pixels[:, ::-1], pixels[::-1, ::-1], pixels.T]
    agreement.append((correlate(pixels), max(correlate(t) for t in turns)))
  as_is, best_other = np.transpose(agreement)
  assert len(as_is) > 100
  assert np.median(as_is) > 0.95
  assert np.mean(as_is > best_other) > 0.95
