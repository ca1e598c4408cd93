import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl.data import pipeline
from tfds_builders import build
from tfds_builders.image_folder import gather, samples
from tfds_builders.radio_json import info
from tfds_builders.radio_json import radio_json_dataset_builder as builder


@pytest.fixture
def entries(tmp_path):
  """Four FITS of each of two classes, and what info.json tells of them."""
  samples.fill(tmp_path / 'in' / 'cutouts', samples.write_fits, '.fits')
  return [
    {
      'target_path': f'cutouts/{label}/{label}{n}.fits',
      'source_type': label,
      'survey': 'EMU' if n else 'FIRST',
      'telescope': 'ASKAP' if n else 'VLA',
    }
    for label in ('FRI', 'FRII')
    for n in range(4)
  ]


def write(tmp_path, content):
  path = tmp_path / 'in' / 'info.json'
  path.write_text(json.dumps(content))
  return path


def gathered(path, /, **options):
  options = builder.Options(info=str(path), **options)
  return gather.gather(options.found(), options)


def built(tmp_path, path, **options):
  directory = build.build(
    'radio_json',
    data_dir=tmp_path / 'data',
    info=str(path),
    name='msrs',
    **options,
  )
  data = tfds.builder_from_directory(directory)
  examples = {
    e['name'].decode(): e
    for split in data.info.splits
    for e in data.as_data_source(split)
  }
  return directory, examples, data.info.metadata


def test_listed_images_become_a_data_set(tmp_path, entries):
  directory, examples, metadata = built(tmp_path, write(tmp_path, entries))
  assert directory == tmp_path / 'data' / 'msrs' / '1.0.0'
  dataset = pipeline.open_dataset(directory)
  assert dataset.label_names == ('FRI', 'FRII')
  assert set(dataset.num_examples) == {'train', 'valid', 'test'}
  assert sum(dataset.num_examples.values()) == 8
  example = examples['cutouts/FRII/FRII3.fits']
  assert example['label'] == 1
  assert example['dec_deg'] == pytest.approx(30)
  assert metadata['surveys'] == {'EMU': 6, 'FIRST': 2}
  assert metadata['telescopes'] == {'ASKAP': 6, 'VLA': 2}
  assert metadata['unlisted'] == metadata['paths_of_elsewhere'] == 0


