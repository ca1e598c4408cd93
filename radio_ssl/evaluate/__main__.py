"""Measures what an encoder learnt, apart from its training.

  python -m radio_ssl.evaluate --config=configs/eval/linear_mirabest.py \
    --checkpoint=runs/x --output=runs/x/eval

`--baseline=random|pixels|catalogue` takes the place of the checkpoint, or with
one, copies its architecture and input.
"""

from absl import flags
from ml_collections import config_flags

from radio_ssl import cli
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


def main() -> None:
  """Runs one evaluation and prints its table."""
  result = runner.run(
    _CONFIG.value,
    output=_OUTPUT.value,
    checkpoint=_CHECKPOINT.value,
    baseline=_BASELINE.value,
  )
  print(report.comparison([result]))
  print(f'\n{_OUTPUT.value}/confusion_matrix.png')


if __name__ == '__main__':
  cli.run(main, required=('config', 'output'))
