"""Pytest plugin of the suite: two CPU devices, no network, real data.

Loaded by `addopts` of pyproject.toml, before anything can import jax, for
`tests/` and for the tests beside the builders.
"""

import os
import pathlib
import socket
import tempfile

os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=2'
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR',
  str(pathlib.Path(tempfile.gettempdir()) / 'radio_ssl_jax_cache'),
)
os.environ.setdefault('MPLBACKEND', 'agg')

import jax
import pytest

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
