"""Runs of the fetching program without network or time, for its tests."""

import collections
import json
import pathlib
from collections.abc import Callable
from typing import Any

from tfds_builders.rgz import fetch, fetching, samples, zoo


class Clock:
  """Time that passes by sleeping, or when told to."""

  def __init__(self):
    self.now = 100.0
    self.slept: list[float] = []

  def __call__(self) -> float:
    """As `time.monotonic`."""
    return self.now

  def sleep(self, seconds: float) -> None:
    """Notes it, and lets the time pass."""
    assert seconds > 0
    self.slept.append(seconds)
    self.now += seconds


class Sky:
  """Answers with images, after what is told to come first.

  Attributes:
    asked: how often for each name.
  """

  def __init__(self, **trouble):
    self.asked: collections.Counter[str] = collections.Counter()
    self._trouble = {name: list(what) for name, what in trouble.items()}

  def __call__(self, source: zoo.Source) -> bytes:
    """As the `get` of `fetching.fetch`."""
    self.asked[source.name] += 1
    first = self._trouble.get(source.name, [])
    what = first.pop(0) if first else None
    if isinstance(what, Exception):
      raise what
    good = samples.image(source.ra_deg, source.dec_deg)
    return what(good) if what else good


def rows(count: int, classes: tuple[str, ...] = ('1C-1P',)) -> list[tuple]:
  """Those of `samples`, called s0, s1, ..."""
  return [
    (f's{n}', *row[1:]) for n, row in enumerate(samples.rows(count, classes))
  ]


def go(
  folder: pathlib.Path,
  sky: Callable[[zoo.Source], bytes],
  count: int = 4,
  **how: Any,
) -> tuple[fetching.Outcome, list[str]]:
  """Fetches s0 to s{count - 1}; returns the outcome and what was told."""
  catalogue = folder / 'c.csv'
  samples.write_catalogue(catalogue, how.pop('rows', rows(count)))
  clock, told = how.pop('clock', Clock()), []
  patience = fetching.Patience(
    how.pop('attempts', 3), how.pop('max_failures', 2)
  )
  outcome = fetch.run(
    catalogue,
    folder / 'out',
    lambda: sky,
    pixels=how.pop('pixels', samples.PIXELS),
    patience=patience,
    tell=told.append,
    clock=clock,
    sleep=clock.sleep,
    **how,
  )
  return outcome, told


def files(folder: pathlib.Path) -> list[str]:
  """Names of the images that are there."""
  return sorted(p.name for p in (folder / 'out' / 'fits').iterdir())


def log(folder: pathlib.Path) -> list[dict[str, Any]]:
  """The lines of log.jsonl."""
  lines = (folder / 'out' / 'log.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]
