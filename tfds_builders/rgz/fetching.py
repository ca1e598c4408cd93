"""Fetches images one by one: politely, once each, and with a word on each."""

import collections
import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence

from tfds_builders.rgz import shelf as shelves
from tfds_builders.rgz import zoo

THERE, FAILED, NOT_ASKED = 'already there', 'failed', 'not asked'
# Waits between tries of one image: they double up to the last.
_FIRST_WAIT_S = 2.0
_LONGEST_WAIT_S = 300.0
_SECONDS_BETWEEN_LINES = 10.0


class Pace:
  """Lets requests start at most so often.

  Args:
    per_second: requests.
    clock: seconds, as `time.monotonic`.
    sleep: as `time.sleep`.
  """

  def __init__(
    self,
    per_second: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
  ):
    self._interval = 1 / per_second
    self._clock = clock
    self._sleep = sleep
    self._next = clock()

  def wait(self) -> None:
    """Returns when the next request may start."""
    # A sleep may end early.
    while (now := self._clock()) < self._next:
      self._sleep(self._next - now)
    self._next = now + self._interval


@dataclasses.dataclass(frozen=True)
class Patience:
  """When to give up.

  Attributes:
    attempts: tries of an image in one run.
    max_failures: images that fail one after the other and end the run.
  """

  attempts: int = 5
  max_failures: int = 5


@dataclasses.dataclass
class Outcome:
  """What became of the images of a run.

  Attributes:
    counts: images of each status.
    stopped: why the run ended early; '' if it did not.
  """

  counts: collections.Counter = dataclasses.field(
    default_factory=collections.Counter
  )
  stopped: str = ''

  @property
  def complete(self) -> bool:
    """Whether another run would find nothing to do."""
    # A run that stops has failures.
    return not self.counts[FAILED]

  def summary(self) -> str:
    """The counts in one line."""
    parts = [f'{n} {status}' for status, n in sorted(self.counts.items())]
    return f'{self.counts.total()} images: {", ".join(parts) or "none"}'


def fetch(
  sources: Iterable[zoo.Source],
  shelf: shelves.Shelf,
  get: Callable[[zoo.Source], bytes],
  *,
  patience: Patience,
  clock: Callable[[], float] = time.monotonic,
  sleep: Callable[[float], None] = time.sleep,
  tell: Callable[[str], None] = print,
) -> Outcome:
  """Fetches what is not there yet.

  Args:
    sources: those that share an image come to one request.
    shelf: where images go.
    get: asks for one image; raises `shelf.NotFetchedError`.
    patience: when to give up.
    clock: seconds, for progress.
    sleep: between tries.
    tell: gets lines of progress.

  Returns:
    The counts.
  """
  images = list({source.image: source for source in sources}.values())
  outcome, progress = Outcome(), _Progress(len(images), clock, tell)
  failures = 0
  for done, source in enumerate(images):
    status, reason, tries = _settle(source, shelf, get, patience, sleep)
    shelf.log(source, status, reason=reason, attempts=tries)
    outcome.counts[status] += 1
    if status == FAILED:
      tell(f'{source.image}: failed: {reason}')
      failures += 1
    elif tries:
      failures = 0
    if failures >= patience.max_failures:
      _stop(outcome, images[done + 1 :], shelf, failures, reason)
      break
    progress.note(outcome, asked=bool(tries))
  return outcome


def _settle(
  source: zoo.Source,
  shelf: shelves.Shelf,
  get: Callable[[zoo.Source], bytes],
  patience: Patience,
  sleep: Callable[[float], None],
) -> tuple[str, str, int]:
  """Status, reason and number of tries of one image."""
  if before := shelf.before(source):
    status, reason = before
    return THERE if status == shelves.FETCHED else status, reason, 0
  for tries in range(1, patience.attempts + 1):
    try:
      shelf.put(source, get(source))
      return shelves.FETCHED, '', tries
    except shelves.RejectedError as error:
      return error.status, str(error), tries
    except shelves.NotFetchedError as error:
      if not error.again or tries == patience.attempts:
        return FAILED, str(error), tries
      wait_s = max(_FIRST_WAIT_S * 2 ** (tries - 1), error.wait_s or 0)
      sleep(min(wait_s, _LONGEST_WAIT_S))
  raise AssertionError('attempts is 0')


def _stop(
  outcome: Outcome,
  rest: Sequence[zoo.Source],
  shelf: shelves.Shelf,
  failures: int,
  reason: str,
) -> None:
  for source in rest:
    shelf.log(source, NOT_ASKED, reason='the run stopped', attempts=0)
    outcome.counts[NOT_ASKED] += 1
  outcome.stopped = (
    f'stopped: {failures} images failed one after the other, the last with: '
    f'{reason} Look at the server, then run the same command again; what is '
    'there is not fetched again.'
  )


class _Progress:
  """A line every few seconds, with the time that is left."""

  def __init__(
    self, total: int, clock: Callable[[], float], tell: Callable[[str], None]
  ):
    self._total, self._clock, self._tell = total, clock, tell
    self._start = self._said = clock()
    self._asked = 0

  def note(self, outcome: Outcome, *, asked: bool) -> None:
    self._asked += asked
    now, done = self._clock(), outcome.counts.total()
    if now - self._said < _SECONDS_BETWEEN_LINES and done < self._total:
      return
    self._said, eta = now, ''
    # What was there before took no time worth counting.
    if self._asked and done < self._total:
      left = (now - self._start) / self._asked * (self._total - done)
      eta = f', ETA {_duration(left)}'
    self._tell(f'{done}/{self._total}{eta}; {outcome.summary()}')


def _duration(seconds: float) -> str:
  """1:02:03, hours first."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{seconds:02}'
