import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from radio_ssl.data import fits, pipeline
from tfds_builders import build
from tfds_builders.image_folder import samples


def built(tmp_path, folder, **options):
  directory = build.build(
    'image_folder',
    data_dir=tmp_path / 'data',
    folder=str(folder),
    name='mine',
    **options,
  )
  data = tfds.builder_from_directory(directory)
  examples = {
    e['name'].decode(): e
    for split in data.info.splits
    for e in data.as_data_source(split)
  }
  return directory, examples, data.info.metadata


def test_fits_become_linear_images_with_sky_and_noise(tmp_path):
  folder = samples.fill(tmp_path / 'in', samples.write_fits, '.fits')
  directory, examples, metadata = built(tmp_path, folder, beam_arcsec=5.4)
  assert directory == tmp_path / 'data' / 'mine' / '1.0.0'
  dataset = pipeline.open_dataset(directory)
  assert dataset.label_names == ('FRI', 'FRII')
  assert dataset.geometry.dtype == 'float32'
  assert dataset.geometry.pixel_scale_arcsec == pytest.approx(1.8)
  assert dataset.geometry.beam_major_arcsec == pytest.approx(5.4)
  assert 'overlap' not in metadata
  assert metadata['unit'] == 'Jy/beam'
  example = examples['FRII/FRII2.fits']
  assert example['label'] == 1
  assert example['source_file'] == b'FRII2.fits'
  image = fits.read(folder / 'FRII' / 'FRII2.fits')
  np.testing.assert_array_equal(example['image'][..., 0], image.pixels_jy_beam)
  assert example['dec_deg'] == pytest.approx(30)
  assert example['rms_jy_beam'] == pytest.approx(samples.RMS, rel=0.15)
  beam_pix = np.pi / (4 * np.log(2)) * 9
  assert example['flux_jy'] == pytest.approx(0.05 / beam_pix, rel=0.05)
  assert np.isnan(example['source_size_arcsec'])


def test_images_of_several_sizes_are_cut_and_padded_not_resampled(tmp_path):
  folder = samples.fill(tmp_path / 'in', samples.write_picture, '.png')
  ramp = np.arange(1, 31)[:, None] + np.zeros((30, 20))
  samples.write_picture(folder / 'FRI' / 'small.png', ramp[:10])
  samples.write_picture(folder / 'FRI' / 'wide.png', ramp[:10].T)
  _, examples, metadata = built(tmp_path, folder, size_pix=16)
  assert (metadata['cut'], metadata['padded']) == (8 + 2, 2)
  assert metadata['flipped'] == 10
  small = examples['FRI/small.png']['image'][..., 0]
  np.testing.assert_array_equal(small[3:13, 0], np.arange(10, 0, -1))
  assert not small[:3].any() and not small[13:].any()


def test_splits_of_folders_are_kept(tmp_path):
  folder = tmp_path / 'in'
  for split, count in {'Train': 3, 'val': 1, 'test': 2}.items():
    samples.fill(folder / split, samples.write_npy, '.npy', count)
  directory, examples, metadata = built(tmp_path, folder)
  sizes = pipeline.open_dataset(directory).num_examples
  assert sizes == {'train': 6, 'valid': 2, 'test': 4}
  assert metadata['counts']['valid'] == {'FRI': 1, 'FRII': 1}
  assert metadata['layout'] == 'SPLIT/CLASS/file'
  assert 'val/FRI/FRI0.npy' in examples
  # FRI0 is in all three, FRI1 in two.
  assert metadata['copies'] == 6
  assert metadata['copies_across_splits'] == 10
  assert metadata['copies_across_classes'] == 0


def test_what_is_skipped_stands_in_metadata_and_report(tmp_path, capsys):
  folder = samples.fill(tmp_path / 'in', samples.write_npy, '.npy')
  (folder / 'FRI' / 'x.png').write_text('no image')
  (folder / '.hidden').touch()
  directory, examples, metadata = built(tmp_path, folder, skip_bad=True)
  assert len(examples) == 8
  assert list(metadata['skipped']) == ['.hidden', 'FRI/x.png']
  report = json.loads((directory / 'ingest_report.json').read_text())
  assert report['files']['FRI/x.png']['kind'] == 'damaged'
  assert report['files']['FRI/FRI0.npy']['shape'] == [30, 30]
  assert 'left out: 2 (1 damaged, 1 hidden)' in report['summary']
  shown = capsys.readouterr().err
  assert 'skipped FRI/x.png: not a whole' in shown
  assert report['summary'] in shown


def catalogue(path, *rows):
  path.write_text('name,ra,dec,size\n' + '\n'.join(rows) + '\n')
  return str(path)


def test_positions_are_found_by_the_name_of_the_file(tmp_path):
  folder = samples.fill(tmp_path / 'in', samples.write_picture, '.png')
  path = catalogue(
    folder / 'positions.csv',
    'FRI0.png,10,-5,30',
    'FRI1,20,-5,',
    'FRII/FRII0.png,30,-5,',
    'FRII/FRII1,40,-5,',
    'other.png,50,-5,',
  )
  _, examples, metadata = built(tmp_path, folder, positions=path)
  assert examples['FRI/FRI0.png']['ra_deg'] == 10
  assert examples['FRI/FRI0.png']['source_size_arcsec'] == 30
  assert examples['FRI/FRI1.png']['ra_deg'] == 20
  assert examples['FRII/FRII0.png']['ra_deg'] == 30
  assert examples['FRII/FRII1.png']['ra_deg'] == 40
  assert np.isnan(examples['FRII/FRII2.png']['ra_deg'])
  assert metadata['without_position'] == 4
  assert metadata['overlap'] == 'unknown'
  assert metadata['positions_of_no_image'] == 1


