"""The map and the gallery show the images that they say they show."""

import base64
import io
import itertools
import pathlib

import numpy as np
import PIL.Image
import pytest

from radio_ssl.benchmark.report import atlas, data, embedding


def _row(protocol='linear', *, run=pathlib.Path('run'), accuracy=0.5, name='a'):
  result = data.Result(
    *(name, 'small', 'sky', 0, 'spots', protocol, pathlib.Path(), run)
  )
  stored = {
    'protocol': protocol,
    'label_names': ['one', 'two'],
    'cross_validation': {'scores': {'accuracy': accuracy}},
  }
  return data.Row((result,), (stored,))


def _sources(features, labels, splits):
  pictures = np.arange(len(labels), dtype=np.uint8)[:, None, None]
  return embedding.Sources(
    row=_row(),
    seed=0,
    num_all=len(labels),
    names=[f's{i}' for i in range(len(labels))],
    labels=np.array(labels),
    splits=splits,
    features=np.array(features, float),
    pictures=np.broadcast_to(
      pictures, (len(labels), embedding.GALLERY_PIX, embedding.GALLERY_PIX)
    ),
  )


def test_best_frozen_encoder_is_shown():
  rows = [
    _row(accuracy=0.6),
    _row(accuracy=0.8, name='b'),
    _row('finetune', accuracy=0.9),
    _row(accuracy=0.95, run=None),
  ]
  assert embedding.best(rows) == {'spots': rows[1]}


def test_neighbours_are_the_most_alike_of_the_training_split():
  # Alike in direction, whatever the length; 4 is scored, and the others have
  # the mean 0 and the same spread along both axes.
  its = _sources(
    [[1, 0], [0, 1], [-1, 0], [0, -1], [3, 1]],
    [0, 1, 1, 0, 0],
    ['train'] * 4 + ['test'],
  )
  (query,) = embedding.gallery(its)
  assert query.image == 4
  assert query.neighbours == [0, 1, 3, 2]
  cosines = np.array([3, 1, -1, -3]) / 10**0.5
  np.testing.assert_allclose(query.similarities, cosines)


def test_image_is_no_neighbour_of_its_own():
  generator = np.random.default_rng(0)
  its = _sources(generator.normal(size=(20, 3)), [0, 1] * 10, ['train'] * 20)
  for query in embedding.gallery(its):
    assert query.image not in query.neighbours


def test_gallery_begins_with_an_image_of_each_class():
  generator = np.random.default_rng(0)
  labels = [0] * 30 + [1, 2]
  its = _sources(generator.normal(size=(32, 3)), labels, ['train'] * 32)
  first = [its.labels[query.image] for query in embedding.gallery(its)[:3]]
  assert sorted(first) == [0, 1, 2]


def test_pictures_of_the_gallery_say_whether_they_are_right():
  its = _sources([[1, 0], [1, 0.1], [0, 1]], [0, 1, 0], ['train'] * 3)
  first, nearest, *_ = next(
    line for line in atlas.gallery(its) if line[0].name == 's0'
  )
  assert (first.label, first.same) == ('one', None)
  assert (nearest.name, nearest.label, nearest.same) == ('s1', 'two', False)


@pytest.mark.parametrize(('num', 'how'), [(3, 'two'), (60, 'two'), (120, 't-')])
def test_groups_far_apart_stay_apart_on_the_map(num, how):
  generator = np.random.default_rng(0)
  group = np.arange(num) % 2
  features = generator.normal(size=(num, 10)) + 40 * group[:, None]
  its = _sources(features, group.tolist(), ['train'] * num)
  places, told = embedding.positions(its)
  assert told.startswith(how)
  assert places.shape == (num, 2)
  centres = np.array([places[group == side].mean(axis=0) for side in (0, 1)])
  nearer = np.linalg.norm(places[:, None] - centres, axis=2).argmin(axis=1)
  np.testing.assert_array_equal(nearer, group)
  again, _ = embedding.positions(its)
  np.testing.assert_array_equal(again, places)


def test_map_says_how_many_images_were_drawn_and_hides_none_of_them():
  generator = np.random.default_rng(0)
  its = _sources(generator.normal(size=(9, 4)), [0, 1, 1] * 3, ['train'] * 9)
  figure = atlas.plot(its)
  assert '9 images' in figure.title.text
  shown = [renderer.data_source.data['name'] for renderer in figure.renderers]
  assert sorted(itertools.chain(*shown)) == sorted(its.names)
  assert [len(names) for names in shown] == [3, 6]


def test_small_picture_keeps_its_greys():
  picture = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
  uri = embedding.data_uri(picture, 48)
  kind, _, text = uri.partition(',')
  assert kind == 'data:image/png;base64'
  image = PIL.Image.open(io.BytesIO(base64.b64decode(text))).convert('L')
  assert image.size == (48, 48)
  row = np.asarray(image)[20].astype(int)
  assert row[0] < 10
  assert row[-1] > 245
  assert (np.diff(row) >= 0).all()
