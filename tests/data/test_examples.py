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
