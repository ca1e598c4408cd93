"""Frozen encoders, and the features that they give a labelled set."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from radio_ssl import checkpoints, exports
from radio_ssl.augment import inputs
from radio_ssl.data import examples, noise, pipeline
from radio_ssl.models import base as models
from radio_ssl.objectives import base as objectives
from radio_ssl.train import trees

# Images at once.
_BATCH_SIZE = 64
# Columns of the records that are kept beside the features.
_COLUMNS = ('ra_deg', 'dec_deg', 'source_size_arcsec', 'flux_jy')


def _peak_snr(record: Mapping[str, Any]) -> float:
  """Of the middle, where the source is; NaN of a picture."""
  image = record['image'][..., 0]
  if image.dtype == np.uint8:
    return np.nan
  height, width = image.shape
  middle = image[
    height // 4 : height - height // 4, width // 4 : width - width // 4
  ]
  if not np.isfinite(middle).any() or not record['rms_jy_beam'] > 0:
    return np.nan
  above = np.nanmax(middle) - record['background_jy_beam']
  return above / record['rms_jy_beam']


def _size_beams(record: Mapping[str, Any]) -> float:
  return record['source_size_arcsec'] / record['beam_major_arcsec']


# What is worked out from a record.
_DERIVED = {'peak_snr': _peak_snr, 'size_beams': _size_beams}


@dataclasses.dataclass(frozen=True)
class FrozenEncoder:
  """An encoder that is measured, not trained.

  Attributes:
    encoder: the Linen module.
    variables: {'params': ..., 'batch_stats': ...}.
    inputs: how images are scaled before it; where there are several, they
      differ in the field, and the features of all are set side by side.
    meta: of the checkpoint it comes from; {} for an untrained one.
    footprints: of the images it was trained on, as `exports.write` takes them,
      where they come with it; None where the data set is to be asked.
  """

  encoder: nn.Module
  variables: Mapping[str, Any]
  inputs: tuple[inputs.Input, ...]
  meta: Mapping[str, Any]
  footprints: Mapping[str, np.ndarray] | None = None

  @property
  def input(self) -> inputs.Input:
    """The first; size and channels are those of all."""
    return self.inputs[0]

  def __call__(self, images: jax.Array) -> jax.Array:
    """Features [B, D] of images [B, H, W, C] in [0, 1], of `inputs.prepare`.

    Raises:
      ValueError: images of another size or number of channels.
    """
    size = self.input.size_pix
    wanted = (size, size, self.input.channels)
    if images.ndim != 4 or images.shape[1:] != wanted:
      raise ValueError(
        f'images are {images.shape}; wanted (B, {size}, {size}, {wanted[2]}), '
        'scaled to 0 ... 1 by radio_ssl.augment.inputs.prepare. Of images in '
        'Jy/beam, .features(images, pixel_scale_arcsec=...) takes all sizes.'
      )
    return self.encoder.apply(self.variables, images, train=False).pooled

  def features(
    self,
    images_jy_beam: np.ndarray,
    *,
    pixel_scale_arcsec: float | None,
    rotations: int = 1,
  ) -> np.ndarray:
    """Features of images as they come out of FITS files.

    Background and noise are measured on the images themselves; data sets have
    them from a square twice as wide, which tells a little more.

    Args:
      images_jy_beam: [N, H, W] of floats, rows from the south, NaN or masked
        where not measured; in any linear unit. The encoder sees the field in
        their centre.
      pixel_scale_arcsec: of all; None for an encoder of whole images.
      rotations: as in `extract`.

    Returns:
      [N, D] float32; of several fields side by side.

    Raises:
      ValueError: images of another shape or kind, or smaller than the field.
    """
    images = np.ma.filled(images_jy_beam, np.nan)
    if images.ndim != 3 or not len(images) or images.dtype.kind != 'f':
      raise ValueError(
        f'images_jy_beam is {images.dtype} {images.shape}; wanted floats '
        '(N, H, W): images of one size in a linear unit. Pictures are for '
        'tfds_builders.build image_folder.'
      )
    if pixel_scale_arcsec is None and self.input.field_arcsec is not None:
      raise ValueError(
        f'pixel_scale_arcsec is None; this encoder sees '
        f'{self.input.field_arcsec:g} arcsec: tell the side of a pixel.'
      )
    images = images.astype(np.float32)
    background, rms = np.float32(
      [noise.background_and_rms(image) for image in images]
    ).T
    height, width = images.shape[1:]
    encode = functools.partial(
      _encode,
      jax.device_put(self.variables, jax.local_devices()[0]),
      encoder=self.encoder,
      image_inputs=self.inputs,
      geometry=examples.Geometry(
        height, width, 'float32', pixel_scale_arcsec, None
      ),
      rotations=rotations,
    )
    found = []
    for first in range(0, len(images), _BATCH_SIZE):
      # The last batch is filled up, so that one compilation serves.
      rows = np.arange(first, first + _BATCH_SIZE) % len(images)
      batch = {'background': background[rows], 'rms': rms[rows]}
      found.append(encode({'image': images[rows, ..., None], **batch}))
    return np.concatenate(found)[: len(images)]


@dataclasses.dataclass(frozen=True)
class Table:
  """One split of a labelled set, a row a source.

  Attributes:
    features: [N, D] float64.
    labels: [N] int32.
    names: of the sources.
    columns: [N] each, NaN where unknown: catalogue numbers of the records;
      'peak_snr', the brightest pixel of the field's middle half over the noise;
      'size_beams', the source's size over the beam's major axis.
  """

  features: np.ndarray
  labels: np.ndarray
  names: list[str]
  columns: Mapping[str, np.ndarray]


def from_checkpoint(
  path: str | pathlib.Path,
  which: str | None = None,
  *,
  fields_arcsec: Sequence[float] = (),
) -> FrozenEncoder:
  """Rebuilds an encoder from what is stored with its checkpoint.

  Args:
    path: as for `checkpoints.read`, or a folder of `exports.write`.
    which: 'online' | 'ema'; None takes the online one. An export has one alone.
    fields_arcsec: that it is shown in place of its own; () takes its own.

  Raises:
    ValueError: no or a damaged checkpoint, or no such encoder in it.
  """
  if exports.is_one(path):
    variables, meta, sky = exports.read(path)
    if which not in (None, held := meta['exported']['which']):
      raise ValueError(
        f'{path}: the export of an {held!r} encoder; config.which is {which!r}.'
      )
  else:
    (tree, meta), sky = checkpoints.read(path), None
    # A checkpoint has no empty branches.
    variables = objectives.encoder_variables(
      tree['params'], tree.get('model_state', {}), which
    )
  try:
    encoder = models.make_encoder(meta['config']['encoder'])
    image_inputs = shown(meta['config'], fields_arcsec)
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'{path}: the stored config is of another version of radio_ssl '
      f'({meta.get("package_version")}): {error}.'
    ) from error
  if found := trees.difference(shapes(encoder, image_inputs[0]), variables):
    raise ValueError(
      f'{path}: its arrays are not those of the encoder that its own meta.json '
      f'names: {found}. The two come from different runs: restore both from a '
      'copy.'
    )
  return FrozenEncoder(encoder, variables, image_inputs, meta, sky)


def shown(
  config: Mapping[str, Any], fields_arcsec: Sequence[float]
) -> tuple[inputs.Input, ...]:
  """A config's input, once for each of the fields; () leaves it its own."""
  image_input = inputs.parse(config['input'])
  return tuple(
    dataclasses.replace(image_input, field_arcsec=field)
    for field in fields_arcsec or (image_input.field_arcsec,)
  )


