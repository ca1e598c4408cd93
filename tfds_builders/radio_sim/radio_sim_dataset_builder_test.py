import dataclasses

import astropy.io.fits
import numpy as np
import pytest

from radio_ssl.data import catalogue, cutouts, fits, noise
from tfds_builders import build
from tfds_builders.radio_sim import radio_sim_dataset_builder as radio_sim
from tfds_builders.radio_sim import simulate, sources

_BEAM_AREA_PIX = np.pi / (4 * np.log(2)) * (5.4 / 1.8) ** 2
_SMALL = simulate.Mosaic(3, cells=3)


def _point(flux_jy):
  zero = np.zeros(1)
  return sources.Source('', zero, zero, zero, np.array([flux_jy]), 0.0)


@pytest.fixture(scope='module')
def survey(tmp_path_factory):
  return simulate.write(tmp_path_factory.mktemp('sim'), [_SMALL])


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
  data_dir = tmp_path_factory.mktemp('data')
  build.build('radio_sim', config='tiny', data_dir=data_dir)
  return radio_sim.Builder(config='tiny', data_dir=data_dir)


def test_the_same_seed_gives_the_same_sky_and_another_does_not():
  pixels, rows = simulate.simulate(_SMALL)
  again, rows_again = simulate.simulate(_SMALL)
  other, _ = simulate.simulate(simulate.Mosaic(3, seed=1, cells=3))
  np.testing.assert_array_equal(pixels, again)
  assert rows == rows_again
  assert abs(np.corrcoef(pixels.ravel(), other.ravel())[0, 1]) < 0.1


def test_a_point_has_the_peak_the_flux_and_the_beam_it_should():
  sky = np.zeros((101, 101), np.float32)
  simulate._paint(sky, _point(0.2), 50.0, 40.0)
  assert np.unravel_index(sky.argmax(), sky.shape) == (40, 50)
  assert sky.max() == pytest.approx(0.2, rel=1e-5)
  assert sky.sum() / _BEAM_AREA_PIX == pytest.approx(0.2, rel=1e-3)
  # Half the peak lies half a FWHM away: 1.5 pixels.
  assert sky[40, 50:53] == pytest.approx(
    0.2 * 0.5 ** ((np.arange(3) / 1.5) ** 2), rel=1e-4
  )


def test_east_is_left_and_north_is_up():
  sky = np.zeros((101, 101), np.float32)
  offset = dataclasses.replace(
    _point(1.0), east_arcsec=np.array([18.0]), north_arcsec=np.array([9.0])
  )
  simulate._paint(sky, offset, 50.0, 50.0)
  assert np.unravel_index(sky.argmax(), sky.shape) == (55, 40)


@pytest.mark.parametrize('label', sources.LABELS)
def test_a_source_keeps_the_flux_and_the_size_of_the_catalogue(label):
  rng = np.random.default_rng(0)
  drawn = (sources.draw(rng) for _ in range(1000))
  of_class = [s for s in drawn if s.label == label][:20]
  for source in of_class:
    sky = np.zeros((401, 401), np.float32)
    simulate._paint(sky, source, 200.0, 200.0, reach=200)
    flux_jy = sky.sum() / _BEAM_AREA_PIX
    assert flux_jy == pytest.approx(source.flux_jy.sum(), rel=0.02)
    extent = np.hypot(source.east_arcsec, source.north_arcsec).max()
    assert extent < 0.85 * source.size_arcsec


def test_fri_are_brightest_inside_and_frii_outside():
  rng = np.random.default_rng(0)
  radius = {'fri': [], 'frii': []}
  for source in (sources.draw(rng) for _ in range(1000)):
    if source.label in radius:
      r = np.hypot(source.east_arcsec, source.north_arcsec)
      mean = (r * source.flux_jy).sum() / source.flux_jy.sum()
      radius[source.label].append(mean / r.max())
  assert np.median(radius['fri']) < 0.45
  assert np.median(radius['frii']) > 0.55


def test_noise_has_the_rms_and_the_correlation_of_first():
  noise_map = simulate._observe(
    np.zeros((1024, 1024), np.float32), np.random.default_rng(0)
  )
  assert noise_map.std() == pytest.approx(1.53e-4, rel=0.2)

  def correlation(image, lag):
    return np.corrcoef(image[:, :-lag].flat, image[:, lag:].flat)[0, 1]

  measured_on_first = {1: 0.75, 2: 0.37, 4: 0.20, 8: 0.09}
  for lag, expected in measured_on_first.items():
    both = [correlation(image, lag) for image in (noise_map, noise_map.T)]
    assert np.mean(both) == pytest.approx(expected, abs=0.06), lag


