"""Examples of several data sets as those of one, one after the other."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import astropy.coordinates
import numpy as np

from radio_ssl.data import examples, exclusion
from tfds_builders.image_folder import images
from tfds_builders.joined import members
from tfds_builders.joined import report as reports

Example = dict[str, Any]

# Judged at a time: few enough to be held, enough to search the sky for.
_AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class Join:
  """What is done with the images.

  Attributes:
    members: the data sets; of one source in several the first is taken.
    size_pix: side of the central square that is kept.
    dtype: of the stored pixels.
    full_scale_sigma: rms that 255 of a picture stands for, among floats.
    same_arcsec: images of two sets no farther apart show one source; 0 keeps
      all.
    exclusion: what no image may hold; None for nothing.
  """

  members: Sequence[members.Member]
  size_pix: int
  dtype: str
  full_scale_sigma: float
  same_arcsec: float
  exclusion: exclusion.Exclusion | None

  def examples(self, report: reports.Report) -> Iterator[tuple[str, Example]]:
    """(key, example) of all that is kept.

    Args:
      report: filled in; complete once the generator has ended.

    Raises:
      ValueError: an image whose sky nobody knows, beside an exclusion; a set
        without any noise level; nothing is left.
    """
    names: set[str] = set()
    earlier = np.zeros((0, 2))
    for member in self.members:
      known, places = _known_places(earlier), []
      for split, example in self._kept(member, known, report):
        place = (example['ra_deg'], example['dec_deg'])
        if np.isfinite(place).all():
          places.append(place)
        else:
          report.counts[member.title].without_position += 1
        if example['name'] in names:
          example['name'] = f'{member.title}/{split}/{example["name"]}'
          report.counts[member.title].renamed += 1
        names.add(example['name'])
        report.keep(member.title, example)
        yield example['name'], self._stored(example)
      _check_noise(member, report.counts[member.title])
      earlier = np.append(earlier, np.reshape(places, (-1, 2)), axis=0)
    report.check()

  def _kept(
    self,
    member: members.Member,
    earlier: astropy.coordinates.SkyCoord | None,
    report: reports.Report,
  ) -> Iterator[tuple[str, Example]]:
    """(split, example) of what is not left out; counts what is."""
    counts = report.counts[member.title]
    cut = (
      (split, self._example(member, split, record))
      for split, record in members.records(member)
    )
    while batch := list(itertools.islice(cut, _AT_ONCE)):
      reasons = self._reasons([example for _, example in batch], earlier)
      for (split, example), reason in zip(batch, reasons, strict=True):
        counts.read += 1
        if reason:
          setattr(counts, reason, getattr(counts, reason) + 1)
        else:
          yield split, example

  def _example(
    self, member: members.Member, split: str, record: Example
  ) -> Example:
    """A record cut to its centre; a picture among floats with its noise."""
    pixels = images.centre(record['image'][..., 0], (self.size_pix,) * 2)
    # Sets of the first days lack some.
    fields = [name for name in examples.FLOAT_FIELDS if name in record]
    known = {name: record[name] for name in fields}
    if member.pictures and self.dtype != 'uint8':
      pixels = pixels.astype(np.float32)
      known['background_jy_beam'] = 0.0
      known['rms_jy_beam'] = 255 / self.full_scale_sigma
    example = examples.example(
      pixels,
      name=record['name'].decode(),
      source_file=record['source_file'].decode(),
      ra_deg=record['ra_deg'],
      dec_deg=record['dec_deg'],
      **known,
    )
    if self.exclusion is not None:
      _check_sky(member, split, example)
    return example

  def _reasons(
    self,
    batch: Sequence[Example],
    earlier: astropy.coordinates.SkyCoord | None,
  ) -> list[str]:
    """Why each example is left out, as a field of `Counts`; '' of the kept."""
    ra, dec, scale, rotation = (
      np.array([example[name] for example in batch], np.float64)
      for name in ('ra_deg', 'dec_deg', 'pixel_scale_arcsec', 'rotation_deg')
    )
    excluded = np.zeros(len(batch), bool)
    if self.exclusion is not None:
      excluded = self.exclusion.holds(
        ra,
        dec,
        field_arcsec=scale * self.size_pix,
        rotation_deg=np.nan_to_num(rotation),
      )
    again = np.zeros(len(batch), bool)
    placed = np.isfinite(ra) & np.isfinite(dec)
    if earlier is not None and self.same_arcsec and placed.any():
      sky = astropy.coordinates.SkyCoord(ra[placed], dec[placed], unit='deg')
      _, apart, _ = sky.match_to_catalog_sky(earlier)
      again[placed] = apart.arcsec <= self.same_arcsec
    missing = [not np.isfinite(example['image']).any() for example in batch]
    silent = [self.dtype != 'uint8' and not _noise(e) for e in batch]
    return np.select(
      [excluded, again, missing, silent],
      ['excluded', 'duplicates', 'missing', 'without_noise'],
      '',
    ).tolist()

  def _stored(self, example: Example) -> Example:
    if self.dtype == 'uint8':
      return example
    return examples.stored(example, self.dtype)


def _known_places(places: np.ndarray) -> astropy.coordinates.SkyCoord | None:
  """[N, 2] RA and Dec in degrees; one object keeps its index for all batches.

  None of none: astropy searches no empty catalogue.
  """
  if not len(places):
    return None
  return astropy.coordinates.SkyCoord(places[:, 0], places[:, 1], unit='deg')


def _noise(example: Example) -> bool:
  background, rms = example['background_jy_beam'], example['rms_jy_beam']
  return bool(np.isfinite(background) and np.isfinite(rms) and rms > 0)


def _check_sky(member: members.Member, split: str, example: Example) -> None:
  lacking = None
  if not np.isfinite(example['ra_deg'] + example['dec_deg']):
    lacking = 'position'
  elif not example['pixel_scale_arcsec'] > 0:
    lacking = 'pixel scale'
  if lacking:
    raise ValueError(
      f'{member.dataset.directory}: {example["name"]} of {split!r} has no '
      f'{lacking}: nobody can tell whether it shows a source of --exclude. '
      'Leave the set out, or build it again with what is lacking.'
    )


def _check_noise(member: members.Member, counts: reports.Counts) -> None:
  # Single images may lack it; a whole set is a mistake.
  if counts.without_noise and not counts.kept:
    raise ValueError(
      f'{member.dataset.directory}: {counts.without_noise} of {counts.read} '
      'images have no rms_jy_beam or background_jy_beam, and no other is left '
      'to join. Build the set again with them, or leave it out.'
    )
