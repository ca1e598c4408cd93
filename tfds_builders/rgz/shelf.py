"""A folder of fetched images that tells at any time what it holds.

  plan.json        the catalogue's name and digest, the grid, what is left out
  sources.csv      the sources that are asked for
  fits/IMAGE.fits  an image; never part of one
  manifest.jsonl   a line for each image that is settled: its SHA-256, or why
                   there is none
  log.jsonl        a line for each image in each run
  partial/         what is on its way

A kill leaves at most a file in partial/, an image without its line, or half a
line at the end.
"""

import collections
import contextlib
import fcntl
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from radio_ssl.data import fits, manifest
from tfds_builders import first_survey
from tfds_builders.rgz import zoo

FETCHED, NO_COVERAGE, REFUSED = 'fetched', 'no coverage', 'refused'
# Nothing was measured there, by `fits.FitsError.kind`.
_EMPTY = ('no measurement', 'zeros')
# Of the source from the middle of its image.
_OFF_PIX = 1.0
# Least radius round the source that has to be measured.
_RADIUS_ARCSEC = 15.0
_MISSING_NAMED = 6


class NotFetchedError(Exception):
  """No image, and another try may bring one.

  Attributes:
    again: whether it makes sense to try at once.
    wait_s: that the server asks for, if it does.
  """

  def __init__(
    self, reason: str, *, again: bool = True, wait_s: float | None = None
  ):
    super().__init__(reason)
    self.again = again
    self.wait_s = wait_s


class RejectedError(Exception):
  """A sound image that is of no use, for good; `status` says of which kind."""

  def __init__(self, status: str, reason: str):
    super().__init__(reason)
    self.status = status


class Shelf:
  """The folder, for the one program that writes to it.

  Args:
    folder: is made.
    pixels: side of the images.
    max_missing: images with a larger fraction of blank pixels, in all or round
      the source, are refused.
    recheck: forget what was rejected before.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    *,
    pixels: int,
    max_missing: float,
    recheck: bool = False,
  ):
    self._folder = folder
    self._pixels = pixels
    self._max_missing = max_missing
    self._recheck = recheck
    for name in ('fits', 'partial'):
      (folder / name).mkdir(parents=True, exist_ok=True)
    for path in (folder / 'partial').iterdir():
      path.unlink()
    for name in ('manifest.jsonl', 'log.jsonl'):
      _end_lines(folder / name)
    self._settled = settled(folder)

  def before(self, source: zoo.Source) -> tuple[str, str] | None:
    """(status, reason) of an image that was settled before, else None.

    A file is read and compared with its SHA-256; one without a line, left by a
    kill, is read and gets it.
    """
    entry = self._settled.get(source.image, {})
    if entry.get('status') in (NO_COVERAGE, REFUSED):
      return None if self._recheck else (entry['status'], entry['reason'])
    path = self._path(source)
    if not path.is_file():
      return None
    try:
      self._check(path, source)
    except (NotFetchedError, RejectedError):
      return None
    if entry and manifest.sha256(path) != entry['sha256']:
      return None
    if not entry:
      self._settle(source, FETCHED, **_facts(path))
    return FETCHED, ''

  def put(self, source: zoo.Source, content: bytes) -> None:
    """Keeps an image, once it is on disk and is what was asked for.

    Raises:
      NotFetchedError: not a whole FITS file of this source.
      RejectedError: it is, but shows nothing or is at the edge of the survey.
    """
    partial = self._folder / 'partial' / self._path(source).name
    with open(partial, 'wb') as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    try:
      self._check(partial, source)
    except RejectedError as error:
      self._settle(source, error.status, reason=str(error))
      raise
    else:
      partial.replace(self._path(source))
      _sync(self._folder / 'fits')
      self._settle(source, FETCHED, **_facts(self._path(source)))
    finally:
      partial.unlink(missing_ok=True)

  def log(self, source: zoo.Source, status: str, **facts: Any) -> None:
    """Notes what became of an image in this run."""
    line = {
      'image': source.image,
      'status': status,
      'ra_deg': source.ra_deg,
      'dec_deg': source.dec_deg,
      **facts,
    }
    _append(self._folder / 'log.jsonl', line)

  def _path(self, source: zoo.Source) -> pathlib.Path:
    return image_path(self._folder, source.image)

  def _settle(self, source: zoo.Source, status: str, **facts: Any) -> None:
    entry = {'image': source.image, 'status': status, **facts}
    _append(self._folder / 'manifest.jsonl', entry)
    self._settled[source.image] = entry

  def _check(self, path: pathlib.Path, source: zoo.Source) -> None:
    try:
      image = fits.read(path)
    except fits.FitsError as error:
      reason = str(error).removeprefix(f'{path}: ')
      if error.kind in _EMPTY:
        raise RejectedError(NO_COVERAGE, reason) from error
      raise NotFetchedError(reason) from error
    self._check_grid(image, source)
    missing = np.isnan(image.pixels_jy_beam)
    size = np.nan_to_num(source.source_size_arcsec)
    radius = max(_RADIUS_ARCSEC, size / 2) / first_survey.PIXEL_SCALE_ARCSEC
    steps = np.arange(self._pixels) - (self._pixels - 1) / 2
    near = np.hypot(steps, steps[:, None]) <= radius
    for what, share in (
      ('its pixels', missing.mean()),
      ('the pixels round the source', missing[near].mean()),
    ):
      if share > self._max_missing:
        raise RejectedError(
          REFUSED,
          f'{100 * share:.1f} % of {what} are blank, at most '
          f'{100 * self._max_missing:g} % may be: the edge of the survey.',
        )

  def _check_grid(self, image: fits.Image, source: zoo.Source) -> None:
    height, width = image.pixels_jy_beam.shape
    x, y = fits.sky_to_pixel(image.wcs, source.ra_deg, source.dec_deg)
    off = float(np.hypot(x - (width - 1) / 2, y - (height - 1) / 2))
    scale = image.pixel_scale_arcsec
    if (
      (height, width) != (self._pixels, self._pixels)
      or abs(scale / first_survey.PIXEL_SCALE_ARCSEC - 1) > 1e-3
      or not off <= _OFF_PIX
    ):
      raise NotFetchedError(
        f'{width} x {height} pixels of {scale:.4g} arcsec, the source '
        f'{off:.1f} pixels off the middle; wanted {self._pixels} x '
        f'{self._pixels} of {first_survey.PIXEL_SCALE_ARCSEC} arcsec round it. '
        'It is not what was asked for.',
        again=False,
      )


def image_path(folder: pathlib.Path, image: str) -> pathlib.Path:
  """Where an image is."""
  return folder / 'fits' / f'{image}.fits'


def settled(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
  """The last line of `manifest.jsonl` for each image.

  Raises:
    ValueError: a line in the middle is no JSON.
  """
  path = folder / 'manifest.jsonl'
  if not path.is_file():
    return {}
  # What follows the last line break is half a line, left by a kill.
  lines = path.read_text(encoding='utf-8').split('\n')[:-1]
  try:
    entries = [json.loads(line) for line in lines]
    return {entry['image']: entry for entry in entries}
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'{path}: a line is damaged ({error}). Remove that line; what it told of '
      'is then looked at again.'
    ) from error


@contextlib.contextmanager
def alone(folder: pathlib.Path) -> Iterator[None]:
  """Holds the folder for this program.

  Raises:
    ValueError: another one holds it.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with open(folder / 'lock', 'w') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise ValueError(
        f'{folder}: another program fetches into it now. Wait for it, or name '
        'another --output.'
      ) from None
    yield


