import io
import pickle
import shutil
import tarfile
import types

import astropy.io.fits
import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl.data import catalogue, fits, manifest
from tfds_builders import download
from tfds_builders.mirabest import batches, exclusion
from tfds_builders.mirabest import mirabest_dataset_builder as mirabest

_NAMES = {
  'train': [
    '100_010.451-009.284_0.0529_0080.60',
    '112_020.000+000.000_0.1000_0044.00',
    '200_150.661+012.018_0.2633_0016.53',
    '201_200.000+040.000_0.1000_0100.00',
  ],
  'test': [
    '104_030.033+000.024_0.3793_0027.96',
    '310_206.568+036.150_0.2673_0017.89',
  ],
}


def _picture(name):
  picture = np.zeros((150, 150), np.uint8)
  picture[10, 20 : 20 + int(name[0])] = 255
  return picture


def _batch(names, labels=None):
  codes = list(batches.NAMES_OF_CODES)
  return {
    'labels': labels or [codes.index(n[:3]) for n in names],
    'data': [_picture(n) for n in names],
    'filenames': [np.str_(f'./PNG/{n}.png') for n in names],
  }


def _archive(path, members):
  path.parent.mkdir(parents=True, exist_ok=True)
  with tarfile.open(path, 'w:gz') as archive:
    for name, batch in members.items():
      data = pickle.dumps(batch, protocol=3)
      info = tarfile.TarInfo(f'F_batches/{name}')
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
  return path


