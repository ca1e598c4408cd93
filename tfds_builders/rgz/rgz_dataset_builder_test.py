import json
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl.data import fits, noise, pipeline
from tfds_builders import build
from tfds_builders.rgz import fetch, fetching, samples, selection, shelf, zoo
from tfds_builders.rgz import rgz_dataset_builder as builder

SIZE = 32


def fill(folder, rows, *, tell=lambda line: None, **how):
  """A folder of fetched images, some of which may be missing."""

  def get(source):
    if source.name.startswith('failing'):
      raise shelf.NotFetchedError('HTTP status 503.', again=False)
    blank = None
    if source.name.startswith('blank'):

      def blank(sky):
        sky.fill(np.nan)

    if source.name.startswith('marked'):

      def blank(sky):
        sky[30, 12] = 0.7

    return samples.image(source.ra_deg, source.dec_deg, blank=blank)

  folder.mkdir(exist_ok=True)
  fetch.run(
    samples.write_catalogue(folder / 'c.csv', rows),
    folder / 'out',
    lambda: get,
    pixels=samples.PIXELS,
    patience=fetching.Patience(1, 99),
    tell=tell,
    **how,
  )
  return folder / 'out'


def built(tmp_path, folder, config='clean', **options):
  directory = build.build(
    'rgz',
    config=config,
    data_dir=tmp_path / 'data',
    manual_dir=folder,
    size_pix=SIZE,
    **options,
  )
  data = tfds.builder_from_directory(directory)
  found = {
    example['name'].decode(): (split, example)
    for split in data.info.splits
    for example in data.as_data_source(split)
  }
  return directory, found, data.info.metadata


def select(folder, *, clean=True, **how):
  """What a build would take, in no time."""
  settings = {
    'size_pix': SIZE,
    'fractions': (0.8, 0.1, 0.1),
    'seed': 0,
    'allow_incomplete': False,
  }
  return selection.select(folder, clean=clean, **settings | how)


def splits(chosen):
  names = [source.name for source in chosen.sources]
  return dict(zip(names, chosen.splits, strict=True))


def row(name, ra=10.0, dec=30.0, level=0.9, extent=20.0, label='1C-1P'):
  return (name, ra, dec, level, extent, label[0], label[3])


@pytest.fixture
def many():
  """Ten sources of each class, far from each other."""
  return samples.rows(60, zoo.CLASSES)


def test_fetched_images_become_a_data_set(tmp_path, many):
  many.append(row('marked', dec=30.5))
  many.append(row('south', ra=9.0, dec=-3.0, extent=-99, label='3C-3P'))
  folder = fill(tmp_path, many)
  directory, found, metadata = built(tmp_path, folder)
  assert directory == tmp_path / 'data' / 'rgz' / 'clean' / '1.0.0'
  assert len(found) == 62 and metadata['images'] == 62
  dataset = pipeline.open_dataset(directory)
  assert dataset.label_names == zoo.CLASSES
  assert set(dataset.num_examples) == set(selection.SPLITS)
  for name, _, _, _, _, parts, peaks in many:
    label = zoo.CLASSES.index(f'{parts}C-{peaks}P')
    assert found[name][1]['label'] == label

  _, example = found['marked']
  pixels = example['image'][..., 0]
  assert pixels.shape == (SIZE, SIZE) and pixels.dtype == np.float32
  # Row 30 and column 12 of 40, as row 0 is south and east is left.
  assert pixels[26, 8] == np.float32(0.7)
  assert pixels[15, 15] == pixels[16, 15] == np.float32(0.05)
  assert (example['ra_deg'], example['dec_deg']) == (10.0, 30.5)
  assert example['pixel_scale_arcsec'] == np.float32(1.8)
  assert example['beam_major_arcsec'] == np.float32(5.4)
  assert abs(example['rotation_deg']) < 1e-3
  assert example['source_size_arcsec'] == 20
  assert 0.005 < example['flux_jy'] < 0.1
  assert example['rms_jy_beam'] == pytest.approx(samples.RMS, rel=0.1)
  assert abs(example['background_jy_beam']) < samples.RMS / 4
  assert example['source_file'] == b'marked.fits'
  _, south = found['south']
  assert south['beam_major_arcsec'] == np.float32(6.4)
  assert south['beam_minor_arcsec'] == np.float32(5.4)
  assert np.isnan(south['source_size_arcsec'])
  assert np.isnan(south['flux_jy']) and np.isnan(south['redshift'])
  assert metadata['samplers'] == {'NNSampler': 62}


def test_noise_is_measured_on_all_that_was_fetched(tmp_path, many):
  folder = fill(tmp_path, many[:1])
  source = zoo.load(folder / 'sources.csv')[0]
  path = shelf.image_path(folder, source.image)
  digest = shelf.settled(folder)[source.image]['sha256']
  example = builder.example(source, path, digest, 16)
  assert example['image'].shape == (16, 16, 1)
  background, rms = noise.background_and_rms(fits.read(path).pixels_jy_beam)
  assert example['rms_jy_beam'] == np.float32(rms)
  assert example['background_jy_beam'] == np.float32(background)


def test_splits_are_stratified_and_share_no_sky(tmp_path, many):
  # Images that overlap, by more than the beam and less than a diagonal.
  near = [
    (f'near{n}', many[n][1] + 0.012, *many[n][2:]) for n in range(0, 60, 6)
  ]
  chosen = select(fill(tmp_path, many + near))
  radius = SIZE * 1.8 * np.sqrt(2)
  assert chosen.radius_arcsec == pytest.approx(radius)
  assert 5 < 0.012 * np.cos(np.radians(30.77)) * 3600 < radius
  found = splits(chosen)
  for n in range(0, 60, 6):
    assert found[f'near{n}'] == found[many[n][0]]
  counts = chosen.counts()
  for split, classes in counts.items():
    share = 8 if split == 'train' else 1
    assert [classes[label] for label in zoo.CLASSES[1:]] == [share] * 5
  assert counts['train']['1C-1P'] == 16


