"""Prepares a data set, without TensorFlow (`--format tfrecord`: with it).

  python -m tfds_builders.build NAME [--config C] [--data_dir D] ...
  python -m tfds_builders.build NAME --help

A builder is a folder of `tfds_builders/` with NAME_dataset_builder.py in it;
its class is `Builder`. Where the file has a frozen dataclass `Options` too,
each field is a flag (`metadata`: `help`, and `parse` unless it is a bool), the
class takes them as `options=`, and `Options.record()` returns, JSON-ready, all
that shapes the data; a named file that is not there is `MISSING`. The record is
kept with the data: data that were built with other options are never taken for
those asked for.
"""

import argparse
import contextlib
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import json
import pathlib
import shutil
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import download_manager

from radio_ssl.data import examples, manifest, pipeline, places
from tfds_builders import arguments, card, spill

MISSING = 'missing'
# The second is for readers of tf.data; TensorFlow writes it.
FORMATS = ('array_record', 'tfrecord')
_FOLDER = pathlib.Path(__file__).parent
_BAD_INPUT = (
  ValueError,
  OSError,
  tfds.download.DownloadError,
  download_manager.NonMatchingChecksumError,
)


def available() -> list[str]:
  """Names of the builders there are."""
  files = _FOLDER.glob('*/*_dataset_builder.py')
  return sorted(
    p.parent.name for p in files if p.name.startswith(f'{p.parent.name}_data')
  )


def build(
  builder: str,
  /,
  *,
  config: str | None = None,
  data_dir: str | pathlib.Path | None = None,
  manual_dir: str | pathlib.Path | None = None,
  overwrite: bool = False,
  licence: str | None = None,
  file_format: str | None = None,
  **options: Any,
) -> pathlib.Path:
  """Prepares a data set where it is not there yet.

  Args:
    builder: name of a folder in `tfds_builders/`.
    config: of the builder; None for its default.
    data_dir: root of all data sets; None for $TFDS_DATA_DIR, else
      ~/tensorflow_datasets.
    manual_dir: holds files that were fetched by hand.
    overwrite: builds again what is there.
    licence: of the images, for the data card; None for the module's `LICENCE`.
    file_format: one of FORMATS; None for what is there, else the first.
    **options: fields of the builder's `Options`, if it has any.

  Returns:
    The directory of the prepared data,
    <data_dir>/<name>/<config>/<version>.

  Raises:
    ValueError: unknown builder, config, option or format; bad input; data are
      there that were built with other options; no TensorFlow for tfrecord.
  """
  _check_writable(file_format)
  module = _module(builder)
  make = functools.partial(_make, module, builder, config, data_dir, options)
  made = make()
  directory = pathlib.Path(made.data_dir)
  record = _record(module, options)
  finish = functools.partial(
    _finish,
    about=_FOLDER / builder / 'README.md',
    licence=licence or getattr(module, 'LICENCE', None),
  )
  if directory.exists() and not overwrite:
    _check_finished(made)
    _check_format(made, file_format)
    _check_record(made, record)
    if not (directory / manifest.NAME).exists():
      # A build was stopped after TFDS had done its part.
      finish(directory)
    return directory
  if manual_dir is not None and not pathlib.Path(manual_dir).is_dir():
    raise ValueError(f'{manual_dir}: no such folder. Correct --manual_dir.')
  _mention_leftovers(directory)
  with _set_aside(directory) as replaced:
    # A builder that found old data describes those.
    _prepare(make() if replaced else made, record, manual_dir, file_format)
    finish(directory)
  return directory


def _finish(
  directory: pathlib.Path, *, about: pathlib.Path, licence: str | None
) -> None:
  """Writes the data card and, last of all, the sums."""
  card.write(
    pipeline.open_dataset(directory),
    about=about.read_text(),
    licence=licence,
    command=_command(),
  )
  manifest.write(directory)


def _command() -> list[str]:
  program = pathlib.Path(sys.argv[0])
  if program == pathlib.Path(__file__):
    return ['python', '-m', 'tfds_builders.build', *sys.argv[1:]]
  return ['python', program.name, *sys.argv[1:]]


