"""Labelled images that make one data set, and what there is to tell of them."""

import collections
import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from radio_ssl.data import examples
from tfds_builders.image_folder import folders, images, settings, spool

_SHARED = ('pixel_scale_arcsec', 'beam_major_arcsec', 'beam_minor_arcsec')


@dataclasses.dataclass(frozen=True)
class Looked:
  """An image that was read; its pixels wait on disk.

  Attributes:
    image: the file, its class, its split.
    number: of its pixels in the spool.
    unit: of the pixels, as `images.Facts.unit`.
    stored_shape: of the file.
    shape: of the example.
    known: fields of the example; NaN for a position that nobody knows.
    sha256: of the file.
    digest: of the pixels.
  """

  image: folders.Labelled
  number: int
  unit: str
  stored_shape: tuple[int, int]
  shape: tuple[int, int]
  known: dict[str, float]
  sha256: str
  digest: str


@dataclasses.dataclass(frozen=True)
class Collection:
  """Images that make one data set.

  Attributes:
    found: where they come from.
    reader: of the files.
    pixels: of the images, as they were read.
    looked: the images, each with its split.
    rejected: name -> (kind, reason) of what was left out.
  """

  found: folders.Found
  reader: images.Reader
  pixels: spool.Spool
  looked: Sequence[Looked]
  rejected: dict[str, tuple[str, str]]

  def features(self) -> tfds.features.FeaturesDict:
    """Of one example."""
    dtype = np.uint8 if self.unit == images.EIGHT_BIT else np.float32
    return examples.features(
      *self.looked[0].shape, dtype=dtype, label_names=self.labels()
    )

  def labels(self) -> list[str]:
    """Names of the classes, sorted."""
    return sorted({item.image.label for item in self.looked})

  @property
  def unit(self) -> str:
    """Of all images."""
    return self.looked[0].unit

  def splits(self) -> list[str]:
    """Those that have images."""
    there = {item.image.split for item in self.looked}
    usual = [split for split in settings.SPLITS if split in there]
    # fold_10 comes after fold_9.
    return usual + sorted(there - {*usual}, key=lambda s: (len(s), s))

  def examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, example) of a split."""
    for item in self.looked:
      image = item.image
      if image.split == split:
        yield (
          image.name,
          examples.example(
            self.pixels.get(item.number),
            name=image.name,
            source_file=image.path.name,
            label=image.label,
            **item.known,
          ),
        )

  def metadata(self) -> dict[str, Any]:
    """What goes into the metadata of the data set, JSON-ready."""
    size, looked = self.reader.size_pix, self.looked
    sides = [item.stored_shape for item in looked if size is not None]
    pictures = sum(images.kind(i.image.path) == 'picture' for i in looked)
    unplaced = sum(np.isnan(item.known['ra_deg']) for item in looked)
    values = {
      **self.found.notes,
      **self._tags(),
      'images': len(looked),
      'counts': self._counts(),
      'unit': self.unit,
      'cut': sum(max(side) > size for side in sides),
      'padded': sum(min(side) < size for side in sides),
      'flipped': pictures if self.reader.flip else 0,
      'without_position': int(unplaced),
      **self._copies(),
      'skipped': {name: reason for name, (_, reason) in self.rejected.items()},
    }
    for field in _SHARED:
      seen = {item.known.get(field, np.nan) for item in looked}
      values[field] = examples.shared(seen)
    if unplaced:
      values['overlap'] = 'unknown'
    return values

  def _counts(self) -> dict[str, dict[str, int]]:
    """Split -> class -> images."""
    counts = collections.Counter(
      (item.image.split, item.image.label) for item in self.looked
    )
    return {
      split: {label: counts[split, label] for label in self.labels()}
      for split in self.splits()
    }

  def _tags(self) -> dict[str, dict[str, int]]:
    """What is counted -> value -> images."""
    tags: dict[str, dict[str, int]] = {}
    for item in self.looked:
      for key, value in item.image.tags.items():
        counts = tags.setdefault(key, {})
        counts[value] = counts.get(value, 0) + 1
    return tags

  def _copies(self) -> dict[str, int]:
    """Images whose pixels are those of another, and which of them disagree."""
    alike = [
      [self.looked[row].image for row in rows] for rows in copies(self.looked)
    ]
    return {
      'copies': sum(len(same) - 1 for same in alike),
      'copies_across_classes': sum(
        len(same) for same in alike if len({i.label for i in same}) > 1
      ),
      'copies_across_splits': sum(
        len(same) for same in alike if len({i.split for i in same}) > 1
      ),
    }

  def summary(self) -> str:
    """The counts in one line."""
    facts = self.metadata()
    height, width = self.looked[0].shape
    kinds = collections.Counter(kind for kind, _ in self.rejected.values())
    reasons = ', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))
    counts = '; '.join(
      f'{split}: ' + ', '.join(f'{n} {label}' for label, n in classes.items())
      for split, classes in facts['counts'].items()
    )
    return (
      f'{facts["images"]} images of {height} x {width} pixels, unit '
      f'{self.unit}; {counts}; {facts["cut"]} cut, {facts["padded"]} padded, '
      f'{facts["flipped"]} turned over (row 0 is south); '
      f'{facts["without_position"]} without a position; {facts["copies"]} '
      f'copies of others ({facts["copies_across_classes"]} images across '
      f'classes, {facts["copies_across_splits"]} across splits); left out: '
      f'{len(self.rejected)}{f" ({reasons})" if reasons else ""}.'
    )

  def tell(self, directory: str | pathlib.Path) -> None:
    """Prints what was found; writes `ingest_report.json`."""
    files: dict[str, dict[str, Any]] = {
      item.image.name: {
        'status': 'accepted',
        'sha256': item.sha256,
        'shape': list(item.stored_shape),
        'class': item.image.label,
        'split': item.image.split,
      }
      for item in self.looked
    }
    for name, (kind, reason) in self.rejected.items():
      files[name] = {'status': 'rejected', 'kind': kind, 'reason': reason}
      print(f'skipped {name}: {reason}', file=sys.stderr)
    record = {
      'summary': self.summary(),
      'counts': self.metadata(),
      'files': dict(sorted(files.items())),
    }
    path = pathlib.Path(directory) / 'ingest_report.json'
    path.write_text(json.dumps(record, indent=1) + '\n')
    for key, value in {**self.found.notes, **self._tags()}.items():
      print(f'{self.found.place}: {key} {value}', file=sys.stderr)
    print(self.summary(), file=sys.stderr)


def stored_features(
  directory: str | pathlib.Path,
) -> tfds.features.FeaturesDict | None:
  """Of data that are there: they may outlive their images."""
  if not (pathlib.Path(directory) / 'features.json').is_file():
    return None
  return tfds.features.FeaturesDict.from_config(directory)


def copies(looked: Sequence[Looked]) -> list[list[int]]:
  """Rows of images that share their pixels, two and more of each."""
  rows: dict[str, list[int]] = {}
  for row, item in enumerate(looked):
    rows.setdefault(item.digest, []).append(row)
  return [members for members in rows.values() if len(members) > 1]
