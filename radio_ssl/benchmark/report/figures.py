"""The pictures of a report as files, for papers and talks."""

import pathlib
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from radio_ssl.benchmark.report import curves, data, looks, pooled
from radio_ssl.evaluate import pictures

Looks = Mapping[tuple[str, str, str], looks.Look]


def confusion_matrix(row: data.Row, split: str) -> Figure:
  """Counts of all seeds together."""
  num = len(row.of(split))
  seeds = f'{num} seeds together' if num > 1 else 'one seed'
  return pictures.confusion_matrix(
    pooled.confusion(row, split),
    row.label_names,
    f'{row.label}\n{", ".join(row.group)}: '
    f'{data.split_name([row], split)}, {seeds}',
  )


def _line(look: looks.Look) -> dict[str, str]:
  return {
    'color': look.colour,
    'linestyle': look.dash,
    'marker': look.markers[1],
  }


def _legend(figure: Figure, axes) -> None:
  """Below the axes: encoders may be many."""
  handles, labels = axes.get_legend_handles_labels()
  unique = dict(zip(labels, handles, strict=True))
  figure.legend(
    unique.values(),
    unique.keys(),
    loc='outside lower center',
    ncols=2,
    fontsize='small',
  )


def _figure(width: float, height: float, num_rows: int) -> Figure:
  """A figure with room for a legend of as many rows."""
  return Figure(figsize=(width, height + 0.12 * num_rows), layout='constrained')


def label_curves(rows: Sequence[data.Row], style: Looks) -> Figure:
  """Accuracy over labels of each class; rows that have such scores."""
  figure = _figure(6, 4, len(rows))
  axes = figure.subplots()
  counts = set()
  for row in rows:
    curve = pooled.label_curve(row)
    counts |= curve.keys()
    axes.errorbar(
      list(curve),
      [100 * point.mean for point in curve.values()],
      [100 * point.sd for point in curve.values()],
      capsize=3,
      label=row.label,
      **_line(style[row.key]),
    )
  axes.set(
    xscale='log',
    xlabel='labels of each class',
    ylabel='accuracy (%), mean ± sd of draws and seeds',
    title=', '.join(rows[0].group),
  )
  axes.set_xticks(sorted(counts), sorted(counts))
  axes.minorticks_off()
  _legend(figure, axes)
  return figure


def reliability(rows: Sequence[data.Row], style: Looks) -> Figure:
  """Share of right predictions over their confidence, out of fold."""
  figure = _figure(5, 4.5, len(rows))
  axes = figure.subplots()
  axes.plot([0, 1], [0, 1], color='0.6', linestyle=':')
  least = 1.0
  for row in rows:
    found = pooled.calibration(row, 'cross_validation')
    bins = [it for it in found['bins'] if it['num_examples']]
    least = min(least, *(it['low'] for it in bins))
    axes.plot(
      [it['confidence'] for it in bins],
      [it['accuracy'] for it in bins],
      label=f'{row.label}: ECE {100 * found["expected_calibration_error"]:.1f}',
      **_line(style[row.key]),
    )
  axes.set(
    xlabel='confidence',
    ylabel='share that is right',
    xlim=(least, 1),
    ylim=(0, 1),
    title=f'{", ".join(rows[0].group)}: cross-validation',
  )
  _legend(figure, axes)
  return figure


def training(
  runs: Mapping[pathlib.Path, data.Row],
  found: Mapping[pathlib.Path, Mapping[str, curves.Curve]],
  style: Looks,
  title: str,
) -> Figure:
  """The training curves that runs have, a line a run; seeds look alike."""
  shown = {
    name: label
    for name, label in curves.NAMES.items()
    if any(name in found[run] for run in runs)
  }
  figure = _figure(9, 6, len({row.key for row in runs.values()}))
  panels = figure.subplots(2, 2, sharex=True).ravel()
  for axes in panels[len(shown) :]:
    axes.remove()
  for axes, (name, label) in zip(panels, shown.items(), strict=False):
    for run, row in runs.items():
      if name in found[run]:
        look = style[row.key]
        axes.plot(
          *found[run][name], color=look.colour, linewidth=1, label=row.key[0]
        )
    # Below some there is no other.
    axes.set(ylabel=label, xlabel='step')
    axes.tick_params(labelbottom=True)
  figure.suptitle(title)
  _legend(figure, panels[0])
  return figure


def all_of(
  rows: Sequence[data.Row],
  found: Mapping[pathlib.Path, Mapping[str, curves.Curve]],
  style: Looks,
  file_name,
):
  """All pictures, each made when it is asked for.

  Args:
    rows: of the whole benchmark.
    found: curves of its runs.
    style: of the rows.
    file_name: makes a name for files of several others.

  Returns:
    Name -> function without arguments that gives the figure.
  """
  made = {}
  for group, its in data.grouped(rows).items():
    split = data.final(its)
    for row in its:
      if row.of(split):
        name = file_name('confusion', *group, *row.key)
        made[name] = lambda row=row, split=split: confusion_matrix(row, split)
    curved = [row for row in its if pooled.label_curve(row)]
    if curved:
      name = file_name('label_curve', *group)
      made[name] = lambda its=curved: label_curves(its, style)
    name = file_name('reliability', *group)
    made[name] = lambda its=its: reliability(its, style)
  for place, runs in curves.by_place(rows).items():
    if any(found[run] for run in runs):
      title = ', '.join(filter(None, place))
      made[file_name('training', *place)] = lambda runs=runs, title=title: (
        training(runs, found, style, title)
      )
  return made