def _prepare(
  made: tfds.core.DatasetBuilder,
  record: dict[str, Any],
  manual_dir: str | pathlib.Path | None,
  file_format: str | None,
) -> None:
  made.info.metadata.update(options=record, options_sha256=_digest(record))
  if examples.SCALE_FIELD in made.info.features:
    made.info.metadata['image_unit'] = examples.SCALED_UNIT
  tfds.disable_progress_bar()
  # Standard output is for the directory alone.
  with contextlib.redirect_stdout(sys.stderr), spill.plain_files():
    # TFDS writes into a folder of another name, and renames it at the end.
    made.download_and_prepare(
      file_format=file_format or FORMATS[0],
      download_config=tfds.download.DownloadConfig(
        manual_dir=None if manual_dir is None else str(manual_dir),
        try_download_gcs=False,
      ),
    )


@contextlib.contextmanager
def _set_aside(directory: pathlib.Path) -> Iterator[bool]:
  """Moves old data away, for good only if what follows succeeds."""
  if not directory.exists():
    yield False
    return
  aside = directory.with_name(f'replaced.{directory.name}')
  if aside.exists():
    shutil.rmtree(aside)
  directory.rename(aside)
  try:
    yield True
  except BaseException:
    if directory.exists():
      shutil.rmtree(directory)
    aside.rename(directory)
    raise
  shutil.rmtree(aside)


def _module(builder: str) -> types.ModuleType:
  if builder not in available():
    raise ValueError(
      f'No builder named {builder!r}; there are: {", ".join(available())}.'
    )
  return importlib.import_module(
    f'tfds_builders.{builder}.{builder}_dataset_builder'
  )


def _make(
  module: types.ModuleType,
  builder: str,
  config: str | None,
  data_dir: str | pathlib.Path | None,
  options: dict[str, Any],
) -> tfds.core.DatasetBuilder:
  configs = sorted(module.Builder.builder_configs)
  if config is not None and config not in configs:
    raise ValueError(
      f'Builder {builder!r} has no config {config!r}; there are: '
      f'{", ".join(configs) or "none"}.'
    )
  fields = [f.name for f in _fields(module)]
  if unknown := sorted(set(options) - set(fields)):
    raise ValueError(
      f'Builder {builder!r} has no option {unknown[0]!r}; there are: '
      f'{", ".join(fields) or "none"}.'
    )
  settings = {'options': module.Options(**options)} if fields else {}
  return module.Builder(
    config=config, data_dir=places.root(data_dir), **settings
  )


def _fields(module: types.ModuleType) -> tuple[dataclasses.Field, ...]:
  if not hasattr(module, 'Options'):
    return ()
  return dataclasses.fields(module.Options)


def _record(
  module: types.ModuleType, options: dict[str, Any]
) -> dict[str, Any]:
  if not hasattr(module, 'Options'):
    return {}
  return module.Options(**options).record()


def _digest(record: dict[str, Any]) -> str:
  return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _check_finished(made: tfds.core.DatasetBuilder) -> None:
  """Refuses what only looks like a data set, such as half a copy of one."""
  shards = [
    pathlib.Path(path)
    for split in made.info.splits.values()
    for path in split.filepaths
  ]
  missing = [path for path in shards if not path.is_file()]
  if not made.is_prepared() or not shards or missing:
    what = missing[0].name if missing else 'dataset_info.json'
    raise ValueError(
      f'{made.data_dir}: not a finished data set ({what} is missing). Remove '
      'it, or give --overwrite.'
    )


def _check_format(
  made: tfds.core.DatasetBuilder, file_format: str | None
) -> None:
  stored = made.info.file_format.value
  if file_format not in (None, stored):
    raise ValueError(
      f'{made.data_dir}: is stored as {stored}, asked for is {file_format}. '
      'Leave out --format, give --overwrite, or use another name or --data_dir.'
    )


def _check_writable(file_format: str | None) -> None:
  if file_format not in (None, *FORMATS):
    raise ValueError(
      f'No format {file_format!r}; there are: {", ".join(FORMATS)}.'
    )
  if file_format == 'tfrecord' and not importlib.util.find_spec('tensorflow'):
    raise ValueError(
      '--format tfrecord is written by TensorFlow, which is not here: '
      "pip install 'radio_ssl[tf]', or leave the flag out."
    )