def write_plan(
  folder: pathlib.Path, plan: dict[str, Any], sources: list[zoo.Source]
) -> None:
  """Notes what is asked for; the images of an earlier plan stay.

  Raises:
    ValueError: the images there have another grid.
  """
  path = folder / 'plan.json'
  if path.is_file():
    there = read_plan(folder)
    if there['pixels'] != plan['pixels']:
      raise ValueError(
        f'{folder}: holds images of {there["pixels"]} pixels, asked for are '
        f'{plan["pixels"]}. Ask for the former, or name another --output.'
      )
  zoo.store(folder / 'sources.csv', sources)
  temporary = path.with_suffix('.tmp')
  temporary.write_text(json.dumps(plan, indent=1) + '\n')
  temporary.replace(path)
  _sync(folder)


def read_plan(folder: pathlib.Path) -> dict[str, Any]:
  """What `write_plan` wrote.

  Raises:
    ValueError: it is not there.
  """
  path = folder / 'plan.json'
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise ValueError(
      f'{path}: no plan of fetched images ({error}). Fetch them: python -m '
      f'tfds_builders.rgz.fetch --catalogue FILE --output {folder}.'
    ) from error


def missing(
  folder: pathlib.Path, sources: list[zoo.Source]
) -> tuple[list[str], str]:
  """Images that are neither there nor settled, and a phrase that names some."""
  entries = settled(folder)
  images = collections.Counter(s.image for s in sources)
  names = [
    image
    for image in images
    if image not in entries
    or (
      entries[image]['status'] == FETCHED
      and not image_path(folder, image).is_file()
    )
  ]
  shown = ', '.join(names[:_MISSING_NAMED])
  more = ', ...' if len(names) > _MISSING_NAMED else ''
  return names, f'{len(names)} of {len(images)} images ({shown}{more})'


def _facts(path: pathlib.Path) -> dict[str, Any]:
  content = path.read_bytes()
  # SkyView tells it in a card of HISTORY.
  sampler = re.search(rb'Resampler used: *(\w+)', content)
  return {
    'bytes': len(content),
    'sha256': manifest.sha256(path),
    'sampler': sampler and sampler[1].decode(),
  }


def _append(path: pathlib.Path, line: dict[str, Any]) -> None:
  with open(path, 'a', encoding='utf-8') as file:
    file.write(json.dumps(line) + '\n')
    file.flush()
    os.fsync(file.fileno())


def _end_lines(path: pathlib.Path) -> None:
  """Cuts off half a line at the end."""
  if path.is_file():
    content = path.read_bytes()
    whole = content.rfind(b'\n') + 1
    if whole < len(content):
      os.truncate(path, whole)


def _sync(folder: pathlib.Path) -> None:
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
