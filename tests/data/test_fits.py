import gzip
import io

import astropy.io.fits
import numpy as np
import pytest

from radio_ssl.data import fits, units, windows


def header(**cards):
  """A FIRST-like header; a card of None is left out."""
  values = {
    'CTYPE1': 'RA---SIN',
    'CTYPE2': 'DEC--SIN',
    'CRVAL1': 150.0,
    'CRVAL2': 30.0,
    'CRPIX1': 20.0,
    'CRPIX2': 16.0,
    'CDELT1': -0.0005,
    'CDELT2': 0.0005,
    'BUNIT': 'Jy/beam',
    'BMAJ': 0.0015,
    'BMIN': 0.00125,
    'BPA': 30.0,
  } | cards
  return astropy.io.fits.Header(
    [(key, value) for key, value in values.items() if value is not None]
  )


def noise(shape=(32, 40), seed=0):
  return np.random.default_rng(seed).normal(0, 1e-3, shape)


def write(path, pixels, **cards):
  astropy.io.fits.PrimaryHDU(pixels, header(**cards)).writeto(path)
  return path


def test_pixels_are_native_float32_rows_from_the_south(tmp_path):
  pixels = noise()
  image = fits.read(write(tmp_path / 'a.fits', pixels.astype('>f8')))
  assert image.pixels_jy_beam.dtype == np.dtype('=f4')
  np.testing.assert_array_equal(image.pixels_jy_beam, pixels.astype(np.float32))


def test_beam_scale_and_sky_come_from_the_header(tmp_path):
  image = fits.read(write(tmp_path / 'a.fits', noise()))
  assert image.beam == fits.Beam(
    pytest.approx(5.4), pytest.approx(4.5), pytest.approx(30)
  )
  # A Gaussian of 1 x 1 arcsec covers pi / (4 ln 2) = 1.133 arcsec^2.
  assert image.beam.area_arcsec2 == pytest.approx(1.133090 * 5.4 * 4.5)
  assert image.pixel_scale_arcsec == pytest.approx(1.8)
  np.testing.assert_allclose(
    fits.pixel_to_sky(image.wcs, 19, 15), (150, 30), atol=1e-9
  )


def test_east_is_left_and_north_is_up(tmp_path):
  image = fits.read(write(tmp_path / 'a.fits', noise(), RADESYS='ICRS'))
  x, y = fits.sky_to_pixel(image.wcs, [150 + 0.005, 150], [30, 30.005])
  assert x[0] == pytest.approx(19 - 10 * np.cos(np.radians(30)), abs=1e-2)
  assert y[1] == pytest.approx(15 + 10, abs=1e-2)


@pytest.mark.parametrize(
  ('unit', 'factor'),
  [
    ('JY/BEAM', 1),
    ('Jy/beam', 1),
    ('jy / beam', 1),
    ('Jy beam-1', 1),
    ('Jy beam^-1', 1),
    ('Jy beam**(-1)', 1),
    ('beam-1 Jy', 1),
    ('Jy/bm', 1),
    ('mJy/beam', 1e-3),
    ('MJY/BEAM', 1e-3),
    ('mJY/BEAM', 1e-3),
    ('uJy/beam', 1e-6),
    ('µJy/beam', 1e-6),
    ('nJy/beam', 1e-9),
  ],
)
def test_units_become_jy_per_beam(tmp_path, unit, factor):
  if unit.isascii():
    path = write(tmp_path / 'a.fits', np.full((8, 8), 2.0), BUNIT=unit)
    pixels = fits.read(path).pixels_jy_beam
    np.testing.assert_allclose(pixels, 2 * factor, rtol=1e-6)
  assert units.to_jy_beam(unit) == factor


@pytest.mark.parametrize(
  'unit',
  [
    'K',
    'Jy/pixel',
    'Jy',
    'JY/SR',
    'MJY/SR',
    'W/beam',
    'JY/BEAM.KM/S',
    'KELVIN',
  ],
)
def test_other_units_are_to_be_converted_first(tmp_path, unit):
  path = write(tmp_path / 'a.fits', noise(), BUNIT=unit)
  with pytest.raises(
    fits.FitsError, match=f"a.fits: BUNIT is '{unit}'"
  ) as told:
    fits.read(path)
  assert 'Convert the image first' in str(told.value)
  assert '--unit' not in str(told.value)


