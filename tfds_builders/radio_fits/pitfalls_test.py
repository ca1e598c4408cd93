"""What surveys bring that would go wrong in silence."""

import pathlib

import astropy.io.fits
import astropy.wcs
import numpy as np
import pytest

from radio_ssl.data import fits
from tfds_builders import build
from tfds_builders.radio_fits import cutter, testing

read = testing.read
survey = testing.survey
RMS = testing.RMS


def write(path, pixels, **cards):
  """An image of those pixels; cards change those of `testing.write_field`."""
  testing.write_field(path, 150.0)
  with astropy.io.fits.open(path, mode='update') as hdus:
    hdus[0].data = np.asarray(pixels, np.float32)
    hdus[0].header.update(cards)
  return path


def noise(shape, seed=0):
  return np.random.default_rng(seed).normal(0, RMS, shape)


def grid(number):
  """Sources side by side in a.fits, every eight pixels."""
  rows = []
  image = testing.header(150.0)
  wcs = astropy.wcs.WCS(image)
  for n in range(number):
    x, y = 10 + 8 * (n % 10), 10 + 8 * (n // 10)
    ra, dec = fits.pixel_to_sky(wcs, x, y)
    rows.append((f's{n:03d}', float(ra), float(dec), 5.0, 'FRI'))
  return rows


@pytest.mark.parametrize('workers', [1, 2])
def test_no_source_of_a_crowded_image_is_lost(
  survey, tmp_path, monkeypatch, workers
):
  # Every task has some; those of the image alone, and those shared by two.
  monkeypatch.setattr(cutter, '_EXAMPLES_OF_A_TASK', 4)
  rows = grid(90)
  path = testing.write_catalogue(tmp_path / 'c.csv', rows)
  directory = build.build(
    'radio_fits',
    config='cutouts',
    catalogue=path,
    size_pix=9,
    workers=workers,
    **survey,
  )
  examples, metadata = read(directory)
  assert sorted(examples) == [name for name, *_ in rows]
  assert metadata['missing'] == metadata['outside'] == 0
  assert {e['source_file'] for e in examples.values()} == {b'a.fits', b'b.fits'}


@pytest.mark.parametrize('config', ['tiles', 'cutouts'])
def test_a_turned_image_shows_no_excluded_source_in_its_corners(
  tmp_path, config
):
  cd = np.sqrt(0.5) * 0.0005 * np.array([[-1, -1], [-1, 1]])
  turned = {f'CD{i + 1}_{j + 1}': cd[i, j] for i in (0, 1) for j in (0, 1)}
  path = write(tmp_path / 'a.fits', noise((300, 300)), **turned)
  with astropy.io.fits.open(path, mode='update') as hdus:
    for key in ('CDELT1', 'CDELT2'):
      del hdus[0].header[key]
    hdus[0].header.update(CRPIX1=150, CRPIX2=150)
    wcs = astropy.wcs.WCS(hdus[0].header)
  # 30 arcsec are 17 pixels: this corner of the tile at (100, 100) is 12 away.
  corner = fits.pixel_to_sky(wcs, 100.0 - 8, 100.0 - 8)
  excluded = testing.write_catalogue(
    tmp_path / 'x.csv', [('x', *map(float, corner), 1.0, 'a')]
  )
  settings = {
    'images': str(path),
    'data_dir': tmp_path / 'data',
    'exclude': excluded,
    'size_pix': 100,
  }
  if config == 'cutouts':
    centre = fits.pixel_to_sky(wcs, 149.5, 149.5)
    other = fits.pixel_to_sky(wcs, 199.5, 199.5)
    settings['catalogue'] = testing.write_catalogue(
      tmp_path / 'c.csv',
      [
        ('in', *map(float, centre), 1.0, 'a'),
        ('out', *map(float, other), 1.0, 'a'),
      ],
    )
    settings['whole_pixels'] = True
    kept, dropped = {'out'}, {'in'}
  else:
    settings['stride_pix'] = 100
    kept = {'a.fits#x00200y00200', 'a.fits#x00200y00100'}
    dropped = {'a.fits#x00100y00100', 'a.fits#x00000y00000'}
  examples, _ = read(build.build('radio_fits', config=config, **settings))
  assert kept <= set(examples)
  assert not dropped & set(examples)


def test_stretched_and_squeezed_sky_is_left_out_and_counted(tmp_path):
  cards = {'CTYPE1': 'RA---CAR', 'CTYPE2': 'DEC--CAR', 'CRVAL2': 0.0}
  cards |= {'CRPIX1': 20, 'CRPIX2': -100, 'CDELT1': -0.1, 'CDELT2': 0.1}
  cards |= {'BMAJ': 0.3, 'BMIN': 0.3}
  path = write(tmp_path / 'a.fits', noise((300, 40)), **cards)
  settings = {'images': str(path), 'data_dir': tmp_path / 'data'}
  directory = build.build('radio_fits', size_pix=20, stride_pix=20, **settings)
  examples, metadata = read(directory)
  # cos(Dec) > 0.95 up to 18.2 degrees.
  decs = sorted({round(float(e['dec_deg'])) for e in examples.values()})
  assert decs == [11, 13, 15, 17]
  assert metadata['distorted'] == 2 * 11
  assert metadata['pixel_scale_arcsec'] == 360


def test_far_from_the_centre_the_pixel_scale_is_that_of_the_place(tmp_path):
  cards = {'CTYPE1': 'RA---ZEA', 'CTYPE2': 'DEC--ZEA', 'CRVAL2': 0.0}
  cards |= {'CRPIX1': 20, 'CRPIX2': -300, 'CDELT1': -0.1, 'CDELT2': 0.1}
  cards |= {'BMAJ': 0.5, 'BMIN': 0.5}
  path = write(tmp_path / 'a.fits', noise((40, 40)), **cards)
  cards |= {'CTYPE1': 'RA---STG', 'CTYPE2': 'DEC--STG'}
  other = write(tmp_path / 'b.fits', noise((40, 40)), **cards)
  settings = {'data_dir': tmp_path / 'data', 'size_pix': 40}
  with pytest.raises(ValueError, match='1 distorted by the projection'):
    build.build('radio_fits', images=str(path), **settings)
  directory = build.build('radio_fits', images=str(other), **settings)
  ((_, example),) = read(directory)[0].items()
  # Stereographic: squares everywhere, smaller by cos^2 of half the distance.
  distance = np.radians(example['dec_deg'])
  assert example['pixel_scale_arcsec'] == pytest.approx(
    360 * np.cos(distance / 2) ** 2, rel=1e-3
  )


def test_constant_images_are_left_out_and_counted(survey):
  folder = pathlib.Path(survey['images']).parent
  write(folder / 'c.fits', np.full((60, 60), 0.1), CRVAL1=140.0)
  settings = survey | {'size_pix': 30, 'skip_bad': True}
  directory = build.build('radio_fits', allow_positive=True, **settings)
  _, metadata = read(directory)
  assert metadata['flat'] == 9
  assert metadata['images'] == 3


def test_map_of_the_rms_is_not_taken_for_a_deep_image(survey, tmp_path):
  folder = pathlib.Path(survey['images']).parent
  smooth = RMS / 10 * (1 + 1e-3 * noise((90, 100)) / RMS)
  write(folder / 'a.rms.fits', smooth)
  path = testing.write_catalogue(tmp_path / 'c.csv', testing.SOURCES)
  settings = survey | {'config': 'cutouts', 'catalogue': path, 'size_pix': 11}
  with pytest.raises(ValueError, match=r'a\.rms\.fits: no pixel is negative'):
    build.build('radio_fits', **settings)
  examples, metadata = read(
    build.build('radio_fits', skip_bad=True, **settings)
  )
  assert 'a.rms.fits' in metadata['skipped']
  files = {e['source_file'] for e in examples.values()}
  assert files <= {b'a.fits', b'b.fits'}


@pytest.mark.parametrize('whole_pixels', [False, True])
def test_beam_of_a_galactic_image_has_its_angle_from_the_north(
  tmp_path, whole_pixels
):
  cards = {'CTYPE1': 'GLON-CAR', 'CTYPE2': 'GLAT-CAR', 'CRVAL1': 30.0}
  cards |= {'CRVAL2': 0.0, 'CRPIX1': 101, 'CRPIX2': 101}
  cards |= {'BMAJ': 20 / 3600, 'BMIN': 6 / 3600, 'BPA': 10.0}
  y, x = np.mgrid[-100:101, -100:101] * 1.8
  pa = np.radians(10.0)
  along, across = (
    -x * np.sin(pa) + y * np.cos(pa),
    -x * np.cos(pa) - y * np.sin(pa),
  )
  source = np.exp(-4 * np.log(2) * ((along / 20) ** 2 + (across / 6) ** 2))
  path = write(tmp_path / 'a.fits', source + noise((201, 201)), **cards)
  with astropy.io.fits.open(path) as hdus:
    ra, dec = fits.pixel_to_sky(astropy.wcs.WCS(hdus[0].header), 100, 100)
  catalogue = testing.write_catalogue(
    tmp_path / 'c.csv', [('s', float(ra), float(dec), 5.0, 'a')]
  )
  directory = build.build(
    'radio_fits',
    config='cutouts',
    images=str(path),
    catalogue=catalogue,
    data_dir=tmp_path / 'data',
    size_pix=61,
    whole_pixels=whole_pixels,
  )
  example = read(directory)[0]['s']
  image = np.where(example['image'][..., 0] > 0.1, example['image'][..., 0], 0)
  y, x = np.mgrid[-30:31, -30:31]
  # East is on the left: the angle of the long axis from up through left.
  found = np.degrees(
    0.5
    * np.arctan2(-2 * (image * x * y).sum(), (image * (y * y - x * x)).sum())
  )
  wanted = example['beam_pa_deg'] - example['rotation_deg']
  assert abs((found - wanted + 90) % 180 - 90) < 1
  assert abs(example['beam_pa_deg'] - 10) > 30


def test_image_changed_in_its_middle_is_noticed(survey):
  folder = pathlib.Path(survey['images']).parent
  pixels = noise((2000, 500))
  write(folder / 'other', pixels).replace(folder / 'a.fits')
  settings = survey | {'size_pix': 60}
  build.build('radio_fits', **settings)
  pixels[400:1600] *= 1.1
  write(folder / 'other', pixels).replace(folder / 'a.fits')
  with pytest.raises(ValueError, match='was built with images='):
    build.build('radio_fits', **settings)


def test_links_lead_to_an_image_once(survey):
  folder = pathlib.Path(survey['images']).parent
  (folder / 'c.fits').symlink_to(folder / 'a.fits')
  (folder.parent / 'again').symlink_to(folder)
  directory = build.build(
    'radio_fits',
    **(survey | {'images': f'{folder.parent}/*/*.fits', 'size_pix': 30}),
  )
  examples, metadata = read(directory)
  assert metadata['images'] == 2
  assert len({key.split('#')[0] for key in examples}) == 2


def test_one_image_plain_and_packed_is_refused(survey):
  folder = pathlib.Path(survey['images']).parent
  (folder / 'a.fits.gz').write_bytes((folder / 'a.fits').read_bytes())
  settings = survey | {'images': f'{folder}/*.fits*'}
  with pytest.raises(ValueError, match='plain and packed'):
    build.build('radio_fits', size_pix=30, **settings)


def test_what_only_looks_like_a_file_is_passed_over(survey):
  folder = pathlib.Path(survey['images']).parent
  (folder / 'lost.fits').symlink_to(folder / 'nowhere')
  (folder / 'folder.fits').mkdir()
  with pytest.raises(ValueError, match='no such file'):
    build.build('radio_fits', size_pix=30, **survey)
  directory = build.build('radio_fits', size_pix=30, skip_bad=True, **survey)
  _, metadata = read(directory)
  assert sorted(metadata['skipped']) == ['folder.fits', 'lost.fits']