def _write_fits(path, name, *, size=300, scale_arcsec=1.8, shift_deg=0.0):
  source = batches.parse_name(name, split='train', picture=_picture(name))
  rng = np.random.default_rng(0)
  pixels = rng.normal(0, 1.5e-4, (size, size)).astype(np.float32)
  pixels[size // 2, size // 2] = 0.1
  cards = {
    'CTYPE1': 'RA---TAN', 'CTYPE2': 'DEC--TAN',
    'CRVAL1': source.ra_deg, 'CRVAL2': source.dec_deg + shift_deg,
    'CRPIX1': (size + 1) / 2, 'CRPIX2': (size + 1) / 2,
    'CDELT1': -scale_arcsec / 3600, 'CDELT2': scale_arcsec / 3600,
  }  # fmt: skip
  path.parent.mkdir(parents=True, exist_ok=True)
  header = astropy.io.fits.Header(cards)
  astropy.io.fits.PrimaryHDU(pixels, header).writeto(path)
  return path


@pytest.fixture
def downloads(tmp_path, monkeypatch):
  """A download manager that has a small archive in the official form."""
  members = {
    'batches.meta': {'label_names': list(batches.NAMES_OF_CODES)},
    'data_batch_1': _batch(_NAMES['train'][:2]),
    'data_batch_2': _batch(_NAMES['train'][2:]),
    'test_batch': _batch(_NAMES['test']),
  }
  archive = _archive(tmp_path / batches.ARCHIVE, members)
  counts = {'confident': {'train': 3, 'test': 1}, 'full': {'train': 4}}
  counts['full']['test'] = 2
  monkeypatch.setattr(mirabest, '_COUNTS', counts)
  return types.SimpleNamespace(
    download=lambda url: archive, manual_dir=tmp_path
  )


def test_a_file_that_lies_in_the_manual_dir_itself_is_taken(real_data):
  builder = mirabest.Builder(config='confident', data_dir=real_data)
  by_hand = types.SimpleNamespace(manual_dir=real_data / 'mirabest')
  path = download.fetch(builder, by_hand, batches.URL)
  assert path == real_data / batches.ARCHIVE
  sha256 = builder.url_infos[batches.URL].checksum
  assert builder.info.metadata['inputs'] == {path.name: sha256}


def test_a_file_in_the_manual_dir_itself_must_be_the_published_one(tmp_path):
  (tmp_path / 'MiraBest_F_batches.tar.gz').write_bytes(b'another')
  builder = mirabest.Builder(config='confident', data_dir=tmp_path)
  by_hand = types.SimpleNamespace(manual_dir=tmp_path)
  with pytest.raises(
    ValueError, match=r'its SHA-256 is ae448.* wanted 5ad6b8f'
  ):
    download.fetch(builder, by_hand, batches.URL)


def test_inputs_are_noted_with_their_sums(downloads, tmp_path):
  builder = mirabest.Builder(config='confident', data_dir=tmp_path / 'data')
  builder._split_generators(downloads)
  found = manifest.sha256(downloads.download(batches.URL))
  assert builder.info.metadata['inputs'] == {'MiraBest_F_batches.tar.gz': found}


def test_silent_server_ends_at_once_and_says_what_to_do(downloads, tmp_path):
  (tmp_path / batches.ARCHIVE).unlink()
  # The suite lets no connection leave the machine.
  with pytest.raises(ValueError, match=r'does not answer .* --manual_dir'):
    _examples('confident', downloads, tmp_path)


def _examples(config, downloads, tmp_path):
  builder = mirabest.Builder(config=config, data_dir=tmp_path / 'data')
  splits = builder._split_generators(downloads)
  return {split: dict(examples) for split, examples in splits.items()}


def test_a_file_name_tells_class_position_redshift_and_size():
  source = batches.parse_name(
    './x/100_010.451-009.284_0.0529_0080.60.png',
    split='test',
    picture=np.zeros((150, 150), np.uint8),
  )
  assert (source.name, source.code, source.split) == (
    '100_010.451-009.284_0.0529_0080.60',
    '100',
    'test',
  )
  assert (source.ra_deg, source.dec_deg) == (10.451, -9.284)
  assert (source.redshift, source.size_arcsec) == (0.0529, 80.6)


@pytest.mark.parametrize(
  'name', ['cat.png', '400_010.451-009.284_0.0529_0080.60.png']
)
def test_another_name_is_refused(name):
  with pytest.raises(ValueError, match='is not a MiraBest name'):
    batches.parse_name(name, split='test', picture=np.zeros((1, 1)))


def test_a_label_that_disagrees_with_its_name_is_refused(tmp_path):
  path = _archive(
    tmp_path / 'a.tar.gz', {'test_batch': _batch(_NAMES['test'], [2, 0])}
  )
  with pytest.raises(ValueError, match=r'label 0 means class 100.*310_206'):
    batches.read(path)


def test_a_source_that_comes_twice_is_refused(tmp_path):
  batch = _batch(_NAMES['test'])
  path = _archive(
    tmp_path / 'a.tar.gz', {'data_batch_1': batch, 'test_batch': batch}
  )
  with pytest.raises(ValueError, match='comes twice'):
    batches.read(path)


def test_confident_keeps_fri_and_frii_alone(downloads, tmp_path):
  examples = _examples('confident', downloads, tmp_path)
  labels = {
    split: {name[:3]: e['label'] for name, e in members.items()}
    for split, members in examples.items()
  }
  assert labels == {
    'train': {'100': 'FRI', '200': 'FRII', '201': 'FRII'},
    'test': {'104': 'FRI'},
  }


def test_full_keeps_the_official_numbers_of_the_classes(downloads, tmp_path):
  examples = _examples('full', downloads, tmp_path)
  builder = mirabest.Builder(config='full', data_dir=tmp_path / 'data')
  label = builder.info.features['label']
  assert {
    name[:3]: label.str2int(e['label'])
    for members in examples.values()
    for name, e in members.items()
  } == {'100': 0, '112': 4, '200': 5, '201': 6, '104': 2, '310': 9}


def test_pictures_keep_rows_and_what_their_names_tell(downloads, tmp_path):
  name = _NAMES['train'][3]
  example = _examples('confident', downloads, tmp_path)['train'][name]
  np.testing.assert_array_equal(example['image'][..., 0], _picture(name))
  assert (example['ra_deg'], example['dec_deg']) == (200, 40)
  assert example['redshift'] == np.float32(0.1)
  assert example['source_size_arcsec'] == 100
  assert example['beam_major_arcsec'] == np.float32(5.4)
  assert np.isnan([example['rms_jy_beam'], example['flux_jy']]).all()


def test_fits_come_in_jy_beam_with_measured_noise_and_flux(downloads, tmp_path):
  names = [*_NAMES['train'], *_NAMES['test']]
  for name in names:
    if name != mirabest.WITHOUT_FITS:
      _write_fits(tmp_path / 'mirabest_fits' / f'{name}.fits', name)
  examples = _examples('fits', downloads, tmp_path)
  assert {k: len(v) for k, v in examples.items()} == {'train': 2, 'test': 1}
  example = examples['test'][_NAMES['test'][0]]
  assert example['image'].shape == (300, 300, 1)
  assert example['rms_jy_beam'] == pytest.approx(1.5e-4, rel=0.03)
  # One pixel of 0.1 Jy/beam under the beam of the south, 5.4 x 6.4 arcsec.
  beam_area_pix = np.pi / (4 * np.log(2)) * 5.4 * 6.4 / 1.8**2
  assert example['flux_jy'] == pytest.approx(0.1 / beam_area_pix, rel=0.02)
  assert example['source_file'] == f'{_NAMES["test"][0]}.fits'


def test_missing_fits_are_counted_and_named(downloads, tmp_path):
  with pytest.raises(ValueError, match=r'no FITS file of 3 of 4 sources'):
    _examples('fits', downloads, tmp_path)


@pytest.mark.parametrize(
  'wrong', [{'size': 150}, {'scale_arcsec': 1.5}, {'shift_deg': 0.1}]
)
def test_a_fits_of_another_frame_is_refused(tmp_path, wrong):
  name = _NAMES['train'][0]
  path = _write_fits(tmp_path / f'{name}.fits', name, **wrong)
  source = batches.parse_name(name, split='train', picture=_picture(name))
  with pytest.raises(ValueError, match=f'{name}.fits.*wanted 300 x 300'):
    mirabest.fits_example(source, 'FRI', path)


def test_other_counts_than_the_published_are_refused(downloads, tmp_path):
  mirabest._COUNTS['confident']['test'] = 2
  with pytest.raises(ValueError, match='not the published one'):
    _examples('confident', downloads, tmp_path)


@pytest.mark.filterwarnings('ignore::ResourceWarning')
def test_an_archive_with_another_checksum_is_refused(tmp_path):
  path = tmp_path / 'manual' / 'mirabest' / 'MiraBest_F_batches.tar.gz'
  _archive(path, {'test_batch': _batch(_NAMES['test'])})
  with pytest.raises(Exception, match='wrong checksum'):
    _build('confident', tmp_path, tmp_path / 'manual')
  assert not list((tmp_path / 'data').glob('**/dataset_info.json'))


def test_exclusion_lists_the_test_sources_of_all_classes(downloads, tmp_path):
  archive = downloads.download(batches.URL)
  archive.rename(archive.with_name('MiraBest_F_batches.tar.gz'))
  output = tmp_path / 'test.csv'
  exclusion.main(['--manual_dir', str(tmp_path), '--output', str(output)])
  sources = catalogue.read(output)
  assert sources.name.tolist() == _NAMES['test']
  assert sources.ra_deg.tolist() == [30.033, 206.568]
  assert sources.dec_deg.tolist() == [0.024, 36.15]
  assert sources.source_size_arcsec.tolist() == [27.96, 17.89]
  exclusion.main(
    ['--manual_dir', str(tmp_path), '--output', str(output), '--all']
  )
  everyone = [name for names in _NAMES.values() for name in names]
  assert sorted(catalogue.read(output).name) == sorted(everyone)


def test_exclusion_that_cannot_be_written_is_one_line(
  downloads, tmp_path, capsys
):
  archive = downloads.download(batches.URL)
  archive.rename(archive.with_name('MiraBest_F_batches.tar.gz'))
  output = str(tmp_path / 'nowhere' / 'test.csv')
  with pytest.raises(SystemExit):
    exclusion.main(['--manual_dir', str(tmp_path), '--output', output])
  assert f'{output}: No such file or directory' in capsys.readouterr().err


def test_exclusion_without_the_batches_says_where_they_are(tmp_path, capsys):
  with pytest.raises(SystemExit):
    exclusion.main(['--manual_dir', str(tmp_path), '--output', 'test.csv'])
  assert 'download it from http' in capsys.readouterr().err


def test_exclusion_of_a_damaged_archive_is_one_line(tmp_path, capsys):
  archive = tmp_path / 'mirabest' / 'MiraBest_F_batches.tar.gz'
  archive.parent.mkdir()
  archive.write_bytes(b'no archive')
  with pytest.raises(SystemExit):
    exclusion.main(['--manual_dir', str(tmp_path), '--output', 'test.csv'])
  assert f'{archive}: not the official' in capsys.readouterr().err


def _build(config, tmp_path, manual_dir):
  builder = mirabest.Builder(
    config=config, data_dir=tmp_path / 'data', file_format='array_record'
  )
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
  )
  return builder


