"""The parts of the page, each from all the rows."""

import dataclasses
import logging
import pathlib
from collections.abc import Mapping, Sequence

import bokeh.plotting

from radio_ssl.benchmark.report import (
  atlas,
  curves,
  data,
  embedding,
  families,
  looks,
  plots,
  pooled,
  scores,
  tables,
)

_LOG = logging.getLogger(__name__)

# An image on the map takes about 1.2 kB of the page.
_MOST_IMAGES = 5000


@dataclasses.dataclass(frozen=True)
class Matrix:
  """A confusion matrix.

  Attributes:
    title: above it.
    labels: names of the classes.
    counts: [true][predicted], of all seeds together.
    shares: of the true class, in percent, likewise.
  """

  title: str
  labels: list[str]
  counts: list[list[int]]
  shares: list[list[float]]


_Tables = Sequence[tables.Table]


@dataclasses.dataclass(frozen=True)
class Section:
  """A part of the page.

  Attributes:
    name: of its anchor.
    title: above it.
    text: what it shows, or why there is nothing in it.
    tables: of it.
    plots: of it, by bokeh.
    matrices: titles, and confusion matrices.
    galleries: title and rows of pictures.
    notes: below.
  """

  name: str
  title: str
  text: str
  tables: _Tables = ()
  plots: Sequence[bokeh.plotting.figure] = ()
  matrices: Sequence[tuple[str, list[Matrix]]] = ()
  galleries: Sequence[tuple[str, list[list[atlas.Picture]]]] = ()
  notes: Sequence[str] = ()


def all_of(
  rows: Sequence[data.Row],
  search: Sequence[data.SearchRow],
  pairs: Sequence[tuple[str, str]],
  training: Mapping[pathlib.Path, Mapping[str, curves.Curve]],
  *,
  missing: Sequence[str],
  left_out: Sequence[str],
) -> list[Section]:
  """The sections in their order.

  Args:
    rows: of the whole benchmark.
    search: learning rates that were tried.
    pairs: of methods, to compare.
    training: curves of the runs of `rows`.
    missing: as for `page.write`.
    left_out: likewise.
  """
  style = looks.of(rows)
  return [
    _status(rows, missing, left_out),
    *_scores(rows, pairs, style),
    _search(search),
    _confusion(rows),
    _label_curves(rows, style),
    _reliability(rows, style),
    _properties(rows, style),
    _training(rows, training, style),
    *_embedding(rows),
  ]


def _status(rows, missing: Sequence[str], left_out: Sequence[str]) -> Section:
  num = sum(len(row.results) for row in rows)
  notes = [f'Not finished: {name}' for name in missing]
  notes += [f'Not part of the benchmark: {line}' for line in left_out]
  return Section(
    name='status',
    title='What is finished',
    text=f'Of {num + len(missing)} evaluations {num} are finished.',
    tables=[scores.counts(rows)],
    notes=notes,
  )


def _scores(rows, pairs, style) -> list[Section]:
  """The scores, the comparisons, and the paper's numbers."""
  found, papers, overview = [], [], []
  for its in data.grouped(rows).values():
    found += scores.main(its)
    overview.append(plots.accuracies(its, style))
    if paper := scores.with_paper(its):
      papers.append(paper)
  return [
    Section(
      name='scores',
      title='Scores',
      text='Mean ± standard deviation over the pretraining seeds; in brackets '
      'the 95 % interval of the mean, by bootstrap over the scored sources '
      '(balanced accuracy and ECE, the expected calibration error: without '
      'one). The rows of all tables of a label set and protocol are in the '
      'order of the cross-validated accuracy.',
      tables=found,
      plots=overview,
    ),
    _comparisons(rows, pairs),
    Section(
      name='paper',
      title='Beside the paper',
      text='MiraBest is the labelled set that this benchmark and Cecconello '
      'et al. 2024 (arXiv:2411.14078) share.'
      if papers
      else 'No linear probe on MiraBest is among the results.',
      tables=papers,
    ),
  ]


def _comparisons(rows, pairs) -> Section:
  compared, notes = [], []
  for group, its in data.grouped(rows).items() if pairs else ():
    family = families.compare(its, pairs)
    if family.differences:
      compared.append(families.table(its, family))
    if family.absent:
      notes.append(
        f'{", ".join(group)}: not compared, as one of the two has no results: '
        f'{"; ".join(family.absent)}.'
      )
  return Section(
    name='comparisons',
    title='Comparisons',
    text='Pairs of methods that were fixed beforehand, for each encoder and '
    'pretraining set that both have. The comparisons of a label set and '
    'protocol are one family; the families are not corrected for each other.'
    if pairs
    else 'No comparisons were fixed beforehand.',
    tables=compared,
    notes=notes,
  )