def test_both_forms_and_any_keys_and_paths_are_read(tmp_path, entries):
  named = write(tmp_path, {'data': entries})
  found = info.find(named, label='source_type', key='target_path')
  assert len(found.images) == 8 and not found.rejected
  changed = [
    {
      'file': str(tmp_path / 'in' / entry['target_path'])
      if n % 2
      else f'/home/someone/msrs/{entry["target_path"]}',
      'morph': [n // 4],
    }
    for n, entry in enumerate(entries)
  ]
  found = info.find(write(tmp_path, changed).parent, label='morph', key='file')
  assert not found.rejected
  assert [image.label for image in found.images] == ['0'] * 4 + ['1'] * 4
  assert found.images[0].name == 'cutouts/FRI/FRI0.fits'
  assert found.notes['paths_of_elsewhere'] == 4
  found = gathered(write(tmp_path, changed[:7]), label='morph', path='file')
  assert found.metadata()['surveys'] == {'unknown': 7}
  assert found.metadata()['unlisted'] == 1


def test_positions_of_entries_hold_where_images_tell_none(tmp_path, entries):
  folder = tmp_path / 'in' / 'npy'
  samples.fill(folder, samples.write_npy, '.npy')
  where = [(10, -5), ('20.5', '-5'), ('01:00:00', '-05:30:00'), (None, None)]
  keys = [('ra', 'dec'), ('RA', 'DEC'), ('ra_deg', 'dec_deg'), ('ra', 'dec')]
  for n, entry in enumerate(entries):
    entry['target_path'] = (
      entry['target_path'].replace('cutouts', 'npy').replace('.fits', '.npy')
    )
    entry |= zip(keys[n % 4], where[n % 4], strict=True)
  found = gathered(write(tmp_path, entries))
  placed = [
    (item.known['ra_deg'], item.known['dec_deg']) for item in found.looked[:4]
  ]
  np.testing.assert_allclose(
    placed, [(10, -5), (20.5, -5), (15, -5.5), (np.nan, np.nan)], rtol=1e-9
  )
  assert found.metadata()['overlap'] == 'unknown'
  assert found.metadata()['without_position'] == 2


BAD = [
  ('no label', {'source_type': ' '}, 'no class in source_type'),
  ('no label', {'source_type': None}, 'no class'),
  ('no label', {'source_type': []}, 'no class'),
  ('several labels', {'source_type': ['FRI', 'FRII']}, 'has 2 classes'),
  ('label', {'source_type': {'a': 1}}, 'wanted the name of a class'),
  ('no path', {'target_path': 3}, 'target_path is 3; wanted the path'),
  ('no file', {'target_path': 'cutouts/x.fits'}, r'cutouts/x\.fits: no such'),
  ('no file', {'target_path': '/nowhere/x.fits'}, 'no such file, nor below'),
  ('unknown kind', {'target_path': 'info.json'}, 'an ending of no image'),
  ('duplicate', {'target_path': 'cutouts/FRI/FRI1.fits'}, 'entry 2 names this'),
  ('position', {'ra': 'here', 'dec': 1}, 'wanted degrees'),
  ('position', {'ra': 3.0}, 'wanted degrees'),
]


@pytest.mark.parametrize(('kind', 'change', 'message'), BAD)
def test_a_bad_entry_is_told_by_number_or_listed(
  tmp_path, entries, kind, change, message
):
  entries[2] |= change
  path = write(tmp_path, entries)
  with pytest.raises(ValueError, match=f'entry 3: .*{message}') as error:
    gathered(path)
  assert '\n' not in str(error.value)
  found = gathered(path, skip_bad=True)
  assert [*found.rejected] == ['entry 3']
  assert found.rejected['entry 3'][0] == kind
  assert len(found.looked) == 7


def test_a_file_of_two_classes_is_left_out_altogether(tmp_path, entries):
  entries[7]['target_path'] = entries[0]['target_path']
  found = gathered(write(tmp_path, entries), skip_bad=True)
  assert [*found.rejected] == ['entry 1', 'entry 8']
  assert 'entry 8 names this file too, as FRII' in found.rejected['entry 1'][1]
  assert 'entry 1 names this file too, as FRI.' in found.rejected['entry 8'][1]
  assert len(found.looked) == 6


def test_an_image_that_cannot_be_read_is_told_with_its_entry(tmp_path, entries):
  (tmp_path / 'in' / entries[4]['target_path']).write_text('no image')
  path = write(tmp_path, entries)
  with pytest.raises(ValueError, match=r'entry 5: .*FRII0\.fits: not a whole'):
    gathered(path)
  _, examples, metadata = built(tmp_path, path, skip_bad=True)
  assert len(examples) == 7
  (reason,) = metadata['skipped'].values()
  assert reason.startswith('entry 5: not a whole')
  assert metadata['surveys'] == {'EMU': 6, 'FIRST': 1}


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('{"target_path"', 'not JSON'),
    ('[' * 100000, 'not JSON'),
    ('[]', 'wanted a list of entries'),
    ('{"images": []}', 'wanted a list of entries'),
    ('["a.fits"]', 'entry 1: is "a.fits"; wanted an object'),
  ],
)
def test_what_is_no_list_of_entries_is_refused(tmp_path, text, message):
  path = tmp_path / 'info.json'
  path.write_text(text)
  with pytest.raises(ValueError, match=message):
    gathered(path)
  with pytest.raises(ValueError, match=r'no such file\. Correct --info'):
    gathered(tmp_path / 'other.json')


def test_images_of_several_sizes_need_one(tmp_path, entries):
  path = tmp_path / 'in' / entries[0]['target_path']
  path.unlink()
  samples.write_fits(path, size_pix=40)
  listed = write(tmp_path, entries)
  with pytest.raises(ValueError, match=r'2 shapes: .*--size_pix 30'):
    gathered(listed)
  _, examples, metadata = built(tmp_path, listed, size_pix=32)
  assert (metadata['cut'], metadata['padded']) == (1, 7)
  image = examples['cutouts/FRI/FRI1.fits']['image'][..., 0]
  assert np.isnan(image).sum() == 32**2 - 30**2


def test_data_outlive_their_images_but_not_another_list(tmp_path, entries):
  path = write(tmp_path, entries)
  directory, _, _ = built(tmp_path, path)
  assert built(tmp_path, path)[0] == directory
  entries[0]['source_type'] = 'FRII'
  with pytest.raises(ValueError, match='was built with info='):
    built(tmp_path, write(tmp_path, entries))
  shutil.rmtree(tmp_path / 'in' / 'cutouts')
  assert built(tmp_path, path)[0] == directory
  path.unlink()
  assert built(tmp_path, path)[0] == directory
  with pytest.raises(ValueError, match=r'no list of images\. Set --info'):
    build.build('radio_json', data_dir=tmp_path / 'none')


def test_listed_images_can_be_stored_as_folds(tmp_path, entries):
  directory, _, metadata = built(tmp_path, write(tmp_path, entries), folds=2)
  dataset = pipeline.open_dataset(directory)
  assert dataset.num_examples == {'fold_0': 4, 'fold_1': 4}
  assert metadata['counts']['fold_1'] == {'FRI': 2, 'FRII': 2}
