"""A small labelled sky, and runs of two steps on it."""

import types

import numpy as np
import pytest

from configs import base
from configs.eval import base as eval_base
from radio_ssl import pretrain, testing
from radio_ssl.data import catalogue, examples, pipeline
from radio_ssl.evaluate import runner

SIZE_PIX = 40


def _image(label, generator):
  """One bright spot of class 0, two of class 1, three of class 2, ..."""
  image = generator.normal(size=(SIZE_PIX, SIZE_PIX)).astype(np.float32) * 1e-4
  for spot in range(label + 1):
    image[18:22, 12 + 6 * spot : 15 + 6 * spot] += 0.02
  return image


def rows(num, *, first, classes=2, labels=None, **known):
  """`num` sources a degree apart, named by number; labels go 0, 1, 0, ..."""
  generator = np.random.default_rng(first)
  for i in range(first, first + num):
    shown = i % classes
    yield examples.example(
      _image(shown, generator),
      name=f's{i}',
      source_file='a.fits',
      ra_deg=float(i),
      dec_deg=0.0,
      background_jy_beam=0.0,
      rms_jy_beam=1e-4,
      label=shown if labels is None else int(labels[i - first]),
      **{name: values[i - first] for name, values in known.items()},
    )


def _written(folder, splits, *, label_names=('one', 'two'), **metadata):
  directory = testing.write(
    folder,
    {name: list(split) for name, split in splits.items()},
    label_names=label_names,
    **{'pixel_scale_arcsec': 1.8, 'beam_major_arcsec': 5.4, **metadata},
  )
  return pipeline.open_dataset(directory)


@pytest.fixture
def write(tmp_path):
  """Writes splits of `rows` as a data set and opens it."""
  return lambda splits, **kwargs: _written(tmp_path / 'data', splits, **kwargs)


@pytest.fixture(scope='session')
def dataset(tmp_path_factory):
  """24 sources to train on, 10 to test on, two classes."""
  return _written(
    tmp_path_factory.mktemp('labelled'),
    {'train': rows(24, first=0), 'test': rows(10, first=100)},
  )


def _run(method, dataset, workdir):
  config = base.get_config()
  config.input.size_pix = 16
  config.input.field_arcsec = 36.0
  config.encoder = base.encoder('resnet10', width=1 / 16)
  small = {'simclr': {'projector_hidden': 8}, 'byol': {'hidden': 8}}
  config.objective = base.objective(method, **small[method])
  config.batch_size = 4
  config.num_steps = 2
  config.warmup_epochs = 0
  pretrain.run(config, workdir, dataset)
  return workdir


@pytest.fixture(scope='session')
def simclr_run(dataset, tmp_path_factory):
  """The folder of a run of SimCLR."""
  return _run('simclr', dataset, tmp_path_factory.mktemp('simclr'))


@pytest.fixture(scope='session')
def byol_run(dataset, tmp_path_factory):
  """The folder of a run of BYOL."""
  return _run('byol', dataset, tmp_path_factory.mktemp('byol'))


def _config(dataset):
  made = eval_base.get_config()
  made.data.dir = str(dataset.directory)
  made.num_folds = 2
  made.num_bootstrap = 20
  made.rotations = 1
  made.pixel_components = 5
  made.encoder = base.encoder('resnet10', width=1 / 16)
  made.input.size_pix = 16
  made.input.field_arcsec = 36.0
  return made


@pytest.fixture
def config(dataset):
  """Of the evaluator, on `dataset`, small."""
  return _config(dataset)


@pytest.fixture(scope='session')
def probed(simclr_run, dataset, tmp_path_factory):
  """Folder and result of an evaluation of `simclr_run`, to read alone."""
  folder = tmp_path_factory.mktemp('probed')
  return folder, runner.run(
    _config(dataset), checkpoint=simclr_run, output=folder
  )


@pytest.fixture
def make_rows():
  """`rows`, for tests that write sets of their own."""
  return rows


@pytest.fixture
def sky():
  """s0 ... s23 to learn from, s100 ... s109 to test, at as many degrees.

  Their images are 72 arcsec wide: a circle of 50.9 holds them.
  """

  def placed(num, first):
    return list(rows(num, first=first, pixel_scale_arcsec=np.full(num, 1.8)))

  return {'train': placed(24, 0), 'test': placed(10, 100)}


@pytest.fixture
def held(tmp_path):
  """Names of `sky`, and a catalogue of their places by other names."""
  names = {'s3', 's4', 's10', 's17', 's101', 's106'}
  path = tmp_path / 'holdout.csv'
  # 10 arcsec off, as between catalogues.
  lines = [(f'J{n}', float(n[1:]), 10 / 3600, np.nan, np.nan) for n in names]
  catalogue.write(path, lines)
  return types.SimpleNamespace(names=names, path=str(path))


@pytest.fixture
def configure(config):
  """The config of another set, with some fields of `data`."""

  def of(dataset, **data):
    config.data.dir = str(dataset.directory)
    config.pixel_components = 2
    config.data.update(data)
    return config

  return of
