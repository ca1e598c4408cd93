"""What a conversion made, and what it left out and why."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from radio_ssl.data import examples

_SHARED = ('pixel_scale_arcsec', 'beam_major_arcsec', 'beam_minor_arcsec')


@dataclasses.dataclass
class Report:
  """What `convert` did; filled in while it runs.

  Attributes:
    images: files converted.
    examples: examples made.
    skipped: file -> reason, for bad files passed over with skip_bad; files are
      relative to the folder that all have in common.
    excluded: tiles or cutouts dropped for an excluded source in them.
    missing: tiles or cutouts dropped for their NaN pixels.
    outside: catalogue sources in no image.
    unsized: sources of unknown size that got min_field_arcsec.
    unlabelled: sources without a label, left out of a labelled set.
    excluded_unsized: excluded sources of unknown size, kept 30 arcsec away.
    seen: the distinct values of what a data set may have in common.
  """

  images: int = 0
  examples: int = 0
  skipped: dict[str, str] = dataclasses.field(default_factory=dict)
  excluded: int = 0
  missing: int = 0
  outside: int = 0
  unsized: int = 0
  unlabelled: int = 0
  excluded_unsized: int = 0
  seen: dict[str, set[float]] = dataclasses.field(
    default_factory=lambda: {name: set() for name in _SHARED}
  )

  def summary(self) -> str:
    """The counts in one line."""
    return (
      f'{self.examples} examples of {self.images} images; left out: '
      f'{self.excluded} that hold an excluded source, {self.missing} with '
      f'missing pixels, {self.outside} sources in no image, '
      f'{self.unlabelled} without a label, {len(self.skipped)} bad files; '
      f'{self.unsized} sources and {self.excluded_unsized} excluded ones of '
      'unknown size.'
    )

  def count(self, example: Mapping[str, Any]) -> None:
    """Notes an example that was made."""
    self.examples += 1
    for name, values in self.seen.items():
      values.add(float(example[name]))

  def metadata(self) -> dict[str, Any]:
    """What goes into the metadata of the data set, JSON-ready."""
    values = dataclasses.asdict(self)
    seen = values.pop('seen')
    return values | {name: examples.shared(seen[name]) for name in seen}