def _search(search: Sequence[data.SearchRow]) -> Section:
  return Section(
    name='learning_rates',
    title='Learning rates',
    text='Each method was tried with several, and went on with the best '
    'cross-validated one.'
    if search
    else 'There was no search.',
    tables=[scores.search(search)] if search else [],
  )


def _confusion(rows) -> Section:
  matrices = []
  for group, its in data.grouped(rows).items():
    split = data.final(its)
    drawn = [
      _matrix(row, split) for row in scores.by_accuracy(its) if row.of(split)
    ]
    title = f'{", ".join(group)}: {data.split_name(its, split)}'
    matrices.append((title, drawn))
  return Section(
    name='confusion',
    title='Confusion matrices',
    text='Counts of all seeds together; in percent of the true class, which '
    'is the row.',
    matrices=matrices,
  )


def _matrix(row: data.Row, split: str) -> Matrix:
  counts = pooled.confusion(row, split)['confusion_matrix']
  num = len(row.of(split))
  return Matrix(
    title=f'{row.label} ({num} {"seed" if num == 1 else "seeds"})',
    labels=row.label_names,
    counts=counts,
    shares=[[100 * n / max(sum(line), 1) for n in line] for line in counts],
  )


def _label_curves(rows, style) -> Section:
  groups = data.grouped(rows).values()
  found = [it for its in groups if (it := scores.label_curves(its))]
  return Section(
    name='labels',
    title='Label curves',
    text='Accuracy of probes that learnt from a few labels of each class; '
    'whiskers are the standard deviation over draws of labels and seeds.'
    if found
    else 'No result has scores by number of labels.',
    tables=found,
    plots=[it for its in groups if (it := plots.label_curves(its, style))],
  )


def _reliability(rows, style) -> Section:
  return Section(
    name='reliability',
    title='Reliability',
    text='How often predictions are right over how sure they were, out of '
    'fold, seeds together: on the dotted line the two agree. Points of few '
    'predictions scatter.',
    plots=[
      plots.reliability(its, style) for its in data.grouped(rows).values()
    ],
  )


def _properties(rows, style) -> Section:
  found, drawn, notes = [], [], []
  for group, its in data.grouped(rows).items():
    for name, shown in scores.PROPERTIES.items():
      if (table := scores.by_property(its, name)) is None:
        notes.append(f'{", ".join(group)}: {shown} is not known.')
        continue
      found.append(table)
      drawn.append(plots.by_property(its, name, style))
  return Section(
    name='properties',
    title='By brightness and size',
    text='Accuracy of the sources in each quarter of a property: mean ± '
    'standard deviation over the seeds.',
    tables=found,
    plots=drawn,
    notes=notes,
  )


def _training(rows, found, style) -> Section:
  drawn, notes = [], []
  for place, runs in curves.by_place(rows).items():
    figures_of_place = plots.training(runs, found, style)
    for figure in figures_of_place:
      figure.title.text = f'{", ".join(place)}: {figure.title.text}'
    drawn += figures_of_place
    notes += [f'{run}: no metrics.jsonl.' for run in runs if not found[run]]
  return Section(
    name='training',
    title='Training',
    text='A line a run. Losses of different methods are not comparable. A '
    'falling rank or standard deviation of the features is a collapse.'
    if drawn
    else 'No result has a pretraining run with metrics.',
    plots=drawn,
    notes=notes,
  )


def _embedding(rows) -> list[Section]:
  """A map and a gallery of each label set's best encoder."""
  best = embedding.best(rows)
  maps, galleries, notes = [], [], []
  for label_set in dict.fromkeys(row.group[0] for row in rows):
    if label_set not in best:
      notes.append(f'{label_set}: no frozen encoder with a run here.')
      continue
    row = best[label_set]
    try:
      its = embedding.sources(row, most=min(1500, _MOST_IMAGES // len(best)))
    except (ValueError, OSError) as error:
      # Scores travel without checkpoints and images.
      _LOG.warning('No map of %s: %s', label_set, error)
      notes.append(f'{label_set}: not drawn, {error}')
      continue
    maps.append(atlas.plot(its))
    galleries.append((f'{label_set}: {row.label}', atlas.gallery(its)))
  return [
    Section(
      name='map',
      title='Map of the features',
      text='Of the encoder with the best cross-validated accuracy on each '
      'label set, and of its best seed: images that it finds alike lie close. '
      'Distances between groups mean nothing. The image, as the encoder sees '
      'it, shows under the pointer.',
      plots=maps,
      notes=notes,
    ),
    Section(
      name='gallery',
      title='Nearest neighbours',
      text='Images drawn by chance from the split that is scored, and those '
      'of the training split nearest to them by cosine of the standardised '
      'features of the same encoder (where nothing else is scored, of the '
      'training split itself). Green: of the same class; red: of another.',
      galleries=galleries,
      notes=notes,
    ),
  ]
