"""Runs a method of an object over many items, here or in several processes."""

import collections
import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import process
from typing import Any

# Each worker has one item under way and one waiting; more would fill memory.
_AHEAD = 2
_worked_on: Any = None


class Crashed:
  """In place of a result: the process that had this item alone died."""


Run = Callable[[str, Iterable[Any]], Iterator[tuple[Any, Any]]]


@contextlib.contextmanager
def of(target: Any, number: int) -> Iterator[Run]:
  """Yields run(method name, items), which yields (item, result) in order.

  Args:
    target: sent to every process once.
    number: of processes; with 1 everything happens in this one.
  """
  if number == 1:
    yield lambda method, items: (
      (item, getattr(target, method)(item)) for item in items
    )
    return
  with contextlib.ExitStack() as pools:
    yield _Pool(target, number, pools).run


class _Pool:
  """Processes that are started again when one of them dies."""

  def __init__(self, target: Any, number: int, pools: contextlib.ExitStack):
    self._target = target
    self._number = number
    self._pools = pools
    self._pool = self._fresh(number)

  def _fresh(self, number: int) -> concurrent.futures.Executor:
    # Forked processes would share the threads and files of this one.
    return self._pools.enter_context(
      concurrent.futures.ProcessPoolExecutor(
        number, multiprocessing.get_context('spawn'), _receive, (self._target,)
      )
    )

  def run(self, method: str, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """See `of`."""
    left = iter(items)
    waiting: collections.deque[tuple[Any, concurrent.futures.Future]]
    waiting = collections.deque()
    while True:
      for item in itertools.islice(left, self._number * _AHEAD - len(waiting)):
        waiting.append((item, _submit(self._pool, method, item)))
      if not waiting:
        return
      item, future = waiting.popleft()
      try:
        yield item, future.result()
      except process.BrokenProcessPool:
        # Whose fault it was shows when each has a process to itself.
        suspects = [item, *(other for other, _ in waiting)]
        waiting.clear()
        for suspect in suspects:
          try:
            yield suspect, _submit(self._fresh(1), method, suspect).result()
          except process.BrokenProcessPool:
            yield suspect, Crashed()
        self._pool = self._fresh(self._number)


def _receive(target: Any) -> None:
  global _worked_on
  _worked_on = target
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  # A killed parent cannot stop its processes, and they would wait for ever.
  multiprocessing.parent_process().join()
  os._exit(1)


def _call(method: str, item: Any) -> Any:
  return getattr(_worked_on, method)(item)


def _submit(
  pool: concurrent.futures.Executor, method: str, item: Any
) -> concurrent.futures.Future:
  try:
    return pool.submit(_call, method, item)
  except process.BrokenProcessPool as error:
    future: concurrent.futures.Future = concurrent.futures.Future()
    future.set_exception(error)
    return future
