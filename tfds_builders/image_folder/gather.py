"""All labelled images are looked at, checked against each other, and split."""

import collections
import dataclasses
import hashlib
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import astropy.coordinates
import numpy as np

from radio_ssl.data import manifest, splits
from tfds_builders.image_folder import (
  collection,
  folders,
  images,
  settings,
  spool,
)

_SECONDS_BETWEEN_LINES = 10.0
# Of images whose field nobody knows; the evaluator's own radius.
_RADIUS_ARCSEC = 60.0
_SHOWN = 6
_NOWHERE = {'ra_deg': np.nan, 'dec_deg': np.nan}


def gather(
  found: folders.Found, options: settings.Settings
) -> collection.Collection:
  """Looks at all images, and gives each its split.

  Raises:
    ValueError: one line, for what cannot be used unless `options.skip_bad`,
      for images of several kinds or shapes, for classes too small to be split.
  """
  rejected = dict(found.rejected)
  if rejected and not options.skip_bad:
    name, (_, reason) = next(iter(rejected.items()))
    more = f' And {len(rejected) - 1} more.' if len(rejected) > 1 else ''
    raise ValueError(
      f'{found.place}: {name}: {reason}{more} --skip_bad passes over such.'
    )
  reader = images.Reader(
    unit=options.unit,
    beam_arcsec=options.beam_arcsec,
    pixel_scale_arcsec=options.pixel_scale_arcsec,
    size_pix=options.size_pix,
    flip=not options.no_flip,
  )
  pixels, looked = spool.Spool(), []
  for image in _timed(found.images):
    try:
      looked.append(_look(image, reader, pixels))
    except images.ImageError as error:
      if not options.skip_bad:
        where = f'{found.place}: {image.where}' if image.where else ''
        raise ValueError(f'{where}{error}') from error
      reason = str(error).removeprefix(f'{image.path}: ')
      rejected[image.name] = error.kind, f'{image.where}{reason}'
  if not looked:
    raise ValueError(
      f'{found.place}: no image that can be used; {len(rejected)} left out.'
    )
  _check_alike(found.place, looked, options)
  looked = _split(found.place, looked, options)
  return collection.Collection(found, reader, pixels, looked, rejected)


def _timed(items: Sequence[folders.Labelled]) -> Iterator[folders.Labelled]:
  """The items, with a line of progress every few seconds."""
  said = time.monotonic()
  for done, item in enumerate(items):
    yield item
    if time.monotonic() - said > _SECONDS_BETWEEN_LINES:
      said = time.monotonic()
      print(f'{done + 1}/{len(items)} images looked at', file=sys.stderr)


def _look(
  image: folders.Labelled, reader: images.Reader, kept: spool.Spool
) -> collection.Looked:
  pixels, facts = reader.read(image.path)
  _check_position(image, facts)
  known = _NOWHERE | facts.known | dict(image.known)
  # The header knows the centre; catalogues, the source somewhere near it.
  known |= {axis: facts.known[axis] for axis in _NOWHERE if axis in facts.known}
  return collection.Looked(
    image=image,
    number=kept.add(pixels),
    unit=facts.unit,
    stored_shape=facts.stored_shape,
    shape=pixels.shape,
    known=known,
    sha256=manifest.sha256(image.path),
    digest=hashlib.sha256(pixels.tobytes()).hexdigest(),
  )


def _check_position(image: folders.Labelled, facts: images.Facts) -> None:
  if 'ra_deg' not in image.known or 'ra_deg' not in facts.known:
    return
  told, own = (
    astropy.coordinates.SkyCoord(of['ra_deg'], of['dec_deg'], unit='deg')
    for of in (image.known, facts.known)
  )
  apart = own.separation(told).arcsec
  scale = facts.known['pixel_scale_arcsec']
  if apart > np.hypot(*facts.stored_shape) / 2 * scale:
    raise images.ImageError(
      f'{image.path}: its header has it round RA {own.ra.deg:.5f}, Dec '
      f'{own.dec.deg:.5f}; the position told of it, RA {told.ra.deg:.5f}, Dec '
      f'{told.dec.deg:.5f}, lies outside. Correct one of them.',
      'position',
    )