@pytest.mark.parametrize('unit', [None, '', 'Jy/clean bea', 'undefined', '42'])
def test_no_unit_can_be_given(tmp_path, unit):
  path = tmp_path / 'a.fits'
  cards = header(BUNIT='')
  cards['BUNIT'] = unit  # None is a card without a value.
  astropy.io.fits.PrimaryHDU(noise(), cards).writeto(path)
  said = f"BUNIT is '{unit or ''}'.*If its pixels are Jy/beam, set.*--unit"
  with pytest.raises(fits.FitsError, match=said):
    fits.read(path)
  with pytest.raises(fits.FitsError, match=r"unit= \(--unit\) is 'Jy/sr'"):
    fits.read(path, unit='Jy/sr')
  fits.read(path, unit='Jy/beam')


def test_overrides_win_and_are_recorded(tmp_path):
  path = write(tmp_path / 'a.fits', np.ones((8, 8)), BUNIT=None, BMAJ=None)
  image = fits.read(path, unit='mJy/beam', beam_arcsec=6)
  assert image.pixels_jy_beam[0, 0] == np.float32(1e-3)
  assert image.beam == fits.Beam(6, 6, 0)
  assert image.overrides == {'unit': 'mJy/beam', 'beam_arcsec': 6}


@pytest.mark.parametrize('kind', ['FREQ', 'Freq', 'velo-LSR', 'FELO-HEL'])
def test_channel_of_a_cube_is_taken_on_request(tmp_path, kind):
  cube = noise((3, 32, 40))
  path = write(tmp_path / 'a.fits', cube, CTYPE3=kind, CRVAL3=1.4e9, CDELT3=1e6)
  for channel in range(3):
    image = fits.read(path, channel=channel)
    np.testing.assert_allclose(image.pixels_jy_beam, cube[channel], rtol=1e-6)
    assert image.overrides == {'channel': channel}
  for channel in (3, -1, None):
    with pytest.raises(fits.FitsError, match=r'--channel\) of 0 to 2'):
      fits.read(path, channel=channel)


@pytest.mark.parametrize('axes', [(1,), (1, 1)])
def test_axes_of_length_one_are_dropped(tmp_path, axes):
  pixels = noise()
  path = write(
    tmp_path / 'a.fits',
    pixels.reshape(*axes, *pixels.shape),
    CTYPE3='FREQ',
    CRVAL3=1.4e9,
  )
  np.testing.assert_allclose(fits.read(path).pixels_jy_beam, pixels, rtol=1e-6)


def test_stokes_i_is_taken_from_where_the_axis_says(tmp_path):
  cube = noise((3, 1, 32, 40))
  stokes = {'CTYPE4': 'STOKES', 'CRVAL4': 3, 'CDELT4': -1, 'CRPIX4': 1}
  path = write(tmp_path / 'a.fits', cube, CTYPE3='FREQ', **stokes)
  np.testing.assert_allclose(
    fits.read(path).pixels_jy_beam, cube[2, 0], rtol=1e-6
  )


def test_other_stokes_parameters_are_taken_on_request(tmp_path):
  cube = noise((4, 1, 32, 40))
  cards = {'CTYPE4': 'STOKES', 'CRVAL4': 1, 'CDELT4': 1, 'CRPIX4': 1}
  path = write(tmp_path / 'a.fits', cube, CTYPE3='FREQ', **cards)
  for plane, stokes in enumerate('IQUV'):
    image = fits.read(path, stokes=stokes)
    np.testing.assert_allclose(image.pixels_jy_beam, cube[plane, 0], rtol=1e-6)
    assert image.overrides == {'stokes': stokes}
    assert fits.header(path, stokes=stokes).plane == (plane, 0)
  two = write(tmp_path / 'b.fits', cube[:2], CTYPE3='FREQ', **cards)
  with pytest.raises(fits.FitsError, match='a Stokes axis with V, which is 4'):
    fits.read(two, stokes='V')
  none = write(tmp_path / 'c.fits', noise((32, 40)))
  assert fits.read(none, stokes='I').pixels_jy_beam.shape == (32, 40)
  with pytest.raises(fits.FitsError, match=r'c\.fits: no Stokes axis'):
    fits.read(none, stokes='Q')


def test_image_of_all_channels_is_taken_where_it_is_first(tmp_path):
  cube = noise((4, 32, 40))
  path = write(tmp_path / 'a.fits', cube, CTYPE3='SPECLNMF', NTERM=2, NSPEC=2)
  for channel, plane in ((None, 0), (0, 0), (3, 3)):
    image = fits.read(path, channel=channel)
    np.testing.assert_allclose(image.pixels_jy_beam, cube[plane], rtol=1e-6)


