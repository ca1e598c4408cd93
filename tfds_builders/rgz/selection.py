"""What of the fetched images becomes a data set, and which split each gets."""

import collections
import dataclasses
import json
import math
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from radio_ssl.data import splits
from tfds_builders import first_survey
from tfds_builders.rgz import shelf, zoo

SPLITS = ('train', 'valid', 'test')
# The level from which on Data Release 1 lists sources.
_MIN_CONSENSUS = 0.65
# Rows closer than FIRST's beam are of one source.
_SAME_ARCSEC = 5.0


@dataclasses.dataclass(frozen=True)
class Selection:
  """Sources of a data set.

  Attributes:
    folder: of the images.
    plan: what they were fetched by.
    sources: by name; all have an image.
    splits: of each, a name of `SPLITS`.
    left_out: name of a source -> (kind, reason).
    radius_arcsec: sources closer than this share a split.
  """

  folder: pathlib.Path
  plan: dict[str, Any]
  sources: Sequence[zoo.Source]
  splits: Sequence[str]
  left_out: dict[str, tuple[str, str]]
  radius_arcsec: float

  def counts(self) -> dict[str, dict[str, int]]:
    """Split -> class -> sources."""
    found = collections.Counter(
      (split, s.label)
      for split, s in zip(self.splits, self.sources, strict=True)
    )
    return {
      split: {label: found[split, label] for label in zoo.CLASSES}
      for split in SPLITS
      if split in self.splits
    }

  def metadata(self) -> dict[str, Any]:
    """What goes into the metadata of the data set, JSON-ready."""
    kinds = collections.Counter(kind for kind, _ in self.left_out.values())
    entries = shelf.settled(self.folder)
    samplers = collections.Counter(
      str(entries[s.image].get('sampler')) for s in self.sources
    )
    return {
      'images': len(self.sources),
      'counts': self.counts(),
      'left_out': dict(sorted(kinds.items())),
      'not_asked_for': self.plan['left_out'],
      'catalogue': self.plan['catalogue'],
      'catalogue_sha256': self.plan['catalogue_sha256'],
      'catalogue_rows': self.plan['rows'],
      'group_radius_arcsec': self.radius_arcsec,
      'samplers': dict(samplers),
    }

  def summary(self) -> str:
    """The counts in one line."""
    facts = self.metadata()
    counts = '; '.join(
      f'{split}: ' + ', '.join(f'{n} {label}' for label, n in classes.items())
      for split, classes in facts['counts'].items()
    )
    return (
      f'{facts["images"]} images of {facts["catalogue_rows"]} sources; '
      f'{counts}; left out: {_told(facts["left_out"])}; not asked for: '
      f'{_told(facts["not_asked_for"])}.'
    )

  def tell(self, directory: str | pathlib.Path) -> None:
    """Prints the counts; writes `ingest_report.json`."""
    files: dict[str, dict[str, Any]] = {
      source.name: {
        'status': 'accepted',
        'class': source.label,
        'split': split,
        'file': f'{source.image}.fits',
        'consensus_level': _known(source.consensus_level),
      }
      for source, split in zip(self.sources, self.splits, strict=True)
    }
    for name, (kind, reason) in self.left_out.items():
      files[name] = {'status': 'rejected', 'kind': kind, 'reason': reason}
    record = {
      'summary': self.summary(),
      'counts': self.metadata(),
      'files': dict(sorted(files.items())),
    }
    path = pathlib.Path(directory) / 'ingest_report.json'
    path.write_text(json.dumps(record, indent=1) + '\n')
    print(self.summary(), file=sys.stderr)


def _told(counts: dict[str, int]) -> str:
  return ', '.join(f'{n} {what}' for what, n in counts.items()) or 'none'


def _known(value: float) -> float | None:
  return None if math.isnan(value) else value


