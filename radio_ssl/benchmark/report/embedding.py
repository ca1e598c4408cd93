"""What an encoder makes of a labelled set: a map, and who is like whom."""

import base64
import dataclasses
import io
import logging
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import PIL.Image
import sklearn.decomposition
import sklearn.manifold
import sklearn.preprocessing

from radio_ssl.augment import inputs
from radio_ssl.benchmark.report import data, pooled
from radio_ssl.data import pipeline
from radio_ssl.evaluate import features, knn, protocols, selection

_LOG = logging.getLogger(__name__)

MAP_PIX = 48
GALLERY_PIX = 64
_QUERIES = 8
_NEIGHBOURS = 6
_PERPLEXITY = 30


@dataclasses.dataclass(frozen=True)
class Sources:
  """Labelled images as an encoder sees them.

  Attributes:
    row: of the encoder.
    seed: of the run that was taken.
    num_all: images that there are; those below were drawn from them.
    names: [N], of the images.
    labels: [N] int.
    splits: [N], of each.
    features: [N, D].
    pictures: [N, 64, 64] uint8, north up.
  """

  row: data.Row
  seed: int
  num_all: int
  names: list[str]
  labels: np.ndarray
  splits: list[str]
  features: np.ndarray
  pictures: np.ndarray


@dataclasses.dataclass(frozen=True)
class Query:
  """An image and those most like it.

  Attributes:
    image: number of its row in `Sources`.
    neighbours: numbers of theirs, the most alike first.
    similarities: `knn.similarity`, likewise.
  """

  image: int
  neighbours: list[int]
  similarities: list[float]


def best(rows: Sequence[data.Row]) -> dict[str, data.Row]:
  """Of each label set the row of the best cross-validated frozen encoder.

  Rows without a run have no encoder to show, nor have those that a protocol
  fine-tuned.
  """
  found: dict[str, tuple[float, data.Row]] = {}
  for row in rows:
    frozen = not protocols.on_images(row.stored[0]['protocol'])
    if row.results[0].run is None or not frozen:
      continue
    mean = pooled.over([_accuracy(it) for it in row.stored]).mean
    label_set, _ = row.group
    if label_set not in found or mean > found[label_set][0]:
      found[label_set] = mean, row
  return {label_set: row for label_set, (_, row) in found.items()}


def _accuracy(stored: dict[str, Any]) -> float:
  return stored['cross_validation']['scores']['accuracy']


def sources(row: data.Row, *, most: int, seed: int = 0) -> Sources:
  """Features and pictures of the sources that a row was taught and scored on.

  Of the seed with the best cross-validated accuracy.

  Args:
    row: with runs.
    most: images, drawn by chance where there are more.
    seed: of the draw.

  Raises:
    ValueError: run or labelled set are not here, or have changed.
  """
  result, stored = max(
    zip(row.results, row.stored, strict=True), key=lambda it: _accuracy(it[1])
  )
  config = stored['config']
  frozen = features.from_checkpoint(
    result.run,
    config['which'] or None,
    fields_arcsec=config['fields_arcsec'],
  )
  chosen = _selection(stored)
  rows = [(s, i) for s, its in chosen.rows.items() for i in range(len(its))]
  drawn = np.random.default_rng(seed).permutation(len(rows))[:most]
  names, labels, splits, found, pictures = [], [], [], [], []
  for split in chosen.rows:
    its = [rows[k][1] for k in sorted(drawn) if rows[k][0] == split]
    if not its:
      continue
    _LOG.info('Features of %d images of %s.', len(its), chosen.directory)
    part = chosen.part(split, its)
    table = features.extract(
      frozen,
      part,
      split,
      batch_size=config['batch_size'],
      rotations=config['rotations'],
    )
    names += table.names
    labels += table.labels.tolist()
    splits += [split] * len(its)
    found.append(table.features)
    pictures.append(_pictures(frozen, part, split))
  return Sources(
    row=row,
    seed=result.seed,
    num_all=len(rows),
    names=names,
    labels=np.array(labels),
    splits=splits,
    features=np.concatenate(found),
    pictures=np.concatenate(pictures),
  )


