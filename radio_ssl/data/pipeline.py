"""Prepared data sets, and the batch of any step.

The batch of step n is a pure function of n: resuming needs the step alone, and
works on another number of devices or processes.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds
from absl import flags

from radio_ssl.data import examples, tfrecord

# Cards, reports and sums stand beside these, and tell nothing more.
_INFO = 'dataset_info.json'
_DESCRIPTION = ('features.json', 'metadata.json')
# Of the info what the data are; its prose is the builder's, of any year.
_FACTS = ('name', 'configName', 'version', 'fileFormat', 'splits')
# Examples of each split that the fingerprint is taken of.
_LOOKED_AT = 16
_SHARDS = ('.array_record-', '.tfrecord-')


@dataclasses.dataclass(frozen=True)
class DataSet:
  """A data set on disk, opened without the code that built it.

  Attributes:
    directory: `<data_dir>/<name>/<config>/<version>`.
    geometry: what all its images share.
    label_names: class names in the order of the labels; None without labels.
    num_examples: of each split, as stored.
    stored_labels: the labels on disk that become 0, 1, ...; the others are
      left out. None keeps all as they are. See `of_classes`.
  """

  directory: pathlib.Path
  geometry: examples.Geometry
  label_names: tuple[str, ...] | None
  num_examples: Mapping[str, int]
  stored_labels: tuple[int, ...] | None = None

  @functools.cached_property
  def _builder(self):
    return tfds.builder_from_directory(self.directory)

  @property
  def title(self) -> str:
    """Its name and its config, if it has one: 'mirabest/fits'."""
    info = self._builder.info
    return '/'.join(filter(None, (info.name, info.config_name)))

  @property
  def file_format(self) -> str:
    """'array_record' or 'tfrecord'."""
    return self._builder.info.file_format.value

  @property
  def stored_dtype(self) -> str:
    """Of the images on disk; 'float16' where `source` gives float32."""
    return _dtype(self._builder.info)

  def source(self, split: str):
    """Random access to the examples of a split or slice of one.

    Images are float32 in Jy/beam, also where float16 is stored, or uint8.

    Raises:
      ValueError: no such split, or an empty slice.
    """
    name = split.split('[')[0]
    if name not in self.num_examples:
      raise ValueError(
        f'{self.directory}: no split {name!r}; '
        f'there are: {", ".join(self.num_examples)}.'
      )
    source = self._stored(split)
    if self.stored_dtype == 'float16':
      source = _Restored(source)
    if self.stored_labels is None:
      return source
    return _OfLabels(source, self.stored_labels)

  def _stored(self, split: str):
    """The examples as they are stored."""
    try:
      if self.file_format == 'array_record':
        return self._builder.as_data_source(split)
      info = self._builder.info
      pieces = info.splits[split].file_instructions
      if not pieces:
        raise ValueError('no examples')
      return tfrecord.Source(pieces, info.features.deserialize_example_np)
    except ValueError as error:
      # Such as an empty slice, or one that cannot be read.
      raise ValueError(
        f'{self.directory}: split {split!r} is empty or damaged: {error}'
      ) from error

  def of_classes(self, names: Sequence[str]) -> 'DataSet':
    """The examples of some classes alone, labelled in the order of `names`.

    Raises:
      ValueError: no such class, or one that is named twice.
    """
    known = self.label_names or ()
    if unknown := [name for name in names if name not in known]:
      raise ValueError(
        f'{self.directory}: no class {unknown[0]!r}; '
        f'there are: {", ".join(known)}.'
      )
    if len(set(names)) < len(names):
      raise ValueError(f'{self.directory}: a class comes twice in {names}.')
    return dataclasses.replace(
      self,
      label_names=tuple(names),
      stored_labels=tuple(known.index(name) for name in names),
    )

  @functools.cached_property
  def fingerprint(self) -> str:
    """SHA-256 over what describes the data, and some examples of each split.

    The same images built again, by the same options, give the same; their files
    differ, for the fields of a record have no fixed order. A change of few
    images can stay unseen where the builder keeps no sums of its input;
    `tfds_builders.check` compares all.
    """
    digest = hashlib.sha256()
    info = json.loads((self.directory / _INFO).read_bytes())
    facts = {name: info.get(name) for name in _FACTS}
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for name in _DESCRIPTION:
      if (path := self.directory / name).exists():
        digest.update(path.read_bytes())
    for split in sorted(name for name, n in self.num_examples.items() if n):
      source = self._stored(split)
      # From the first to the last.
      places = np.linspace(0, len(source) - 1, min(len(source), _LOOKED_AT))
      for place in places.astype(int).tolist():
        for name, value in sorted(source[place].items()):
          value = np.asarray(value)
          digest.update(f'{name} {value.dtype} {value.shape}'.encode())
          # What has no plain type is told as text: its bytes are addresses.
          plain = not value.dtype.hasobject
          digest.update(
            value.tobytes() if plain else repr(value.tolist()).encode()
          )
    return digest.hexdigest()


def open_dataset(directory: str | pathlib.Path) -> DataSet:
  """Opens a finished data set.

  Args:
    directory: holds `dataset_info.json`.

  Raises:
    ValueError: nothing there, not finished, or not images of this project.
  """
  directory = pathlib.Path(directory).expanduser()
  if not (directory / 'dataset_info.json').is_file():
    raise ValueError(
      f'{directory}: no finished data set (dataset_info.json is missing). '
      'Build it: python -m tfds_builders.build NAME --data_dir DIR.'
    )
  builder = tfds.builder_from_directory(directory)
  _check_format(directory, builder.info)
  features = builder.info.features
  image = features['image'] if 'image' in features else None
  if image is None or len(image.shape) != 3 or None in image.shape:
    raise ValueError(
      f'{directory}: feature "image" is {image}; wanted one of fixed shape '
      '[H, W, 1].'
    )
  height, width, channels = image.shape
  if channels != 1:
    raise ValueError(
      f'{directory}: images have {channels} channels; wanted 1 (total '
      'intensity).'
    )
  dtype = _dtype(builder.info)
  if dtype == 'float16':
    if examples.SCALE_FIELD not in features:
      raise ValueError(
        f'{directory}: float16 images of an unknown unit: feature '
        f'{examples.SCALE_FIELD!r} is missing. Build it again.'
      )
    dtype = 'float32'
  metadata = builder.info.metadata or {}
  label = features['label'] if 'label' in features else None
  return DataSet(
    directory=directory,
    geometry=examples.Geometry(
      height=height,
      width=width,
      dtype=dtype,
      pixel_scale_arcsec=metadata.get('pixel_scale_arcsec'),
      beam_major_arcsec=metadata.get('beam_major_arcsec'),
      beam_minor_arcsec=metadata.get('beam_minor_arcsec'),
    ),
    label_names=None if label is None else tuple(label.names),
    num_examples={
      name: split.num_examples for name, split in builder.info.splits.items()
    },
  )


def _check_format(directory: pathlib.Path, info) -> None:
  wanted = [mark.strip('.-') for mark in _SHARDS]
  if info.file_format.value not in wanted:
    raise ValueError(
      f'{directory}: stored as {info.file_format.value}; wanted '
      f'{" or ".join(wanted)}. Convert it: tfds convert_format '
      f'--dataset_version_dir={directory} --out_file_format=array_record '
      '--out_dir=DIR.'
    )


def _dtype(info) -> str:
  return np.dtype(info.features['image'].np_dtype).name


def to_example(index: int, record: Mapping) -> dict[str, np.ndarray]:
  """What the device needs of one record.

  Args:
    index: number of the record in its split.
    record: features as in `radio_ssl.data.examples.features`.

  Returns:
    image [H, W, 1] as `DataSet.source` has it; background and rms, float32 in
    the image's unit (0 and 1 for 8-bit pictures, which carry none); index;
    label where there is one.
  """
  image = record['image']
  counts = image.dtype == np.uint8
  example = {
    'image': image,
    'background': np.float32(0 if counts else record['background_jy_beam']),
    'rms': np.float32(1 if counts else record['rms_jy_beam']),
    'index': np.int32(index),
  }
  if 'label' in record:
    example['label'] = np.int32(record['label'])
  return example


class _Restored:
  """The records of a source with float32 Jy/beam for float16."""

  def __init__(self, source):
    self._source = source

  def __len__(self):
    return len(self._source)

  def __getitem__(self, index):
    return examples.restored(self._source[index])

  def __iter__(self):
    # Without it Python would wait for an IndexError; TFDS raises another.
    return map(examples.restored, self._source)


class _OfLabels:
  """The records of a source that have one of `labels`, labelled 0, 1, ..."""

  def __init__(self, source, labels: Sequence[int]):
    self._source = source
    new = {stored: label for label, stored in enumerate(labels)}
    stored = [int(source[i]['label']) for i in range(len(source))]
    self._rows = [(i, new[s]) for i, s in enumerate(stored) if s in new]

  def __len__(self):
    return len(self._rows)

  def __getitem__(self, index):
    row, label = self._rows[index]
    return {**self._source[row], 'label': label}


class _Numbered:
  """A random-access source whose elements know their own number."""

  def __init__(self, source):
    self._source = source

  def __len__(self):
    return len(self._source)

  def __getitem__(self, index):
    return to_example(int(index), self._source[int(index)])


def train_batches(
  dataset: DataSet,
  split: str,
  *,
  batch_size: int,
  seed: int,
  first_step: int = 0,
  process_index: int = 0,
  process_count: int = 1,
  num_threads: int = 4,
  num_workers: int = 0,
  prefetch: int = 4,
) -> Iterator[dict[str, np.ndarray]]:
  """Shuffled batches without end; every epoch in its own order.

  Args:
    dataset: to read.
    split: of it.
    batch_size: images over all processes.
    seed: of the order.
    first_step: the step that the first batch is for.
    process_index: p of P: gets rows [p N / P, (p + 1) N / P) of each batch.
    process_count: P.
    num_threads: that read and decode.
    num_workers: processes that do so, each with `num_threads`; with 0 it is
      this one. The batches are the same.
    prefetch: batches ready beforehand; of each worker up to twice as many.

  Returns:
    An iterator over {'image' [B', H, W, 1], 'background' [B'], 'rms' [B'],
    'index' [B'], 'row' [B'] (in the global batch), 'label' [B'] if any}.

  Raises:
    ValueError: fewer examples than a batch, rows that do not divide, or a
      negative number of workers.
  """
  source = _Numbered(dataset.source(split))
  if len(source) < batch_size:
    raise ValueError(
      f'{dataset.directory}: split {split!r} has {len(source)} examples, '
      f'fewer than config.batch_size = {batch_size}; lower it.'
    )
  _check_numbers(batch_size, process_count, num_workers)
  local_size = batch_size // process_count
  import grain  # It loads jax, which builders do without.

  order = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
  batches = order.batch(local_size, drop_remainder=True)
  # Element n of every P-th batch, from the p-th on: exactly row block p of the
  # global batch of step n.
  mine = batches[first_step * process_count + process_index :: process_count]
  options = grain.ReadOptions(
    num_threads=num_threads, prefetch_buffer_size=prefetch
  )
  read = mine.to_iter_dataset(options)
  if num_workers:
    read = _by_workers(read, num_workers, prefetch)
  first_row = process_index * local_size
  row = np.arange(first_row, first_row + local_size, dtype=np.int32)
  return _with_rows(iter(read), row)


def _check_numbers(
  batch_size: int, process_count: int, num_workers: int
) -> None:
  if batch_size % process_count:
    raise ValueError(
      f'config.batch_size = {batch_size} does not divide over {process_count} '
      'processes; take a multiple of that.'
    )
  if num_workers < 0:
    raise ValueError(f'config.data.num_workers is {num_workers}; wanted >= 0.')


def _by_workers(read, num_workers: int, prefetch: int):
  """The same elements in the same order, made by other processes."""
  import grain

  if not flags.FLAGS.is_parsed():
    # Grain hands them to its workers; a library has none.
    flags.FLAGS.mark_as_parsed()
  return read.mp_prefetch(
    grain.MultiprocessingOptions(
      num_workers=num_workers, per_worker_buffer_size=prefetch
    )
  )


def _with_rows(batches, row: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
  """Ends what reads ahead when it is closed."""
  try:
    for batch in batches:
      yield batch | {'row': row}
  finally:
    batches.close()