def select(
  folder: pathlib.Path,
  *,
  clean: bool,
  size_pix: int,
  fractions: Sequence[float],
  seed: int,
  allow_incomplete: bool,
) -> Selection:
  """Chooses sources and draws their splits.

  Args:
    folder: what `tfds_builders.rgz.fetch` filled.
    clean: one row a source, of known consensus; else all rows.
    size_pix: side of the examples; those that could overlap share a split.
    fractions: of each class in `SPLITS`; 0 leaves a split out.
    seed: of the draw.
    allow_incomplete: go on without images that were not fetched.

  Raises:
    ValueError: no such folder, an incomplete one, or too few sources.
  """
  plan = shelf.read_plan(folder)
  if size_pix > plan['pixels'] - 2:
    raise ValueError(
      f'{folder}: images of {plan["pixels"]} pixels; size_pix {size_pix} is '
      f'wanted to be {plan["pixels"] - 2} or less.'
    )
  # By name: the order of a catalogue means nothing.
  sources = sorted(zoo.load(folder / 'sources.csv'), key=lambda s: s.name)
  names, told = shelf.missing(folder, sources)
  if names and not allow_incomplete:
    raise ValueError(
      f'{folder}: {told} were not fetched. Run the command that fetched the '
      'others again, or leave them out with --allow_incomplete.'
    )
  left_out = _without_image(folder, sources, set(names))
  if clean:
    left_out = _not_clean(folder, sources) | left_out
  kept = [s for s in sources if s.name not in left_out]
  radius = size_pix * first_survey.PIXEL_SCALE_ARCSEC * math.sqrt(2)
  return Selection(
    folder=folder,
    plan=plan,
    sources=kept,
    splits=_split(folder, kept, radius, fractions, seed),
    left_out=left_out,
    radius_arcsec=radius,
  )


def _without_image(
  folder: pathlib.Path, sources: Sequence[zoo.Source], missing: set[str]
) -> dict[str, tuple[str, str]]:
  entries, result = shelf.settled(folder), {}
  for source in sources:
    entry = entries.get(source.image, {})
    if source.image in missing:
      result[source.name] = 'not fetched', 'its image was not fetched.'
    elif entry['status'] != shelf.FETCHED:
      result[source.name] = entry['status'], entry['reason']
  return result


def _not_clean(
  folder: pathlib.Path, sources: Sequence[zoo.Source]
) -> dict[str, tuple[str, str]]:
  """Doubtful rows, and all but one of each source."""
  if all(math.isnan(s.consensus_level) for s in sources):
    raise ValueError(
      f'{folder}/sources.csv: no consensus levels, which the config clean '
      'needs. Name their column to tfds_builders.rgz.fetch with --columns '
      'consensus_level=NAME and run it again, or build --config all.'
    )
  result = {
    s.name: (
      'low consensus',
      f'consensus level {s.consensus_level:g}; wanted {_MIN_CONSENSUS:g}.',
    )
    for s in sources
    if not s.consensus_level >= _MIN_CONSENSUS
  }
  rest = [s for s in sources if s.name not in result]
  for same in _of_one_source(rest):
    # `sources` come by name, so that of equals the first is kept.
    best = max(same, key=lambda s: s.consensus_level)
    alike = {s.label for s in same}
    for source in same:
      if len(alike) > 1:
        what = f'is {" and ".join(sorted(alike))} in {len(same)} rows.'
        result[source.name] = 'several classes', what
      elif source is not best:
        result[source.name] = 'repeated', f'{best.name} is of this source too.'
  return result


def _of_one_source(sources: Sequence[zoo.Source]) -> list[list[zoo.Source]]:
  """Sources at one place, two or more each."""
  groups = splits.groups_by_position(*_positions(sources), _SAME_ARCSEC)
  members: dict[int, list[zoo.Source]] = {}
  for source, group in zip(sources, groups, strict=True):
    members.setdefault(int(group), []).append(source)
  return [same for same in members.values() if len(same) > 1]


def _positions(sources: Sequence[zoo.Source]) -> tuple[np.ndarray, np.ndarray]:
  return (
    np.array([s.ra_deg for s in sources]),
    np.array([s.dec_deg for s in sources]),
  )


def _split(
  folder: pathlib.Path,
  sources: Sequence[zoo.Source],
  radius_arcsec: float,
  fractions: Sequence[float],
  seed: int,
) -> list[str]:
  if not sources:
    raise ValueError(f'{folder}: no source is left. See sources.csv there.')
  named = zip(SPLITS, fractions, strict=True)
  try:
    drawn = splits.stratified_split(
      np.array([s.label for s in sources]),
      fractions={split: share for split, share in named if share},
      seed=seed,
      groups=splits.groups_by_position(*_positions(sources), radius_arcsec),
    )
  except ValueError as error:
    raise ValueError(
      f'{folder}: {error} (--fractions 0.8,0,0.2 leaves valid out, 1,0,0 test '
      'too.)'
    ) from error
  return [str(split) for split in drawn]