def test_channels_and_stokes_without_i_are_refused(tmp_path):
  path = write(tmp_path / 'a.fits', noise((3, 32, 40)), CTYPE3='FREQ')
  with pytest.raises(fits.FitsError, match=r'a\.fits: axis 3 \(FREQ\) has 3'):
    fits.read(path)
  path = write(
    tmp_path / 'b.fits', noise((2, 32, 40)), CTYPE3='STOKES', CRVAL3=2
  )
  with pytest.raises(fits.FitsError, match=r'STOKES\) has 2 planes'):
    fits.read(path)
  # Without a step the second plane is nothing in particular.
  path = write(
    tmp_path / 'c.fits', noise((2, 32, 40)), CTYPE3='STOKES', CDELT3=0.0
  )
  with pytest.raises(fits.FitsError, match=r'STOKES\) has 2 .* steps of 0\.0'):
    fits.read(path)


@pytest.mark.parametrize(('value', 'name'), [(4, 'V'), (2, 'Q'), (-1, 'RR')])
@pytest.mark.parametrize('kind', ['STOKES', 'Stokes', 'stokes  '])
@pytest.mark.parametrize('step', [1.0, 0.0])
def test_one_plane_of_another_stokes_parameter_is_refused(
  tmp_path, value, name, kind, step
):
  path = tmp_path / f'{name}.fits'
  cards = {'CTYPE3': kind, 'CDELT3': step}
  write(path, noise((1, 32, 40)), CRVAL3=value, **cards)
  with pytest.raises(fits.FitsError, match=rf'1 planes, the first at {value}'):
    fits.read(path)
  write(tmp_path / 'i.fits', noise((1, 32, 40)), CRVAL3=1, **cards)
  assert fits.read(tmp_path / 'i.fits').pixels_jy_beam.shape == (32, 40)


def test_integers_are_scaled_and_blank_is_missing(tmp_path):
  raw = np.arange(1, 1281, dtype=np.int16).reshape(32, 40)
  hdu = astropy.io.fits.PrimaryHDU(raw, header())
  hdu.header.update(BSCALE=1e-6, BZERO=0.5, BLANK=7)
  hdu.writeto(tmp_path / 'a.fits')
  # astropy rescales on writing: put the raw integers back as they were.
  with astropy.io.fits.open(
    tmp_path / 'a.fits', mode='update', do_not_scale_image_data=True
  ) as hdus:
    hdus[0].header.update(BSCALE=1e-6, BZERO=0.5, BLANK=7)
    hdus[0].data[:] = raw
  pixels = fits.read(tmp_path / 'a.fits').pixels_jy_beam
  assert np.isnan(pixels[0, 6]) and np.isnan(pixels).sum() == 1
  assert pixels[31, 39] == pytest.approx(0.5 + 1280e-6)


def test_compressed_gzipped_and_extension_images_read_alike(tmp_path):
  pixels = noise().astype(np.float32)
  pixels[3, 4] = np.nan
  plain = write(tmp_path / 'a.fits', pixels)
  (tmp_path / 'a.fits.gz').write_bytes(gzip.compress(plain.read_bytes()))
  empty = astropy.io.fits.PrimaryHDU()
  extension = astropy.io.fits.ImageHDU(pixels, header())
  astropy.io.fits.HDUList([empty, extension]).writeto(tmp_path / 'b.fits')
  tiles = astropy.io.fits.CompImageHDU(
    pixels, header(), compression_type='GZIP_1', quantize_level=0
  )
  astropy.io.fits.HDUList([empty, tiles]).writeto(tmp_path / 'c.fits.fz')
  for name in ('a.fits', 'a.fits.gz', 'b.fits', 'c.fits.fz'):
    image = fits.read(tmp_path / name)
    np.testing.assert_array_equal(image.pixels_jy_beam, pixels)
    assert image.pixel_scale_arcsec == pytest.approx(1.8)


def test_large_images_read_in_blocks_of_rows(tmp_path, monkeypatch):
  pixels = noise().astype(np.float32)
  path = write(tmp_path / 'a.fits', pixels)
  monkeypatch.setattr(windows, '_PIXELS_AT_ONCE', 7 * 40)
  np.testing.assert_array_equal(fits.read(path).pixels_jy_beam, pixels)


def test_padding_of_zeros_is_missing_and_short_runs_are_not(tmp_path):
  pixels = noise()
  pixels[:, :10] = 0
  pixels[20, 12:40] = 0
  found = fits.read(write(tmp_path / 'a.fits', pixels)).pixels_jy_beam
  assert np.isnan(found[:, :10]).all()
  assert np.isnan(found).sum() == 320


def test_statistics_count_measured_and_padded_pixels(tmp_path, monkeypatch):
  monkeypatch.setattr(windows, '_ROWS_AT_ONCE', 5)
  pixels = noise()
  pixels[:, :10] = 0
  pixels[20, 12:40] = 0
  pixels[3, 30:35] = np.nan
  pixels[7, 20] = -2.0
  found = fits.read(write(tmp_path / 'a.fits', pixels)).statistics
  assert found.zeros == 320 / 1280
  assert found.measured == (1280 - 320 - 5) / 1280
  assert found.brightest == 2