def test_the_real_batches_have_the_official_counts(real_data, tmp_path):
  builder = _build('confident', tmp_path, real_data)
  classes = {
    split: np.bincount([e['label'] for e in builder.as_data_source(split)])
    for split in ('train', 'test')
  }
  assert classes['train'].tolist() == [348, 381]
  assert classes['test'].tolist() == [49, 55]
  sources = batches.read(real_data / 'mirabest/MiraBest_F_batches.tar.gz')
  assert len(sources) == 1256
  assert sum(s.split == 'test' for s in sources) == 157


@pytest.mark.slow
def test_the_real_fits_are_the_same_sources_but_the_one_without(
  real_data, tmp_path
):
  builder = _build('fits', tmp_path, real_data)
  assert {k: v.num_examples for k, v in builder.info.splits.items()} == {
    'train': 728,
    'test': 104,
  }
  pictures = _build('confident', tmp_path, real_data)
  for split in ('train', 'test'):
    names, wanted = (
      {e['name'].decode(): e['label'] for e in b.as_data_source(split)}
      for b in (builder, pictures)
    )
    absent = set(wanted) - set(names)
    assert absent == ({mirabest.WITHOUT_FITS} if split == 'train' else set())
    assert names.items() <= wanted.items()


def test_real_pictures_are_the_middle_of_their_fits_unflipped(real_data):
  sources = batches.read(real_data / 'mirabest/MiraBest_F_batches.tar.gz')
  middle = slice(75, 225)
  agreement = []
  for source in sources[::8]:
    if source.name == mirabest.WITHOUT_FITS:
      continue
    path = real_data / 'mirabest_fits' / f'{source.name}.fits.fz'
    pixels = np.nan_to_num(fits.read(path, unit='Jy/beam').pixels_jy_beam)
    pixels, used = pixels[middle, middle], source.picture > 0

    def correlate(turned, used=used, source=source):
      return np.corrcoef(turned[used], source.picture[used])[0, 1]

    flips = [pixels[::-1], pixels[:, ::-1], pixels[::-1, ::-1]]
    shifts = [np.roll(pixels, s, a) for s in (-1, 1) for a in (0, 1)]
    best_other = max(correlate(p) for p in [*flips, *shifts])
    agreement.append((correlate(pixels), best_other))
  as_is, best_other = np.transpose(agreement)
  assert len(as_is) > 150
  # Two of the 1256 pictures hold no source.
  assert np.count_nonzero(as_is < 0.999) <= 2
  assert np.mean(as_is > best_other) > 0.98


def test_a_real_fits_example_matches_its_source(real_data, tmp_path):
  name = '100_010.451-009.284_0.0529_0080.60'
  path = real_data / 'mirabest_fits' / f'{name}.fits.fz'
  copy = shutil.copy(path, tmp_path)
  source = batches.parse_name(name, split='train', picture=_picture(name))
  example = mirabest.fits_example(source, 'FRI', tmp_path / path.name)
  assert copy.endswith(example['source_file'])
  assert example['image'].shape == (300, 300, 1)
  assert 1e-4 < example['rms_jy_beam'] < 3e-4
  assert 0.01 < example['flux_jy'] < 1
