"""A table, and its forms: markdown, CSV and LaTeX."""

import csv
import dataclasses
import io
import math

NONE = '–'


@dataclasses.dataclass(frozen=True)
class Score:
  """A share; shown in percent.

  Attributes:
    mean: in [0, 1].
    sd: standard deviation; NaN where there is none, as of a single seed.
    low: end of the 95 % interval; NaN where there is none.
    high: its other end.
  """

  mean: float
  sd: float = math.nan
  low: float = math.nan
  high: float = math.nan


# None is shown as a dash.
Cell = str | int | float | Score | None

_PARTS = {
  'mean': '',
  'sd': ', sd',
  'low': ', 95 % low',
  'high': ', 95 % high',
}


@dataclasses.dataclass(frozen=True)
class Table:
  """A table of a report.

  Attributes:
    name: of its files: letters, digits, '_', '.' and '-'.
    title: above it.
    head: names of the columns.
    rows: as many cells each.
    notes: below it.
  """

  name: str
  title: str
  head: tuple[str, ...]
  rows: tuple[tuple[Cell, ...], ...]
  notes: tuple[str, ...] = ()


def text(cell: Cell) -> str:
  """A cell, to read."""
  if cell is None or cell == '':
    return NONE
  if isinstance(cell, Score):
    shown = f'{100 * cell.mean:.1f}'
    if not math.isnan(cell.sd):
      shown += f' ± {100 * cell.sd:.1f}'
    if not math.isnan(cell.low):
      shown += f' ({100 * cell.low:.1f} to {100 * cell.high:.1f})'
    return shown
  return f'{cell:.3g}' if isinstance(cell, float) else str(cell)


def markdown(table: Table) -> str:
  """The table with its title and its notes."""
  lines = [
    f'**{marked(table.title)}**',
    '',
    f'| {" | ".join(map(marked, table.head))} |',
    '| --- ' * len(table.head) + '|',
  ]
  lines += [
    f'| {" | ".join(marked(text(cell)) for cell in row)} |'
    for row in table.rows
  ]
  for note in table.notes:
    lines += ['', marked(note)]
  return '\n'.join(lines)


def marked(words: str) -> str:
  """Words that markdown does not take for markup or HTML."""
  for sign in '\\|*_`<':
    words = words.replace(sign, f'\\{sign}')
  return ' '.join(words.split())


def comma_separated(table: Table) -> str:
  """Numbers for programs: a score has a column for each of its parts."""
  columns = []
  for name, *cells in zip(table.head, *table.rows, strict=True):
    if not any(isinstance(cell, Score) for cell in cells):
      columns.append([name, *('' if c is None else c for c in cells)])
      continue
    for part, suffix in _PARTS.items():
      values = [_part(cell, part) for cell in cells]
      if any(value != '' for value in values):
        columns.append([name + suffix, *values])
  file = io.StringIO()
  csv.writer(file, lineterminator='\n').writerows(zip(*columns, strict=True))
  return file.getvalue()


def _part(cell: Cell, part: str) -> Cell:
  """In percent; '' for none; what is no score stands in its mean's column."""
  if not isinstance(cell, Score):
    return cell if cell is not None and part == 'mean' else ''
  value = getattr(cell, part)
  return '' if math.isnan(value) else f'{100 * value:.6g}'


_SIGNS = {
  '\\': r'\textbackslash{}',
  '^': r'\textasciicircum{}',
  '~': r'\textasciitilde{}',
  '<': r'\textless{}',
  '>': r'\textgreater{}',
  '|': r'\textbar{}',
  '±': r'$\pm$',
  '−': r'$-$',
  '–': '--',
  **{sign: f'\\{sign}' for sign in '&%$#_{}'},
}


def latex(table: Table) -> str:
  """A table for a paper; wants the package booktabs."""
  first = next(iter(table.rows), table.head)
  align = ''.join('l' if isinstance(c, str) else 'r' for c in first)
  lines = [
    r'% \usepackage{booktabs}',
    r'\begin{table}',
    r'\centering\small',
    rf'\caption{{{_escaped(table.title)}}}',
    rf'\label{{tab:{table.name}}}',
    rf'\begin{{tabular}}{{{align}}}',
    r'\toprule',
    _line(table.head),
    r'\midrule',
    *(_line(map(text, row)) for row in table.rows),
    r'\bottomrule',
    r'\end{tabular}',
    *(rf'\par\footnotesize {_escaped(note)}' for note in table.notes),
    r'\end{table}',
  ]
  return '\n'.join([*lines, ''])


def _line(cells) -> str:
  return ' & '.join(map(_escaped, cells)) + r' \\'


def _escaped(words: str) -> str:
  return ''.join(_SIGNS.get(sign, sign) for sign in words)