def test_the_rms_of_filtered_noise_is_known_beforehand():
  rng = np.random.default_rng(0)
  transfer = rng.uniform(0, 1, (512, 257))
  # Rows k and -k of the columns that stand alone must agree.
  for column in (0, -1):
    transfer[1:, column] = (transfer[1:, column] + transfer[:0:-1, column]) / 2
  white = np.fft.rfft2(rng.standard_normal((512, 512)))
  filtered = np.fft.irfft2(white * transfer, s=(512, 512))
  assert simulate._rms(transfer) == pytest.approx(filtered.std(), rel=0.01)


def test_streaks_are_weak_lines_around_bright_sources():
  rng = np.random.default_rng(0)
  sky = np.zeros((1024, 1024), np.float32)
  simulate._paint(sky, _point(0.2), 512.0, 512.0)
  bright = simulate._observe(sky, rng)
  empty = simulate._observe(0 * sky, np.random.default_rng(0))
  ring = np.hypot(*(np.indices(sky.shape) - 512)).round() == 40
  streaks = (bright - empty)[ring]
  assert 0.002 < streaks.max() / 0.2 < 0.02
  assert np.median(abs(streaks)) < 0.15 * streaks.max()


def test_files_are_fits_of_the_sky_with_beam_and_unit(survey):
  (path,), _ = survey
  image = fits.read(path)
  assert image.pixels_jy_beam.shape == (_SMALL.size_pix, _SMALL.size_pix)
  assert image.pixel_scale_arcsec == pytest.approx(1.8)
  assert image.beam.major_arcsec == pytest.approx(5.4)
  assert astropy.io.fits.getheader(path)['BUNIT'] == 'JY/BEAM'


def test_sources_lie_where_the_catalogue_says(survey):
  (path,), table = survey
  image, members = fits.read(path), catalogue.read(table)
  assert len(members) == 9
  for i in np.flatnonzero(members.label == 'compact'):
    piece = cutouts.cutout(
      image, ra_deg=members.ra_deg[i], dec_deg=members.dec_deg[i], size_pix=21
    )
    peak = np.unravel_index(
      piece.pixels_jy_beam.argmax(), piece.pixels_jy_beam.shape
    )
    assert np.abs(np.array(peak) - 10).max() <= 1


def test_cutouts_copy_the_pixels_of_the_mosaic(survey):
  (path,), table = survey
  image, members = fits.read(path), catalogue.read(table)
  x, y = fits.sky_to_pixel(image.wcs, members.ra_deg, members.dec_deg)
  piece = cutouts.cutout(
    image, ra_deg=members.ra_deg[4], dec_deg=members.dec_deg[4], size_pix=150
  )
  x0, y0 = round(x[4] - 74.5), round(y[4] - 74.5)
  np.testing.assert_array_equal(
    piece.pixels_jy_beam,
    image.pixels_jy_beam[y0 : y0 + 150, x0 : x0 + 150],
  )


def test_tiny_has_its_splits_labels_and_numbers(tiny):
  assert {k: v.num_examples for k, v in tiny.info.splits.items()} == {
    'train': 50,
    'validation': 25,
    'test': 25,
  }
  assert tiny.info.metadata['pixel_scale_arcsec'] == 1.8
  assert tiny.info.metadata['beam_major_arcsec'] == 5.4
  example = tiny.as_data_source('test')[0]
  assert example['image'].shape == (150, 150, 1)
  assert np.isfinite(example['image']).all()
  background, rms = noise.background_and_rms(example['image'])
  assert example['rms_jy_beam'] == pytest.approx(rms, rel=0.2)
  assert abs(example['background_jy_beam'] - background) < rms
  assert tuple(tiny.info.features['label'].names) == sources.LABELS


def test_splits_share_no_sky(tiny):
  files = [
    {bytes(e['source_file']) for e in tiny.as_data_source(split)}
    for split in ('train', 'validation', 'test')
  ]
  assert [len(f) for f in files] == [2, 1, 1]
  assert len(set.union(*files)) == 4


def test_tiles_come_from_the_mosaics_of_train_alone():
  configs = radio_sim.Builder.builder_configs
  mosaics = configs['cutouts'].mosaics
  assert list(configs['tiles'].mosaics) == ['train']
  assert set(configs['tiles'].mosaics['train']) == set(mosaics['train'])
  held_out = {*mosaics['validation'], *mosaics['test']}
  assert not held_out & set(configs['tiles'].mosaics['train'])
  others = {n for m in configs['tiny'].mosaics.values() for n in m}
  assert not others & {n for m in mosaics.values() for n in m}


def test_the_command_writes_a_survey(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(simulate, 'simulate', lambda mosaic: (np.eye(8), []))
  simulate.main(['--output', str(tmp_path / 's'), '--mosaics', '2'])
  assert '2 mosaics' in capsys.readouterr().out
  names = {p.name for p in (tmp_path / 's').iterdir()}
  assert names == {'sim_000.fits', 'sim_001.fits', 'catalogue.csv'}
