"""The command lines of this package: what is wrong is told in one line."""

import argparse
import pathlib
from typing import NoReturn


class Parser(argparse.ArgumentParser):
  """Leaves the usage to --help; exit status 1, as for any bad input.

  Flags are not abbreviated: other programs read some of them too.
  """

  def __init__(self, *args, **kwargs):
    super().__init__(*args, allow_abbrev=False, **kwargs)

  def error(self, message: str) -> NoReturn:
    """Ends the program with that line."""
    start, _, rest = message.partition('unrecognized arguments: ')
    unknown = rest.split()
    if not start and unknown and pathlib.Path(unknown[0]).exists():
      message = (
        f'{unknown[0]} belongs to no flag: {len(unknown)} names too many. Put '
        "patterns in quotes ('images/*.fits'): the shell makes names of them."
      )
    self.exit(1, f'error: {" ".join(message.split())}\n')
