"""What a conversion made, and what it left out and why."""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from radio_ssl.data import examples, fits, manifest

_SHARED = ('pixel_scale_arcsec', 'beam_major_arcsec', 'beam_minor_arcsec')


# Why there is no example of something -> what of a report counts it.
_COUNTS = {
  'incomplete': 'missing',
  'distorted': 'distorted',
  'excluded': 'excluded',
  'no_noise': 'flat',
  'too_faint': 'faint',
  'unreadable': 'unreadable',
}


def describe(image: fits.Image) -> dict[str, Any]:
  """What a report tells of a file whose pixels were looked at and taken."""
  found = image.statistics
  return {
    'status': 'accepted',
    'sha256': manifest.sha256(image.path),
    'shape': list(image.pixels_jy_beam.shape),
    'pixel_scale_arcsec': image.pixel_scale_arcsec,
    'beam': dataclasses.asdict(image.beam),
    'measured': found.measured,
    'zeros': found.zeros,
    'brightest_jy_beam': found.brightest,
    'overrides': dict(image.overrides),
  }


def of_header(name: str, inside: Sequence[tuple[int, float]]) -> 'Report':
  """The report of a file, of which the sources inside are known so far."""
  return Report(files={} if inside else {name: {'status': 'not needed'}})


def of_lost(sources: Iterable[str], reason: str) -> 'Report':
  """The report of sources that gave no example for one reason."""
  report = Report()
  for name in sources:
    report.lose(str(name), reason)
  return report


def loaded(values: Mapping[str, Any]) -> 'Report':
  """What `Report.saved` gave."""
  seen = {name: set(found) for name, found in values['seen'].items()}
  return Report(**(values | {'seen': seen}))


def _told(counts: Mapping[str, int]) -> str:
  return ', '.join(f'{n} {what}' for what, n in counts.items() if n)


class NoExamplesError(ValueError):
  """There is nothing to make a data set of."""

  # That `tfds_builders.build` ends with.
  exit_status = 3


