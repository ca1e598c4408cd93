"""Measures what an encoder learnt, apart from its training.

  python -m radio_ssl.evaluate --config=configs/eval/linear_mirabest.py \
    --checkpoint=runs/x --output=runs/x/eval

`--baseline=random|pixels|catalogue` takes the place of the checkpoint, or with
one, copies its architecture and input.
"""

import logging
import sys

from absl import app, flags
from ml_collections import config_flags

from radio_ssl.evaluate import report, runner

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'A file of configs/eval/.'
)
_CHECKPOINT = flags.DEFINE_string(
  'checkpoint', None, 'Folder of a pretraining run, or of one checkpoint.'
)
_BASELINE = flags.DEFINE_string(
  'baseline', None, 'random, pixels or catalogue, instead of the checkpoint.'
)
_OUTPUT = flags.DEFINE_string('output', None, 'Folder of the report.')


def main(argv) -> None:
  """Runs one evaluation; bad input ends in one line and exit status 1."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown argument {argv[1]!r}.')
  # Ours alone: what the libraries tell besides warnings helps nobody here.
  logging.getLogger('radio_ssl').setLevel(logging.INFO)
  try:
    result = runner.run(
      _CONFIG.value,
      output=_OUTPUT.value,
      checkpoint=_CHECKPOINT.value,
      baseline=_BASELINE.value,
    )
  except ValueError as error:
    sys.exit(f'error: {error}')
  print(report.comparison([result]))
  print(f'\n{_OUTPUT.value}/confusion_matrix.png')


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'output'])
  app.run(main)