@pytest.mark.parametrize(
  ('rows', 'message'),
  [
    (['a.fits,1,2,3'], "names no image of .*its first is 'a.fits'.*'FRI/FRI0"),
    (['FRI0,1,2,3', 'FRI0,2,2,3'], 'two rows are of FRI0'),
    (['same.png,1,2,3'], 'is of FRI/same.png and of FRII/same.png'),
  ],
)
def test_positions_that_are_not_sure_are_refused(tmp_path, rows, message):
  folder = samples.fill(tmp_path / 'in', samples.write_picture, '.png')
  for label in ('FRI', 'FRII'):
    samples.write_picture(folder / label / 'same.png')
  path = catalogue(tmp_path / 'c.csv', *rows)
  with pytest.raises(ValueError, match=message):
    built(tmp_path, folder, positions=path)


def test_the_header_holds_and_a_catalogue_must_not_contradict_it(tmp_path):
  folder = samples.fill(tmp_path / 'in', samples.write_fits, '.fits')
  own = fits.read(folder / 'FRI' / 'FRI0.fits').wcs.wcs.crval[0]
  path = catalogue(tmp_path / 'c.csv', f'FRI0.fits,{own + 0.003},30.001,25')
  _, examples, _ = built(tmp_path, folder, positions=path)
  example = examples['FRI/FRI0.fits']
  assert example['ra_deg'] == pytest.approx(own, abs=1e-6)
  assert example['source_size_arcsec'] == 25
  path = catalogue(tmp_path / 'd.csv', 'FRI0.fits,171,30,25')
  with pytest.raises(ValueError, match=r'FRI0\.fits: its header .* 171\.0'):
    built(tmp_path, folder, positions=path, overwrite=True)


def test_data_outlive_their_folder_but_not_another_content(tmp_path):
  folder = samples.fill(tmp_path / 'in', samples.write_npy, '.npy')
  directory, _, metadata = built(tmp_path, folder)
  assert metadata['overlap'] == 'unknown'
  (folder / 'FRI' / '.hidden').touch()
  assert built(tmp_path, folder)[0] == directory
  (folder / 'FRI' / '.hidden').unlink()
  with pytest.raises(ValueError, match='built with seed=0, asked for is seed'):
    built(tmp_path, folder, seed=1)
  samples.write_npy(folder / 'FRI' / 'new.npy')
  with pytest.raises(ValueError, match='was built with folder='):
    built(tmp_path, folder)
  assert len(built(tmp_path, folder, overwrite=True)[1]) == 9
  shutil.rmtree(folder)
  assert built(tmp_path, folder)[0] == directory


def test_the_command_line_builds_with_all_its_flags(tmp_path, capsys):
  folder = samples.fill(tmp_path / 'in', samples.write_picture, '.png')
  path = tmp_path / 'c.csv'
  path.write_text('file,x,dec\nFRI0,10,-5\n')
  flags = {'folder': folder, 'name': 'mine', 'data_dir': tmp_path / 'data'}
  flags |= {'fractions': '0.5,0,0.5', 'seed': 3, 'pixel_scale_arcsec': 1.8}
  flags |= {'positions': path, 'columns': 'name=file,ra_deg=x', 'size_pix': 24}
  argv = [f'--{key}={value}' for key, value in flags.items()]
  assert build.main(['image_folder', '--no_flip', *argv]) == 0
  dataset = pipeline.open_dataset(pathlib.Path(capsys.readouterr().out.strip()))
  assert dataset.num_examples == {'train': 4, 'test': 4}
  assert dataset.geometry.pixel_scale_arcsec == 1.8
  argv[:2] = '--folder=nowhere', '--name=other'
  assert build.main(['image_folder', *argv]) == 1
  assert 'nowhere: no such folder' in capsys.readouterr().err


def test_folders_of_classes_may_be_links(tmp_path):
  there = samples.fill(tmp_path / 'there', samples.write_npy, '.npy')
  folder = tmp_path / 'in'
  folder.mkdir()
  for path in there.iterdir():
    (folder / path.name).symlink_to(path)
  assert len(built(tmp_path, folder)[1]) == 8
  samples.write_npy(there / 'FRI' / 'new.npy')
  with pytest.raises(ValueError, match='was built with folder='):
    built(tmp_path, folder)


def test_folds_are_stored_and_add_up(tmp_path, capsys):
  folder = samples.fill(tmp_path / 'in', samples.write_picture, '.png', 6)
  flags = {'folder': folder, 'name': 'mine', 'data_dir': tmp_path / 'data'}
  argv = [f'--{key}={value}' for key, value in (flags | {'folds': 3}).items()]
  assert build.main(['image_folder', *argv]) == 0
  directory = pathlib.Path(capsys.readouterr().out.strip())
  sizes = pipeline.open_dataset(directory).num_examples
  assert sizes == {'fold_0': 4, 'fold_1': 4, 'fold_2': 4}
  data = tfds.builder_from_directory(directory)
  both = data.as_data_source('fold_1+fold_2')
  names = {e['name'] for e in both} | {
    e['name'] for e in data.as_data_source('fold_0')
  }
  assert (len(both), len(names)) == (8, 12)
  with pytest.raises(ValueError, match='built with folds=3, asked for is fold'):
    built(tmp_path, folder)


def test_data_of_a_build_before_folds_are_still_taken(tmp_path):
  folder = samples.fill(tmp_path / 'in', samples.write_npy, '.npy')
  directory, _, _ = built(tmp_path, folder)
  path = directory / 'metadata.json'
  record = json.loads(path.read_text())
  assert record['options'].pop('folds') is None
  path.write_text(json.dumps(record))
  assert built(tmp_path, folder)[0] == directory