def _selection(stored: dict[str, Any]) -> selection.Selection:
  """The rows of the labelled set that an evaluation used."""
  dataset = pipeline.open_dataset(stored['dataset']['directory'])
  if dataset.fingerprint != stored['dataset']['fingerprint']:
    raise ValueError(
      f'{dataset.directory}: the set has been built anew since the evaluation; '
      'evaluate again.'
    )
  fields = stored['config']['data']
  if fields['classes']:
    dataset = dataset.of_classes(fields['classes'].split(','))
  return selection.choose(
    dataset,
    fields['train'],
    fields['test'],
    held_out=fields.get('holdout', ''),
    use=fields.get('holdout_use', 'leave_out'),
  )


def _pictures(frozen, dataset, split: str) -> np.ndarray:
  """What the encoder is shown, [N, 64, 64] uint8, north up."""

  @jax.jit
  def shown(batch):
    images = inputs.prepare(batch, frozen.input, dataset.geometry)
    grey = images.mean(axis=-1)
    size = (len(grey), GALLERY_PIX, GALLERY_PIX)
    return jax.image.resize(grey, size, 'linear').reshape(len(grey), -1)

  # They travel as features do.
  table = features.tabulate(dataset, split, shown)
  images = table.features.reshape(-1, GALLERY_PIX, GALLERY_PIX)
  return np.asarray(255 * images.clip(0, 1), np.uint8)[:, ::-1]


def positions(its: Sources, *, seed: int = 0) -> tuple[np.ndarray, str]:
  """Places [N, 2] on a map of the features, and how it was made.

  t-SNE (van der Maaten & Hinton 2008) of the standardised features' first 50
  principal components; of few sources, two components alone.
  """
  scaled = sklearn.preprocessing.StandardScaler().fit_transform(its.features)
  num = min(50, *scaled.shape)
  # On a full matrix the solver has no chance in it.
  axes = sklearn.decomposition.PCA(num, svd_solver='full').fit_transform(scaled)
  if len(axes) <= 3 * _PERPLEXITY or num < 2:
    axes = np.pad(axes, ((0, 0), (0, max(0, 2 - num))))
    return axes[:, :2], 'two principal components'
  placed = sklearn.manifold.TSNE(
    perplexity=_PERPLEXITY, init='pca', random_state=seed
  ).fit_transform(axes)
  return placed, f't-SNE, perplexity {_PERPLEXITY}'


def gallery(its: Sources, *, seed: int = 0) -> list[Query]:
  """Images by chance, of each class in turn, and those nearest as in `knn`.

  Queries come from the split that is scored, neighbours from the one that the
  probe learnt from; of a single split, no image is its own neighbour.
  """
  splits = np.array(its.splits)
  first, last = its.splits[0], its.splits[-1]
  taught = np.flatnonzero(splits == first)
  images = _queries(its.labels, np.flatnonzero(splits == last), seed)
  cosines = knn.similarity(its.features[taught], its.features[images])
  found = []
  for image, row in zip(images, cosines, strict=True):
    order = np.argsort(-row, kind='stable')
    order = order[taught[order] != image][:_NEIGHBOURS]
    found.append(Query(int(image), taught[order].tolist(), row[order].tolist()))
  return found


def _queries(labels: np.ndarray, rows: np.ndarray, seed: int) -> list[int]:
  """Rows by chance, the first of each class before the second of any."""
  rows = np.random.default_rng(seed).permutation(rows)
  turn = {
    row: place
    for label in np.unique(labels[rows])
    for place, row in enumerate(rows[labels[rows] == label])
  }
  return sorted(rows, key=lambda row: (turn[row], labels[row]))[:_QUERIES]


def data_uri(picture: np.ndarray, size: int, *, greys: int = 16) -> str:
  """A picture [H, W] uint8 as a small PNG for pages."""
  image = PIL.Image.fromarray(picture)
  if size != len(picture):
    image = image.resize((size, size), PIL.Image.Resampling.BOX)
  levels = np.linspace(0, 255, greys).round().astype(np.uint8)
  numbers = np.asarray(image).astype(int) * (greys - 1) + 127
  image = PIL.Image.frombytes(
    'P', image.size, (numbers // 255).astype(np.uint8).tobytes()
  )
  image.putpalette(np.repeat(levels, 3).tobytes())
  file = io.BytesIO()
  image.save(file, 'PNG', optimize=True, bits=4)
  return 'data:image/png;base64,' + base64.b64encode(file.getvalue()).decode()
