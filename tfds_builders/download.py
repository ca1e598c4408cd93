"""Published files: fetched by hand, downloaded before, or now."""

import pathlib
import socket
import urllib.parse
from collections.abc import Mapping

import tensorflow_datasets as tfds

from radio_ssl.data import manifest

_PORTS = {'http': 80, 'https': 443}
# Key of the metadata: SHA-256 of each file that a data set was made of.
INPUTS = 'inputs'


def fetch(
  builder: tfds.core.DatasetBuilder,
  dl_manager: tfds.download.DownloadManager,
  url: str,
) -> pathlib.Path:
  """A file with a registered checksum, noted in the metadata.

  Args:
    builder: whose checksums.tsv has the address, and where --manual_dir may
      hold the file: there, or without a folder of its own.
    dl_manager: of the build.
    url: public address.

  Raises:
    ValueError: a file of another checksum, or a server that does not answer.
      TFDS alone would try for minutes, and not tell what to do.
  """
  known = builder.url_infos[url]
  by_hand = pathlib.PurePath(known.filename)
  folder = manual_dir(dl_manager)
  if folder is None or not (folder / by_hand).is_file():
    if folder is not None and (folder / by_hand.name).is_file():
      note(builder, {by_hand.name: folder / by_hand.name})
      _check(folder / by_hand.name, known.checksum, url)
      return folder / by_hand.name
    _check_server(url, by_hand)
  path = pathlib.Path(dl_manager.download(url))
  note(builder, {by_hand.name: path})
  return path


def manual_dir(
  dl_manager: tfds.download.DownloadManager,
) -> pathlib.Path | None:
  """Folder of files that were fetched by hand; None where none was given."""
  try:
    return pathlib.Path(dl_manager.manual_dir)
  except AssertionError:  # TFDS's way to say so.
    return None


def note(
  builder: tfds.core.DatasetBuilder, files: Mapping[str, pathlib.Path]
) -> None:
  """Keeps the SHA-256 of inputs, by name, in the metadata."""
  inputs = builder.info.metadata.setdefault(INPUTS, {})
  inputs.update({name: manifest.sha256(path) for name, path in files.items()})


def _check(path: pathlib.Path, wanted: str, url: str) -> None:
  found = manifest.sha256(path)
  if found != wanted:
    raise ValueError(
      f'{path}: its SHA-256 is {found}; wanted {wanted}. It is not the '
      f'published file: fetch it again from {url}.'
    )


def _check_server(url: str, by_hand: pathlib.PurePath) -> None:
  address = urllib.parse.urlsplit(url)
  try:
    socket.create_connection(
      (address.hostname, _PORTS[address.scheme]), timeout=20
    ).close()
  except OSError as error:
    raise ValueError(
      f'{url}: the server does not answer ({error}). Put the file into '
      f'MANUAL_DIR, or as {by_hand} below it, and give --manual_dir=MANUAL_DIR.'
    ) from error
