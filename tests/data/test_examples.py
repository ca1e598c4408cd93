import numpy as np
import pytest

from radio_ssl.data import examples


def test_an_example_survives_encoding_with_positions_in_double_precision():
  features = examples.features(4, 5, label_names=['a', 'b'])
  pixels = np.arange(20, dtype=np.float32).reshape(4, 5)
  pixels[0, 0] = np.nan
  made = examples.example(
    pixels,
    name='x',
    source_file='x.fits',
    ra_deg=1 / 3,
    dec_deg=-2 / 3,
    label='b',
    rms_jy_beam=1e-4,
  )
  encoded = features.serialize_example(made)
  found = features.deserialize_example_np(encoded)
  np.testing.assert_array_equal(found['image'][..., 0], pixels)
  assert found['image'].dtype == np.float32
  assert found['ra_deg'].dtype == np.float64 and found['ra_deg'] == 1 / 3
  assert found['rms_jy_beam'] == np.float32(1e-4)
  assert found['label'] == 1
  unknown = set(examples.FLOAT_FIELDS) - {'rms_jy_beam'}
  assert all(np.isnan(found[field]) for field in unknown)


def test_eight_bit_sets_and_unlabelled_sets_say_so():
  features = examples.features(4, 4, dtype=np.uint8)
  assert features['image'].np_dtype == np.uint8
  assert 'label' not in features


def test_unknown_fields_are_refused():
  with pytest.raises(TypeError, match='rms_jy'):
    examples.example(
      np.zeros((2, 2)),
      name='',
      source_file='',
      ra_deg=0,
      dec_deg=0,
      rms_jy=1.0,
    )


def test_an_unknown_dtype_is_refused():
  with pytest.raises(ValueError, match="'float64' of images: wanted one of"):
    examples.features(4, 4, dtype=np.float64)
  with pytest.raises(ValueError, match="'uint8': wanted float32 or float16"):
    examples.stored(_measured(np.zeros((4, 4))), 'uint8')


def _measured(pixels, background=0.0, rms=1.0):
  return examples.example(
    np.asarray(pixels, np.float32),
    name='J1',
    source_file='x.fits',
    ra_deg=0,
    dec_deg=0,
    background_jy_beam=background,
    rms_jy_beam=rms,
  )


def _there_and_back(example):
  features = examples.features(*example['image'].shape[:2], dtype='float16')
  kept = examples.stored(example, 'float16')
  assert kept['image'].dtype == np.float16
  return examples.restored(
    features.deserialize_example_np(features.serialize_example(kept))
  )


def test_float16_keeps_a_microjansky_survey_to_its_own_precision():
  rng = np.random.default_rng(0)
  rms, background = 5e-7, -3e-7
  in_rms = rng.normal(size=(32, 32)) * 10.0 ** rng.uniform(-3, 4.5, (32, 32))
  example = _measured(background + rms * in_rms, background, rms)
  example['image'][3, 4] = np.nan
  found = _there_and_back(example)
  assert found['image'].dtype == np.float32
  assert examples.SCALE_FIELD not in found
  assert found['rms_jy_beam'] == np.float32(rms)
  wanted = example['image']
  np.testing.assert_array_equal(np.isnan(found['image']), np.isnan(wanted))
  off = np.abs(found['image'] - wanted)
  above = np.abs(wanted - np.float32(background))
  # Half a unit in the last place of float16, and two of the float32 outside.
  bound = above * 2**-11 + 2 * np.spacing(np.abs(wanted))
  assert np.nanmax(off / bound) <= 1
  assert np.nanmax(off / above) > 2**-12


@pytest.mark.parametrize('peak', [65504, 65521, 1e6, -1e6, 1e9])
def test_pixels_too_bright_for_float16_cost_the_noise_nothing(peak):
  in_rms = np.random.default_rng(0).normal(size=(16, 16))
  in_rms[5, 5] = peak
  example = _measured(1e-4 * in_rms, 0.0, 1e-4)
  found = _there_and_back(example)['image']
  # The scale is at most this, and its smallest step 2^-24 of it.
  scale = 1e-4 * max(1, 2 * abs(peak) / 65504)
  np.testing.assert_allclose(
    found, example['image'], rtol=2**-11, atol=scale * 2**-25
  )


@pytest.mark.parametrize('rms', [0.0, np.nan])
@pytest.mark.parametrize('level', [0.0, 2.5])
def test_float16_without_noise_is_measured_by_the_brightest_pixel(rms, level):
  pixels = np.full((8, 8), level)
  found = _there_and_back(_measured(pixels, level, rms))['image']
  np.testing.assert_array_equal(found[..., 0], pixels)
  pixels[2, 2:5] += 1e-9, 1e-12, -1e-9
  found = _there_and_back(_measured(pixels, level, rms))['image']
  np.testing.assert_allclose(
    found[..., 0], pixels.astype(np.float32), rtol=2**-11
  )


def test_an_image_without_a_pixel_stays_one_in_float16():
  found = _there_and_back(_measured(np.full((4, 4), np.nan), np.nan, np.nan))
  assert np.isnan(found['image']).all()


@pytest.mark.parametrize(
  ('pixel', 'background'), [(np.inf, 0.0), (-np.inf, 0.0), (1.0, np.nan)]
)
def test_float16_of_what_is_not_finite_is_refused_by_name(pixel, background):
  example = _measured(np.full((4, 4), pixel), background)
  with pytest.raises(ValueError, match=r'J1 of x\.fits: infinite pixels, or'):
    examples.stored(example, 'float16')


def test_float32_is_stored_and_restored_as_it_is():
  example = _measured(np.arange(16).reshape(4, 4), 1.0, 2.0)
  kept = examples.stored(example, 'float32')
  assert kept.keys() == example.keys()
  assert kept['image'] is example['image']
  assert examples.restored(kept)['image'] is example['image']


@pytest.mark.parametrize(
  ('values', 'expected'),
  [
    ([np.float32(1.8)], 1.8),
    ([1.8, 1.8000001], 1.8),
    ([1.8, 1.81], None),
    ([], None),
    ([np.nan, 1.8], None),
  ],
)
def test_a_shared_value_is_one_that_all_images_have(values, expected):
  assert examples.shared(values) == expected
