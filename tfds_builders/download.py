"""Published files: fetched by hand, downloaded before, or now."""

import pathlib
import socket
import urllib.parse

import tensorflow_datasets as tfds

_PORTS = {'http': 80, 'https': 443}


def fetch(
  dl_manager: tfds.download.DownloadManager, url: str, by_hand: str
) -> pathlib.Path:
  """A file with a registered checksum.

  Args:
    dl_manager: of the build.
    url: public address, as in checksums.tsv.
    by_hand: where --manual_dir may hold the file, as in checksums.tsv.

  Raises:
    ValueError: the server does not answer. TFDS alone would try for minutes,
      and not tell what to do.
  """
  try:
    path = pathlib.Path(dl_manager.manual_dir) / by_hand
  except AssertionError:  # TFDS's way to say that no manual_dir was given.
    path = None
  if path is None or not path.is_file():
    address = urllib.parse.urlsplit(url)
    try:
      socket.create_connection(
        (address.hostname, _PORTS[address.scheme]), timeout=20
      ).close()
    except OSError as error:
      raise ValueError(
        f'{url}: the server does not answer ({error}). Put the file into '
        f'MANUAL_DIR as {by_hand} and give --manual_dir=MANUAL_DIR.'
      ) from error
  return dl_manager.download(url)