@dataclasses.dataclass
class Report:
  """What `convert` did; filled in while it runs.

  Attributes:
    files: each file of the input, relative to the folder that all have in
      common -> {'status': 'accepted', what is known of it}, {'status':
      'rejected', 'kind', 'reason'}, {'status': 'not needed'} of a file that
      holds no source of the catalogue, {'status': 'too small'} of one that a
      tile does not fit into, {'status': 'companion'} of an image
      of the rms or the primary beam, or {'status': 'same file', 'as'} of a link
      to another.
    examples: examples made.
    excluded: tiles or cutouts dropped for an excluded source in them.
    missing: tiles or cutouts dropped for their NaN pixels.
    distorted: tiles, or cutouts of whole pixels, dropped because the sky is
      stretched there by the image's projection.
    flat: tiles or cutouts dropped because they have no noise.
    faint: tiles or cutouts dropped for their signal-to-noise ratio.
    outside: catalogue sources in no image.
    unreadable: catalogue sources whose images are all bad files.
    unsized: sources of unknown size that got min_field_arcsec.
    unlabelled: sources without a label, left out of a labelled set.
    excluded_unsized: excluded sources of unknown size, kept 30 arcsec away.
    lost: catalogue sources that are in an image and gave no example -> why:
      'incomplete' (missing pixels), 'distorted', 'excluded', 'no_noise',
      'too_faint', 'unreadable'; of several images the commonest reason.
    seen: the distinct values of what a data set may have in common.
  """

  files: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
  examples: int = 0
  excluded: int = 0
  missing: int = 0
  distorted: int = 0
  flat: int = 0
  faint: int = 0
  outside: int = 0
  unreadable: int = 0
  unsized: int = 0
  unlabelled: int = 0
  excluded_unsized: int = 0
  lost: dict[str, str] = dataclasses.field(default_factory=dict)
  seen: dict[str, set[float]] = dataclasses.field(
    default_factory=lambda: {name: set() for name in _SHARED}
  )

  def lose(self, source: str | None, reason: str) -> None:
    """Counts what gave no example: a source of the catalogue, or a tile."""
    count = _COUNTS[reason]
    setattr(self, count, getattr(self, count) + 1)
    if source is not None:
      self.lost[source] = reason

  def reject(self, name: str, kind: str, reason: str) -> None:
    """Notes a bad file that was passed over."""
    self.files[name] = {'status': 'rejected', 'kind': kind, 'reason': reason}

  @property
  def rejected(self) -> dict[str, str]:
    """File -> reason."""
    return {
      name: file['reason']
      for name, file in self.files.items()
      if file['status'] == 'rejected'
    }

  def summary(self) -> str:
    """The counts in one line; what there is none of is not told."""
    status = collections.Counter(file['status'] for file in self.files.values())
    kinds = collections.Counter(
      file['kind'] for file in self.files.values() if 'kind' in file
    )
    reasons = ', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))
    left_out = {
      'that hold an excluded source': self.excluded,
      'with missing pixels': self.missing,
      'distorted by the projection': self.distorted,
      'without noise': self.flat,
      'too faint': self.faint,
      'sources in no image': self.outside,
      'sources in bad files alone': self.unreadable,
      'sources without a label': self.unlabelled,
      f'bad files ({reasons})': status['rejected'],
      'files without a source': status['not needed'],
      'files smaller than a tile': status['too small'],
    }
    of_unknown_size = {
      'sources of unknown size': self.unsized,
      'excluded sources of unknown size': self.excluded_unsized,
    }
    parts = [f'{self.examples} examples of {status["accepted"]} images']
    if any(left_out.values()):
      parts.append(f'left out: {_told(left_out)}')
    if any(of_unknown_size.values()):
      parts.append(_told(of_unknown_size))
    return '; '.join(parts) + '.'

  def add(self, other: 'Report') -> None:
    """Takes in what was done elsewhere."""
    for field in dataclasses.fields(self):
      mine, theirs = getattr(self, field.name), getattr(other, field.name)
      if isinstance(mine, int):
        setattr(self, field.name, mine + theirs)
    self.files.update(other.files)
    self.lost.update(other.lost)
    for name, values in self.seen.items():
      values.update(other.seen[name])

  def check(self, files: Iterable[str]) -> None:
    """Refuses to have made nothing.

    Raises:
      ValueError: there is no example.
    """
    if not self.examples:
      raise NoExamplesError(
        f'{min(files)} ...: no example to make. {self.summary()} Check size, '
        'catalogue and exclusion.'
      )

  def count(self, example: Mapping[str, Any]) -> None:
    """Notes an example that was made."""
    self.examples += 1
    for name, values in self.seen.items():
      values.add(float(example[name]))

  def metadata(self) -> dict[str, Any]:
    """What goes into the metadata of the data set, JSON-ready."""
    values = dataclasses.asdict(self)
    seen, files = values.pop('seen'), values.pop('files')
    del values['lost']
    status = collections.Counter(file['status'] for file in files.values())
    return (
      values
      | {'images': status['accepted'], 'skipped': self.rejected}
      | {name: examples.shared(seen[name]) for name in seen}
    )

  def saved(self) -> dict[str, Any]:
    """All fields, JSON-ready, as `loaded` takes them."""
    values = dataclasses.asdict(self)
    return values | {
      'seen': {name: sorted(found) for name, found in self.seen.items()}
    }

  def write(self, path: pathlib.Path) -> None:
    """Writes `record` as JSON."""
    path.write_text(json.dumps(self.record(), indent=1) + '\n')

  def record(self) -> dict[str, Any]:
    """All of it, JSON-ready, as `ingest_report.json` holds it."""
    return {
      'summary': self.summary(),
      'counts': self.metadata(),
      'files': dict(sorted(self.files.items())),
      'lost': dict(sorted(self.lost.items())),
    }