def test_an_image_of_little_but_zeros_is_refused(tmp_path):
  pixels = np.zeros((100, 120))
  pixels[40:50, 40:50] = noise((10, 10))
  path = write(tmp_path / 'a.fits', pixels)
  with pytest.raises(
    fits.FitsError, match=r'a\.fits: 99\.2 % of it are'
  ) as told:
    fits.read(path)
  assert told.value.kind == 'zeros'


def test_a_run_of_zeros_is_a_lost_record(tmp_path):
  pixels = noise()
  pixels[5, 3:36] = 0
  found = fits.read(write(tmp_path / 'a.fits', pixels)).pixels_jy_beam
  np.testing.assert_array_equal(np.isnan(found), pixels == 0)


def test_impossibly_bright_pixels_are_refused(tmp_path):
  pixels = noise()
  pixels[3, 3] = -1e30
  path = write(tmp_path / 'a.fits', pixels)
  with pytest.raises(fits.FitsError, match=r'a\.fits: a pixel of 1e\+30 Jy'):
    fits.read(path)


def test_an_image_without_measurements_is_refused(tmp_path):
  for name, value in (('nan', np.nan), ('zero', 0.0)):
    path = write(tmp_path / f'{name}.fits', np.full((32, 40), value))
    with pytest.raises(fits.FitsError, match=f'{name}.fits: no finite pixel'):
      fits.read(path)


@pytest.mark.parametrize(
  'cards',
  [
    {'CTYPE1': None, 'CTYPE2': None},
    {'CTYPE1': 'FREQ', 'CTYPE2': 'VELO'},
    {'CTYPE1': 'DEC--SIN', 'CTYPE2': 'RA---SIN'},
    {'CDELT1': 0.0},
    {'CDELT2': 0.00055},
    {'CRPIX1': 5e5},
  ],
)
def test_images_without_a_celestial_wcs_are_refused(tmp_path, cards):
  path = write(tmp_path / 'a.fits', noise(), **cards)
  with pytest.raises(fits.FitsError, match=r'a\.fits: no celestial WCS'):
    fits.read(path)


def test_missing_foreign_truncated_and_imageless_files_are_refused(tmp_path):
  with pytest.raises(fits.FitsError, match=r'none\.fits: no such file'):
    fits.read(tmp_path / 'none.fits')
  (tmp_path / 'foreign.fits').write_text('not a FITS file\n' * 500)
  with pytest.raises(fits.FitsError, match=r'foreign\.fits: not a whole'):
    fits.read(tmp_path / 'foreign.fits')
  whole = write(tmp_path / 'a.fits', noise((64, 64))).read_bytes()
  zipped = gzip.compress(whole)
  for name, content in (
    ('cut.fits', whole[: len(whole) // 2]),
    ('header.fits', whole[:1000]),
    ('cut.fits.gz', zipped[: len(zipped) // 2]),
    ('empty.fits', b''),
  ):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(fits.FitsError, match=f'{name}: not a whole'):
      fits.read(tmp_path / name)
  table = astropy.io.fits.BinTableHDU.from_columns(
    [astropy.io.fits.Column('a', 'E', array=np.ones(3))]
  )
  table.writeto(tmp_path / 'table.fits')
  with pytest.raises(fits.FitsError, match=r'table\.fits: no 2-D image'):
    fits.read(tmp_path / 'table.fits')


def test_damaged_pixels_are_found_where_the_file_has_a_checksum(tmp_path):
  stream = io.BytesIO()
  hdu = astropy.io.fits.PrimaryHDU(noise((64, 64)), header())
  hdu.writeto(stream, checksum=True)
  content = bytearray(stream.getvalue())
  (tmp_path / 'good.fits').write_bytes(content)
  content[-4000] ^= 64
  (tmp_path / 'bad.fits').write_bytes(content)
  fits.read(tmp_path / 'good.fits')
  with pytest.raises(fits.FitsError, match=r'bad\.fits: not a whole.*[Ss]um'):
    fits.read(tmp_path / 'bad.fits')


def test_every_error_is_one_line(tmp_path):
  for name, cards in (('a', {'CTYPE1': None}), ('b', {'BUNIT': 'K'})):
    path = write(tmp_path / f'{name}.fits', noise(), **cards)
    with pytest.raises(fits.FitsError) as caught:
      fits.read(path)
    assert '\n' not in str(caught.value)


def test_header_tells_what_read_returns(tmp_path):
  path = write(tmp_path / 'a.fits', noise())
  head, image = fits.header(path), fits.read(path)
  assert head.shape == image.pixels_jy_beam.shape
  assert head.beam == image.beam
