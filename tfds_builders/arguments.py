"""The command lines of this package: what is wrong is told in one line."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
  """Leaves the usage to --help; exit status 1, as for any bad input."""

  def error(self, message: str) -> NoReturn:
    """Ends the program with that line."""
    self.exit(1, f'error: {" ".join(message.split())}\n')
