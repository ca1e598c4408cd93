"""Which code made something."""

import functools
import pathlib
import subprocess


@functools.cache
def commit() -> str | None:
  """The git commit of this code, with '+' for a changed tree; None outside."""
  here = pathlib.Path(__file__).parent

  def git(*args):
    return subprocess.run(
      ['git', *args], cwd=here, capture_output=True, text=True, check=True
    ).stdout.strip()

  try:
    # Installed, it may lie in somebody else's repository.
    git('ls-files', '--error-unmatch', pathlib.Path(__file__).name)
    changed = git('status', '--porcelain', '--untracked-files=no')
    return git('rev-parse', 'HEAD') + ('+' if changed else '')
  except (OSError, subprocess.CalledProcessError):
    return None