def blank(image_input: inputs.Input) -> jax.Array:
  """One black image as an encoder sees it, [1, H, W, C]."""
  size = image_input.size_pix
  return jnp.zeros((1, size, size, image_input.channels))


def shapes(encoder: nn.Module, image_input: inputs.Input):
  """The encoder's variables without their values."""
  init = functools.partial(encoder.init, train=False)
  return jax.eval_shape(init, jax.random.key(0), blank(image_input))


def untrained(
  encoder_config: Mapping[str, Any],
  image_inputs: tuple[inputs.Input, ...],
  *,
  seed: int,
) -> FrozenEncoder:
  """An encoder as it is before the first step."""
  encoder = models.make_encoder(encoder_config)
  variables = jax.jit(functools.partial(encoder.init, train=False))(
    jax.random.key(seed), blank(image_inputs[0])
  )
  return FrozenEncoder(encoder, variables, image_inputs, {})


def extract(
  frozen: FrozenEncoder,
  dataset: pipeline.DataSet,
  split: str,
  *,
  batch_size: int = _BATCH_SIZE,
  rotations: int = 1,
  labelled: bool = True,
) -> Table:
  """Features of every image of a split, in the order of the records.

  Those of each field of the encoder's inputs follow those of the one before.

  Args:
    frozen: the encoder.
    dataset: its images.
    split: of it.
    batch_size: images at once; does not change the result.
    rotations: 1; or 4, the mean over the four quarter turns; or 8, over their
      mirror images as well.
    labelled: whether a set without labels is refused; their labels are -1.

  Raises:
    ValueError: a set without labels, or features that are not finite.
  """
  encode = functools.partial(
    _encode,
    # Sent once, not with every batch.
    jax.device_put(frozen.variables, jax.local_devices()[0]),
    encoder=frozen.encoder,
    image_inputs=frozen.inputs,
    geometry=dataset.geometry,
    rotations=rotations,
  )
  return tabulate(dataset, split, encode, batch_size, labelled=labelled)