def test_the_split_hangs_on_the_seed_and_not_on_the_order(tmp_path, many):
  folder = fill(tmp_path / 'a', many)
  first = splits(select(folder))
  assert splits(select(fill(tmp_path / 'b', many[::-1]))) == first
  assert splits(select(folder, seed=1)) != first


def test_what_is_left_out_is_counted_by_name(tmp_path, many, capsys):
  many += [
    row('blank', 10.0),
    row('low', 11.0, level=0.6),
    row('unknown', 12.0, level=-99),
    row('one', 13.0, level=0.7),
    row('two', 13.0004, level=0.8),
    row('three', 13.0, level=0.8),
    row('fri', 14.0, level=0.7),
    row('frii', 14.0, level=1.0, label='2C-2P'),
    row('odd', 15.0, label='7C-8P'),
  ]
  folder = fill(tmp_path, many)
  directory, found, metadata = built(tmp_path, folder)
  assert len(found) == 61 and 'three' in found
  assert metadata['left_out'] == {
    'low consensus': 2,
    'no coverage': 1,
    'repeated': 2,
    'several classes': 2,
  }
  assert metadata['not_asked_for'] == {'class 7C-8P': 1}
  assert metadata['catalogue_rows'] == 69
  report = json.loads((directory / 'ingest_report.json').read_text())
  assert len(report['files']) == 68
  files = report['files']
  assert files['three']['status'] == 'accepted'
  assert files['three']['split'] == found['three'][0]
  assert files['one']['reason'] == 'three is of this source too.'
  assert files['fri']['reason'] == 'is 1C-1P and 2C-2P in 2 rows.'
  assert files['blank']['kind'] == 'no coverage'
  assert 'finite pixel' in files['blank']['reason']
  assert files['low']['reason'] == 'consensus level 0.6; wanted 0.65.'
  shown = capsys.readouterr().err
  assert '61 images of 69 sources' in shown and '1 class 7C-8P' in shown

  chosen = select(folder, clean=False)
  assert len(chosen.sources) == 67
  assert chosen.metadata()['left_out'] == {'no coverage': 1}
  assert splits(chosen)['fri'] == splits(chosen)['frii']


def test_an_incomplete_folder_is_refused_unless_allowed(tmp_path, many):
  many += [row('failing1', 10.0), row('failing2', 11.0)]
  folder = fill(tmp_path, many)
  message = r'2 of 62 images \(failing1, failing2\) were not fetched'
  with pytest.raises(ValueError, match=message):
    built(tmp_path, folder)
  _, found, metadata = built(tmp_path, folder, allow_incomplete=True)
  assert len(found) == 60 and metadata['left_out'] == {'not fetched': 2}
  assert metadata['options']['allow_incomplete'] is True
  # What was built so is not taken for all of it.
  with pytest.raises(ValueError, match='was built with allow_incomplete=True'):
    built(tmp_path, folder)


def test_a_removed_or_damaged_image_stops_the_build(tmp_path, many):
  folder = fill(tmp_path, many)
  path = shelf.image_path(folder, many[5][0])
  content = path.read_bytes()
  path.unlink()
  with pytest.raises(ValueError, match=r'1 of 60 images .* were not fetched'):
    select(folder)
  path.write_bytes(content[:6000] + b'\0' + content[6001:])
  with pytest.raises(ValueError, match=r'its SHA-256 is not that of manifest'):
    built(tmp_path, folder)
  path.write_bytes(content)
  assert len(select(folder).sources) == 60


def test_a_folder_that_was_not_filled_is_told(tmp_path, many):
  with pytest.raises(ValueError, match=r'no folder of images\. Fetch them'):
    build.build('rgz', data_dir=tmp_path / 'data')
  with pytest.raises(ValueError, match=r'plan\.json: no plan of fetched'):
    built(tmp_path, tmp_path)
  folder = fill(tmp_path, many)
  with pytest.raises(ValueError, match='size_pix 39 is wanted to be 38 or'):
    build.build(
      'rgz', data_dir=tmp_path / 'data', manual_dir=folder, size_pix=39
    )


def test_too_few_sources_of_a_class_are_told(tmp_path, many):
  folder = fill(tmp_path, many[:14])
  with pytest.raises(ValueError, match=r'Class 1C-3P has 2 .*--fractions 0\.8'):
    select(folder)
  chosen = select(folder, fractions=(0.5, 0, 0.5))
  assert list(chosen.counts()) == ['train', 'test']
  with pytest.raises(ValueError, match=r'fractions \(1, 1\): wanted three'):
    built(tmp_path, folder, fractions=(1, 1))


def test_a_catalogue_without_levels_is_not_clean(tmp_path, many):
  rows = [(*r[:3], -99, *r[4:]) for r in many]
  folder = fill(tmp_path, rows)
  with pytest.raises(ValueError, match='no consensus levels, which the config'):
    select(folder)
  assert len(select(folder, clean=False).sources) == 60


def test_the_command_builds(tmp_path, many, capsys):
  folder = fill(tmp_path, many)
  status = build.main(
    [
      'rgz',
      f'--manual_dir={folder}',
      f'--data_dir={tmp_path / "data"}',
      f'--size_pix={SIZE}',
      '--fractions=0.6,0.2,0.2',
    ]
  )
  assert status == 0
  directory = pathlib.Path(capsys.readouterr().out.strip())
  assert pipeline.open_dataset(directory).num_examples == {
    'train': 36,
    'valid': 12,
    'test': 12,
  }
