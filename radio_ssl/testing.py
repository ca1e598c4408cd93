"""Pytest plugin of the suite: two CPU devices, no network, real data.

Loaded by `addopts` of pyproject.toml, before anything can import jax, for
`tests/` and for the tests beside the builders.
"""

import functools
import os
import pathlib
import socket
import tempfile
from collections.abc import Mapping, Sequence

os.environ['JAX_PLATFORMS'] = 'cpu'
# Tests compile much and compute little: without LLVM's optimisations they take
# two thirds of the time. Programs that they start inherit both flags.
os.environ['XLA_FLAGS'] = (
  '--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0'
)
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR',
  str(pathlib.Path(tempfile.gettempdir()) / 'radio_ssl_jax_cache'),
)
os.environ.setdefault('MPLBACKEND', 'agg')

import jax
import pytest
import tensorflow_datasets as tfds

from radio_ssl.data import examples

jax.config.update('jax_numpy_rank_promotion', 'raise')

_REAL_DATA = pathlib.Path(
  os.environ.get(
    'RADIO_SSL_REAL_DATA',
    pathlib.Path(__file__).parents[1] / '..' / 'shared' / 'data',
  )
).resolve()


@pytest.fixture(scope='session')
def real_data() -> pathlib.Path:
  """The folder of real radio images; its tests are skipped without it."""
  if not _REAL_DATA.is_dir():
    pytest.skip(f'no real data at {_REAL_DATA} (set RADIO_SSL_REAL_DATA)')
  return _REAL_DATA


@pytest.fixture(autouse=True, scope='module')
def forget_compiled():
  """Programs compiled in one module of tests are dropped at its end.

  Each takes some memory maps: of all modules together, as many as Linux allows
  a process (vm.max_map_count, 65530), and XLA ends with a segmentation fault.
  """
  yield
  jax.clear_caches()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
  """Connections leave the machine in no test."""
  connect = socket.socket.connect

  def loopback_only(self, address):
    if self.family != socket.AF_UNIX and address[0] not in (
      '127.0.0.1',
      '::1',
      'localhost',
    ):
      raise OSError(f'a test tried to connect to {address}')
    return connect(self, address)

  monkeypatch.setattr(socket.socket, 'connect', loopback_only)


def write(
  folder: pathlib.Path,
  splits: Mapping[str, Sequence[dict]],
  *,
  label_names: Sequence[str] | None = None,
  name: str = 'small',
  **metadata,
) -> pathlib.Path:
  """Writes a small finished data set and returns its directory.

  Args:
    folder: root of the data set.
    splits: examples of each split, from `radio_ssl.data.examples.example`.
    label_names: of labelled sets.
    name: of the data set.
    **metadata: such as pixel_scale_arcsec.
  """
  image = next(iter(splits.values()))[0]['image']
  schema = examples.features(
    *image.shape[:2], dtype=image.dtype, label_names=label_names
  )

  class Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
      return self.dataset_info_from_configs(
        features=schema, metadata=tfds.core.MetadataDict(metadata)
      )

    def _split_generators(self, dl_manager):
      del dl_manager
      return {key: enumerate(rows) for key, rows in splits.items()}

    def _generate_examples(self):
      raise NotImplementedError

  Small.name = name
  builder = Small(data_dir=folder, file_format='array_record')
  builder.download_and_prepare()
  return pathlib.Path(builder.data_path)


@pytest.fixture
def write_dataset(tmp_path):
  """`write` into this test's own folder."""
  return functools.partial(write, tmp_path)