# At module level, so that the online monitor compiles it once.
@functools.partial(
  jax.jit, static_argnames=('encoder', 'image_inputs', 'geometry', 'rotations')
)
def _encode(variables, batch, *, encoder, image_inputs, geometry, rotations):
  found = []
  for image_input in image_inputs:
    images = inputs.prepare(batch, image_input, geometry)
    pooled = []
    for k in range(rotations):
      turned = jnp.rot90(images, k, axes=(1, 2))
      if k >= 4:
        turned = jnp.flip(turned, axis=2)
      pooled.append(encoder.apply(variables, turned, train=False).pooled)
    found.append(sum(pooled) / rotations)
  return jnp.concatenate(found, axis=1)


def nothing(batch: Mapping[str, np.ndarray]) -> np.ndarray:
  """No features, [B, 0], for tables whose other columns are wanted."""
  return np.zeros((len(batch['index']), 0))


def tabulate(
  dataset,
  split: str,
  encode,
  batch_size: int = _BATCH_SIZE,
  *,
  labelled: bool = True,
) -> Table:
  """Applies `encode` (batch -> [B, D]) to a split; see `extract`."""
  if labelled and dataset.label_names is None:
    raise ValueError(
      f'{dataset.directory}: the data set has no labels; name a labelled one.'
    )
  source = dataset.source(split)
  if not len(source):
    raise ValueError(f'{dataset.directory}: split {split!r} has no images.')
  features, labels, names = [], [], []
  columns = {name: [] for name in (*_COLUMNS, *_DERIVED)}
  for batch, records in _batches(source, batch_size):
    features.append(np.asarray(encode(batch))[: len(records)])
    for record in records:
      labels.append(record.get('label', -1))
      names.append(record['name'].decode())
      for name in _COLUMNS:
        columns[name].append(record[name])
      for name, value in _DERIVED.items():
        columns[name].append(value(record))
  table = Table(
    features=np.concatenate(features).astype(np.float64),
    labels=np.asarray(labels, np.int32),
    names=names,
    columns={k: np.asarray(v, np.float64) for k, v in columns.items()},
  )
  bad = ~np.isfinite(table.features).all(axis=1)
  if bad.any():
    first = names[int(np.argmax(bad))]
    raise ValueError(
      f'{dataset.directory}: the features of {bad.sum()} images are not '
      f'finite, such as {first}: the encoder has diverged, or the image is bad.'
    )
  return table


def _batches(
  source, batch_size: int
) -> Iterator[tuple[dict[str, np.ndarray], list[Mapping[str, Any]]]]:
  """Batches of one size, so that one compilation serves; the last is padded."""
  for first in range(0, len(source), batch_size):
    last = min(first + batch_size, len(source))
    records = [source[i] for i in range(first, last)]
    rows = [pipeline.to_example(first + i, r) for i, r in enumerate(records)]
    rows += [rows[-1]] * (batch_size - len(rows))
    yield (
      {k: np.stack([row[k] for row in rows]) for k in rows[0]},
      records,
    )
