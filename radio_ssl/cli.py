"""What the programs share: flags to values, errors to one line."""

import keyword
import logging
import re
import sys
from collections.abc import Callable, Sequence

from absl import app, flags
from ml_collections import config_flags

# What bad flags and bad input raise; anything else is a fault of this package
# and keeps its traceback.
_BAD_INPUT = (ValueError, FloatingPointError, OSError)
# ml_collections reports unknown fields and unfit values with these.
_BAD_FLAGS = (*_BAD_INPUT, AttributeError, KeyError, TypeError, flags.Error)


class _FloatOrNone(flags.FloatParser):
  """Some fields may be None, as input.field_arcsec for the whole image."""

  def parse(self, argument):
    none = isinstance(argument, str) and argument.lower() == 'none'
    return None if none else super().parse(argument)


config_flags.register_flag_parser_for_type(float, _FloatOrNone())


def run(main: Callable[[], int | None], *, required: Sequence[str]) -> None:
  """Parses the flags and runs `main`; its result is the exit status.

  Args:
    main: the program; bad input raises ValueError, FloatingPointError or
      OSError and ends in one line on stderr and exit status 1.
    required: names of the flags that must be given.
  """
  flags.mark_flags_as_required(required)
  # ml_collections looks there too, for the fields that are to be overridden.
  sys.argv[:] = map(_with_keywords_quoted, sys.argv)

  def program(argv):
    if len(argv) > 1:
      return _fail(f'Unknown argument {argv[1]!r}; see --help.')
    # Ours alone: what the libraries tell besides warnings helps nobody here.
    logging.getLogger('radio_ssl').setLevel(logging.INFO)
    for library in ('jax', 'absl'):
      logging.getLogger(library).setLevel(logging.WARNING)
    try:
      return main()
    except _BAD_INPUT as error:
      return _fail(error)

  def parse(argv):
    try:
      return flags.FLAGS(argv)
    except _BAD_FLAGS as error:
      # ml_collections names an unknown field, then guesses what was meant.
      cause = error.args[0]
      cause = cause.args[0] if isinstance(cause, KeyError) else cause
      field, _, guess = str(cause).partition('\n')
      field = field.strip('"\'')
      if 'Traceback' in guess:
        # The file itself raised; ml_collections hands on all of its traceback.
        error = f'{field} {guess.strip().splitlines()[-1]}'
      names = {a: re.findall(r'\w+', a.partition('=')[0]) for a in argv}
      given = [a for a in argv if field in names[a]]
      if given:
        error = f'{given[0]}: no such field. {guess or "See configs/."}'
      sys.exit(_fail(error))

  app.run(program, flags_parser=parse)


def _with_keywords_quoted(argument: str) -> str:
  """`--config.a.global.b=1` as `--config.a["global"].b=1`.

  ml_collections reads the name of a flag as a Python expression, where a
  keyword cannot follow a dot.
  """
  name, equals, value = argument.partition('=')
  keywords = '|'.join(keyword.kwlist)
  name = re.sub(rf'\.({keywords})(?=[.\[]|$)', r'["\1"]', name)
  return f'{name}{equals}{value}'


def _fail(error: Exception | str) -> int:
  line = ' '.join(str(error).split())
  print(f'error: {line}', file=sys.stderr)
  return 1