def _check_alike(
  place: pathlib.Path,
  looked: Sequence[collection.Looked],
  options: settings.Settings,
) -> None:
  """Refuses what is not of one unit and shape."""
  units = _listed(looked, lambda item: item.unit)
  if len(units) > 1:
    raise ValueError(
      f'{place}: images in {len(units)} units: {"; ".join(units)}. A data set '
      'has one: keep the files of one kind there, or tell the unit of .npy '
      'beside FITS with --unit.'
    )
  shapes = _listed(looked, lambda item: '{} x {}'.format(*item.shape))
  if len(shapes) > 1:
    common = collections.Counter(min(item.shape) for item in looked)
    raise ValueError(
      f'{place}: images of {len(shapes)} shapes: '
      f'{"; ".join(shapes[:_SHOWN])}{"; ..." * (len(shapes) > _SHOWN)}. A data '
      'set has one: cut or pad them round their centre with --size_pix '
      f'{common.most_common(1)[0][0]}.'
    )
  kinds = {images.kind(item.image.path) for item in looked}
  if 'FITS' in kinds and options.pixel_scale_arcsec is not None:
    raise ValueError(
      f'{place}: FITS files tell their pixels. Leave out --pixel_scale_arcsec.'
    )
  if looked[0].unit == images.EIGHT_BIT and options.unit is not None:
    raise ValueError(f'{place}: 8-bit pictures have no unit. Leave out --unit.')
  for item in looked:
    # Classes are listed line by line on disk, and by commas in configs.
    if set(item.image.label) & set(',\n'):
      raise ValueError(
        f'{place}: class {item.image.label!r} has a comma or line break in its '
        'name. Rename it.'
      )


def _listed(
  looked: Sequence[collection.Looked], of: Callable[[collection.Looked], str]
) -> list[str]:
  """'VALUE (COUNT, such as NAME)', the most frequent first."""
  names: dict[str, list[str]] = {}
  for item in looked:
    names.setdefault(of(item), []).append(item.image.name)
  return [
    f'{value} ({len(members)}, such as {members[0]})'
    for value, members in sorted(names.items(), key=lambda kv: -len(kv[1]))
  ]


def _split(
  place: pathlib.Path,
  looked: Sequence[collection.Looked],
  options: settings.Settings,
) -> list[collection.Looked]:
  """The images with their splits: those of their folders, or drawn ones."""
  if looked[0].image.split:
    if options.folds:
      raise ValueError(
        f'{place}: its folders tell the splits. Leave out --folds, or move the '
        'classes out of them.'
      )
    return list(looked)
  try:
    drawn = splits.stratified_split(
      np.array([item.image.label for item in looked]),
      fractions=settings.shares(options),
      seed=options.seed,
      groups=_groups(looked, options.group_radius_arcsec),
    )
  except ValueError as error:
    fewer = '--fractions 0.8,0,0.2 leaves valid out, 1,0,0 test too'
    if options.folds:
      fewer = f'--folds {options.folds} asks for that many'
    raise ValueError(
      f'{place}: {error} ({fewer}; --group_radius_arcsec sets which images '
      'share a split.)'
    ) from error
  return [
    dataclasses.replace(
      item, image=dataclasses.replace(item.image, split=str(split))
    )
    for item, split in zip(looked, drawn, strict=True)
  ]


def _groups(
  looked: Sequence[collection.Looked], radius: float | None
) -> np.ndarray:
  """[N] numbers; images close on the sky, and copies, share one."""
  if radius is None:
    # No two squares touch whose centres are farther apart than a diagonal.
    diagonals = [
      float(np.hypot(*item.shape) * item.known.get('pixel_scale_arcsec', 0))
      for item in looked
    ]
    radius = max(diagonals) or _RADIUS_ARCSEC
  ra, dec = (
    np.array([item.known[axis] for item in looked])
    for axis in ('ra_deg', 'dec_deg')
  )
  groups = splits.groups_by_position(ra, dec, radius)
  for rows in collection.copies(looked):
    groups[np.isin(groups, groups[rows])] = groups[rows[0]]
  return groups