def _check_record(
  made: tfds.core.DatasetBuilder, record: dict[str, Any]
) -> None:
  there = (made.info.metadata or {}).get('options', {})
  for key in sorted({*there, *record}):
    stored, asked = there.get(key), record.get(key)
    if asked == MISSING and stored is not None:
      # The data outlive their inputs.
      print(
        f'{made.data_dir}: {key} of the command line is not there; these data '
        'are of an earlier build that had it.',
        file=sys.stderr,
      )
    elif asked == MISSING:
      raise ValueError(
        f'{made.data_dir}: was built without {key}, and what --{key} names is '
        'not there. Correct it.'
      )
    elif stored != asked:
      raise ValueError(
        f'{made.data_dir}: was built with {key}={stored!r}, asked for is '
        f'{key}={asked!r}. Ask for the former, give --overwrite, or use '
        'another name or --data_dir.'
      )


def _mention_leftovers(directory: pathlib.Path) -> None:
  replaced = directory.with_name(f'replaced.{directory.name}')
  if replaced.exists():
    print(
      f'{replaced}: older data that a stopped build was to replace; remove it, '
      f'or rename it to {directory.name} to have it back.',
      file=sys.stderr,
    )
  for path in sorted(directory.parent.glob(f'*incomplete*{directory.name}*')):
    print(
      f'{path}: left by a build that was stopped, or that runs now; remove it '
      'if none does.',
      file=sys.stderr,
    )


def parser(builder: str | None = None) -> argparse.ArgumentParser:
  """The flags: those of every builder, and those of one."""
  made = arguments.Parser(
    prog='python -m tfds_builders.build',
    description='Prepares a data set as sharded records.',
    epilog=None if builder else 'NAME --help lists the options of a builder.',
  )
  made.add_argument(
    'builder', metavar='NAME', help=f'one of: {", ".join(available())}'
  )
  made.add_argument(
    '--config', help='which of its data sets; the first by default'
  )
  made.add_argument(
    '--data_dir',
    help='root of all data sets (default: $TFDS_DATA_DIR, else '
    '~/tensorflow_datasets)',
  )
  made.add_argument(
    '--manual_dir', help='holds files that were fetched by hand'
  )
  made.add_argument(
    '--overwrite', action='store_true', help='builds again what is there'
  )
  made.add_argument(
    '--licence', help='of the images, for the data card: "CC BY 4.0"'
  )
  made.add_argument(
    '--format',
    dest='file_format',
    choices=FORMATS,
    help='of the shards: tfrecord is for tf.data, and takes the extra "tf" '
    '(default: what is there, else array_record)',
  )
  made.add_argument(
    '--traceback', action='store_true', help='shows where an error comes from'
  )
  if builder is not None:
    module = _module(builder)
    configs = list(module.Builder.builder_configs)
    group = made.add_argument_group(
      f'options of {builder} (configs: {", ".join(configs) or "none"})'
    )
    for field in _fields(module):
      _add_flag(group, field)
  return made


def _add_flag(group: Any, field: dataclasses.Field) -> None:
  how: dict[str, Any] = {'help': field.metadata['help']}
  if field.type is bool:
    how['action'] = 'store_true'
  else:
    how['type'] = field.metadata['parse']
    how['metavar'] = field.metadata.get('metavar', field.name.upper())
    if field.default is not None:
      how['help'] += f' (default: {field.default})'
  group.add_argument(f'--{field.name}', default=field.default, **how)


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  argv = list(sys.argv[1:] if argv is None else argv)
  show = '--traceback' in argv
  try:
    # Its own flags depend on the builder, wherever on the line it is named.
    first = argv[0] if argv and not argv[0].startswith('-') else None
    name = next((a for a in argv if a in available()), first)
    settings = vars(parser(name).parse_args(argv))
    del settings['traceback']
    print(build(settings.pop('builder'), **settings))
  except KeyboardInterrupt:
    print('stopped; the same command begins again', file=sys.stderr)
    return 130
  except _BAD_INPUT as error:
    if show:
      raise
    print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
    return getattr(error, 'exit_status', 1)
  return 0


if __name__ == '__main__':
  sys.exit(main())
