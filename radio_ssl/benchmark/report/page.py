"""The report of a benchmark: a page that works offline, tables and pictures."""

import logging
import pathlib
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import bokeh.embed
import bokeh.resources
import jinja2
import markupsafe

import radio_ssl
from radio_ssl import progress
from radio_ssl.benchmark.report import (
  curves,
  data,
  figures,
  looks,
  scores,
  sections,
  tables,
)

_LOG = logging.getLogger(__name__)


def write(
  results: Sequence[data.Result],
  search: Sequence[data.SearchRow],
  comparisons: Sequence[tuple[str, str]],
  output: pathlib.Path,
  *,
  title: str,
  missing: Sequence[str] = (),
  left_out: Sequence[str] = (),
) -> list[pathlib.Path]:
  """Writes report.html, report.md, `tables/` and `plots/`.

  All are whole before any of them takes the place of an older one; tables and
  plots of the older report are removed.

  Args:
    results: finished evaluations.
    search: learning rates that were tried.
    comparisons: pairs of methods, fixed before any result was known.
    output: folder; it need not exist.
    title: of the page.
    missing: names of what is not finished.
    left_out: what the benchmark lacks because it cannot be, a line each.

  Returns:
    The files.

  Raises:
    ValueError: no results, or one that cannot be read or does not belong to
      the others; names the file.
  """
  if not results:
    raise ValueError('No evaluation is finished; there is nothing to report.')
  if output.is_file():
    raise ValueError(f'{output}: a file; wanted a folder for the report.')
  rows = data.rows(results)
  training = curves.of(rows)
  its = sections.all_of(
    rows, search, comparisons, training, missing=missing, left_out=left_out
  )
  files: dict[str, Any] = {
    'report.html': _html(title, rows, its),
    **_table_files(its),
  }
  pictures = figures.all_of(rows, training, looks.of(rows), scores.file_name)
  files['report.md'] = _markdown(title, its, list(pictures))
  return _replace(files, pictures, output)


def _html(title: str, rows, its: Sequence[sections.Section]) -> str:
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader(__package__, '.'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters['text'] = tables.text
  drawn = {
    f'{section.name}-{i}': figure
    for section in its
    for i, figure in enumerate(section.plots)
  }
  script, places = '', {}
  if drawn:
    # Bokeh escapes what comes from data.
    script, places = bokeh.embed.components(drawn)
  resources = bokeh.resources.Resources(mode='inline', components=['bokeh'])
  return environment.get_template('page.html').render(
    title=title,
    version=radio_ssl.__version__,
    commits=_commits(rows),
    sections=its,
    script=markupsafe.Markup(script),
    plots={name: markupsafe.Markup(place) for name, place in places.items()},
    resources=markupsafe.Markup(resources.render()),
  )


def _commits(rows) -> list[str]:
  """Of the code that made the results."""
  return sorted(
    {str(it.get('commit'))[:12] for row in rows for it in row.stored}
  )


def _table_files(its: Sequence[sections.Section]) -> dict[str, str]:
  found = {}
  for section in its:
    for table in section.tables:
      if f'tables/{table.name}.csv' in found:
        raise ValueError(
          f'Two tables would be tables/{table.name}.csv; give label sets and '
          'protocols names that differ in letters or digits.'
        )
      found[f'tables/{table.name}.csv'] = tables.comma_separated(table)
      found[f'tables/{table.name}.tex'] = tables.latex(table)
  return found


def _markdown(
  title: str, its: Sequence[sections.Section], pictures: Sequence[str]
) -> str:
  lines = [f'# {tables.marked(title)}']
  for section in its:
    lines += ['', f'## {section.title}', '', section.text]
    for table in section.tables:
      lines += ['', tables.markdown(table)]
    lines += ['', *(f'- {tables.marked(note)}' for note in section.notes)]
  lines += ['', '## Pictures', '']
  lines += [f'![{name}](plots/{name}.png)\n' for name in pictures]
  return '\n'.join(lines)


def _replace(
  files: Mapping[str, str], pictures: Mapping[str, Any], output: pathlib.Path
) -> list[pathlib.Path]:
  """Writes all files beside the folder, then moves them into it."""
  # `.` and `..` have no name to put another beside.
  output = output.resolve()
  output.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(
    dir=output.parent, prefix=f'{output.name}.', suffix='.tmp'
  ) as folder:
    temporary = pathlib.Path(folder)
    for part in ('tables', 'plots'):
      (temporary / part).mkdir()
    for name, text in files.items():
      (temporary / name).write_text(text, encoding='utf-8')
    _draw(pictures, temporary / 'plots')
    # Tables and pictures of an older report would be taken for this one's.
    for part in ('tables', 'plots'):
      shutil.rmtree(output / part, ignore_errors=True)
      (output / part).mkdir(parents=True)
    return [
      file.replace(output / file.relative_to(temporary))
      for file in sorted(temporary.rglob('*.*'))
    ]


def _draw(pictures: Mapping[str, Any], folder: pathlib.Path) -> None:
  begun = last = time.monotonic()
  for number, (name, make) in enumerate(pictures.items(), start=1):
    figure = make()
    for suffix in ('png', 'pdf'):
      figure.savefig(folder / f'{name}.{suffix}', dpi=200)
    now = time.monotonic()
    if now - last > 10:
      left = (now - begun) / number * (len(pictures) - number)
      _LOG.info(
        'Pictures: %d of %d, ETA %s.',
        *(number, len(pictures), progress.duration(left)),
      )
      last = now
