"""What a join took of each data set, and what it left out and why."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from radio_ssl.data import examples
from tfds_builders.joined import members

_SHARED = ('pixel_scale_arcsec', 'beam_major_arcsec', 'beam_minor_arcsec')


@dataclasses.dataclass
class Counts:
  """Images of one data set.

  Attributes:
    read: all of them; the sum of the next five.
    excluded: dropped for an excluded source in them.
    duplicates: dropped for an image of an earlier set at the same place.
    missing: dropped because no pixel of the cut was measured.
    without_noise: dropped because nobody knows their rms or background: beside
      others they would show as empty sky.
    kept: joined.
    without_position: of those kept; no duplicate can be told among them.
    renamed: of those kept; their name was taken.
  """

  read: int = 0
  excluded: int = 0
  duplicates: int = 0
  missing: int = 0
  without_noise: int = 0
  kept: int = 0
  without_position: int = 0
  renamed: int = 0

  def told(self) -> str:
    """In one line."""
    return (
      f'{self.read} read, {self.kept} kept ({self.without_position} without a '
      f'position, {self.renamed} renamed); left out: {self.excluded} that hold '
      f'an excluded source, {self.duplicates} of an earlier set, '
      f'{self.missing} without a measured pixel, {self.without_noise} without '
      'a noise level'
    )


class Report:
  """Filled in while a join runs.

  Attributes:
    counts: by the title of the set.
    excluded_unsized: excluded sources of unknown size, kept 30 arcsec away.
  """

  def __init__(self, joined: Sequence[members.Member]):
    """Begins with nothing read of the sets."""
    self.counts = {member.title: Counts() for member in joined}
    self.excluded_unsized = 0
    self._members = joined
    self._seen: dict[str, set[float]] = {name: set() for name in _SHARED}

  def keep(self, title: str, example: Mapping[str, Any]) -> None:
    """Notes an example that is joined."""
    self.counts[title].kept += 1
    for name, values in self._seen.items():
      values.add(float(example[name]))

  def check(self) -> None:
    """Refuses to have joined nothing.

    Raises:
      ValueError: there is no example.
    """
    if not any(counts.kept for counts in self.counts.values()):
      raise ValueError(f'no image is left: {self.summary()}')

  def summary(self) -> str:
    """The counts of all sets in one line."""
    lines = [f'{title}: {c.told()}' for title, c in self.counts.items()]
    if self.excluded_unsized:
      lines.append(f'{self.excluded_unsized} excluded sources of unknown size')
    return '; '.join(lines) + '.'

  def metadata(self) -> dict[str, Any]:
    """What goes into the metadata of the data set, JSON-ready."""
    values: dict[str, Any] = {
      'sets': {m.title: self._of(m) for m in self._members},
      'excluded_unsized': self.excluded_unsized,
    }
    units = dict.fromkeys(member.unit for member in self._members)
    if [*units] != [members.JY_BEAM]:
      values['unit'] = ' or '.join(units)
    for name, seen in self._seen.items():
      values[name] = examples.shared(seen)
    if any(counts.without_position for counts in self.counts.values()):
      values['overlap'] = 'unknown'
    return values

  def _of(self, member: members.Member) -> dict[str, Any]:
    return {
      'splits': '+'.join(member.splits),
      'fingerprint': member.dataset.fingerprint,
      'unit': member.unit,
      **dataclasses.asdict(self.counts[member.title]),
    }

  def record(self) -> dict[str, Any]:
    """All of it, JSON-ready, as `ingest_report.json` holds it."""
    metadata = self.metadata()
    sets = metadata.pop('sets')
    return {'summary': self.summary(), 'counts': metadata, 'sets': sets}
