"""The command lines of this package: what is wrong is told in one line."""

import argparse
import pathlib
from typing import NoReturn


class Parser(argparse.ArgumentParser):
  """Leaves the usage to --help; exit status 1, as for any bad input."""

  def error(self, message: str) -> NoReturn:
    """Ends the program with that line."""
    unknown = message.removeprefix('unrecognized arguments: ').split()
    if message.startswith('unrecognized') and pathlib.Path(unknown[0]).exists():
      message = (
        f'{unknown[0]} belongs to no flag: {len(unknown)} names too many. Put '
        "patterns in quotes ('images/*.fits'): the shell makes names of them."
      )
    self.exit(1, f'error: {" ".join(message.split())}\n')
