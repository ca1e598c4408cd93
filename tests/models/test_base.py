import jax
import jax.numpy as jnp
import pytest

from radio_ssl.models import base


def test_every_encoder_of_the_folder_is_found_by_name():
  assert {'resnet18', 'resnet50'} <= set(base.available())


@pytest.mark.parametrize('name', base.available())
def test_every_encoder_returns_one_vector_an_image(name):
  encoder = base.make_encoder({'name': name, **base.defaults(name)})
  images = jnp.zeros((2, 32, 32, 1))

  def run(rng):
    return encoder.init_with_output(rng, images, train=False)[0]

  features = jax.eval_shape(run, jax.random.key(0))
  assert features.pooled.shape[0] == 2
  assert features.pooled.ndim == 2


def test_unknown_name_is_refused_with_the_list_of_what_there_is():
  with pytest.raises(ValueError, match=r"'resnet19'.*resnet18, resnet50"):
    base.make_encoder({'name': 'resnet19'})


def test_unknown_field_is_refused_with_the_list_of_what_there_is():
  with pytest.raises(ValueError, match=r"'depth'.*mean, std, stem, width"):
    base.make_encoder({'name': 'resnet18', 'depth': 3})


@pytest.mark.parametrize('name', ['resnet18', 'resnet50'])
def test_what_makes_a_resnet_18_is_no_field_of_a_config(name):
  with pytest.raises(ValueError, match="'blocks'"):
    base.make_encoder({'name': name, 'blocks': (1, 1)})


@pytest.mark.parametrize(
  'field', [{'stem': 'large'}, {'dtype': 'int8'}, {'width': 0.001}]
)
def test_a_value_without_a_meaning_is_refused(field):
  with pytest.raises(ValueError, match=str(next(iter(field.values())))):
    base.make_encoder({'name': 'resnet18', **field})
