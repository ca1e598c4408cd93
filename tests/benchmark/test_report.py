"""The report says what the results say, and nothing of theirs is markup."""

import csv
import html.parser
import json

import numpy as np
import pytest

from radio_ssl.benchmark.report import (
  data,
  families,
  looks,
  page,
  pooled,
  scores,
  tables,
)
from radio_ssl.evaluate import metrics

_LABELS = [0, 0, 0, 1, 1, 1]
_RIGHT, _ONE_WRONG, _HALF = [0, 0, 0, 1, 1, 1], [1, 0, 0, 1, 1, 1], [0] * 6


def _scored(guesses, names, sure=0.9):
  probabilities = np.full((len(guesses), len(names)), 0.0)
  probabilities += (1 - sure) / (len(names) - 1)
  probabilities[np.arange(len(guesses)), guesses] = sure
  labels = np.array(_LABELS) % len(names)
  size = metrics.by_property(
    np.array(guesses) == labels, np.arange(6.0), num_bins=2
  )
  return {
    'scores': metrics.score(labels, probabilities, names, num_bootstrap=50),
    'by_property': {'size_beams': size},
    'predictions': [
      {'name': f's{i}', 'label': int(label), 'probabilities': list(row)}
      for i, (label, row) in enumerate(zip(labels, probabilities, strict=True))
    ],
  }


@pytest.fixture
def result(tmp_path):
  """Writes a results.json; its other fields may be changed."""

  def result(
    method='simclr',
    seed=0,
    *,
    guesses=_ONE_WRONG,
    test=None,
    encoder='small',
    corpus='sky',
    label_set='mirabest',
    protocol='linear',
    names=('FRI', 'FRII'),
    run=None,
    **fields,
  ):
    names = list(names)
    folder = tmp_path / '-'.join(
      [label_set, protocol, method, encoder, corpus, str(seed)]
    ).replace('/', '_')
    folder.mkdir()
    stored = {
      'encoder': method,
      'protocol': protocol,
      'commit': 'abc',
      'config': {
        'num_bootstrap': 50,
        'data': {'train': 'train', 'test': 'test' if test else ''},
      },
      'dataset': {'directory': f'/d/{label_set}/1.0.0', 'fingerprint': 'f'},
      'label_names': names,
      'cross_validation': _scored(guesses, names),
      **fields,
    }
    if corpus:
      stored.setdefault('overlap', {'showing': {'train': 0, 'test': 0}})
    if test:
      stored['test'] = _scored(test, names)
    (folder / 'results.json').write_text(json.dumps(stored))
    return data.Result(
      *(method, encoder, corpus, seed, label_set, protocol, folder, run)
    )

  return result


def _write(its, output, **settings):
  settings = {'title': 'T', 'search': [], 'comparisons': [], **settings}
  search, pairs = settings.pop('search'), settings.pop('comparisons')
  return page.write(its, search, pairs, output, **settings)


def _csv(folder, name):
  with open(folder / 'tables' / f'{name}.csv', newline='') as file:
    return list(csv.DictReader(file))


def test_seeds_share_a_row_in_their_order(result):
  (row,) = data.rows([result(seed=2), result(seed=0, guesses=_RIGHT)])
  assert [it.seed for it in row.results] == [0, 2]
  assert [
    it['cross_validation']['scores']['accuracy'] for it in row.stored
  ] == pytest.approx([1, 5 / 6])


def test_other_corpus_encoder_protocol_or_label_set_is_another_row(result):
  its = [
    result(),
    result(corpus='sea'),
    result(encoder='large'),
    result(protocol='knn'),
    result(label_set='frg'),
  ]
  assert len(data.rows(its)) == 5


def test_seed_that_comes_twice_is_refused(result):
  one = result()
  with pytest.raises(ValueError, match=r'seed 0 of simclr on mirabest is in'):
    data.rows([one, one])


def test_results_on_another_content_are_refused(result):
  other = {'directory': '/d/mirabest', 'fingerprint': 'g'}
  with pytest.raises(ValueError, match=r'byol.*are not those of.*simclr'):
    data.rows([result(), result('byol', dataset=other)])


def test_seeds_scored_on_other_sources_are_refused(result):
  short = _scored(_RIGHT, ['FRI', 'FRII'])
  short['predictions'].pop()
  with pytest.raises(ValueError, match="'cross_validation' has 5 sources"):
    data.rows([result(), result(seed=1, cross_validation=short)])


def test_file_of_something_else_is_named(result):
  its = result()
  (its.folder / 'results.json').write_text('{"label_names": []}')
  with pytest.raises(ValueError, match=r'results\.json'):
    data.rows([its])


def test_scores_are_mean_and_deviation_over_seeds(result, tmp_path):
  _write(
    [result(guesses=_RIGHT), result(seed=1), result('byol', guesses=_HALF)],
    tmp_path / 'out',
  )
  best, last = _csv(tmp_path / 'out', 'scores-mirabest-linear-cross_validation')
  assert best['method'] == 'simclr'
  assert best['seeds'] == '2'
  assert float(best['accuracy (%)']) == pytest.approx(100 * 11 / 12, abs=1e-3)
  # Of 1 and 5 / 6.
  assert float(best['accuracy (%), sd']) == pytest.approx(11.785, abs=1e-3)
  low = float(best['accuracy (%), 95 % low'])
  assert 50 < low < 100 * 11 / 12
  # Sure by 0.9 where 1 or 5 / 6 are right: 0.1 and 0.0667.
  assert float(best['ECE (%)']) == pytest.approx(8.333, abs=1e-3)
  assert float(last['accuracy (%)']) == 50
  assert last['accuracy (%), sd'] == ''


def test_test_split_counts_where_there_is_one(result, tmp_path):
  its = [
    result(test=_RIGHT, scored='holdout'),
    result('byol', test=_HALF, scored='holdout'),
  ]
  _write(its, tmp_path / 'out', comparisons=[('simclr', 'byol')])
  rows = _csv(tmp_path / 'out', 'scores-mirabest-linear-hold_out')
  assert [float(row['accuracy (%)']) for row in rows] == [100, 50]
  (line,) = _csv(tmp_path / 'out', 'comparisons-mirabest-linear')
  assert line['first - second (points)'] == '+50.0'
  text = (tmp_path / 'out' / 'report.md').read_text()
  assert '**mirabest, linear: differences in accuracy, hold-out**' in text


@pytest.mark.parametrize(
  ('overlap', 'mark', 'note'),
  [
    ({'showing': {'train': 3}}, 'transductive *', 'on images of scored'),
    ({'unknown': 'no positions'}, 'unknown ?', 'no positions'),
    ({'showing': {'train': 0}}, 'no', ''),
  ],
)
def test_pretraining_that_saw_scored_sources_is_marked(
  result, tmp_path, overlap, mark, note
):
  its = [
    result(scored='train', overlap=overlap),
    result('untrained', corpus=''),
  ]
  _write(its, tmp_path / 'out')
  rows = _csv(tmp_path / 'out', 'scores-mirabest-linear-cross_validation')
  found = {row['method']: row['saw scored sources'] for row in rows}
  assert found == {'simclr': mark, 'untrained': ''}
  text = (tmp_path / 'out' / 'report.md').read_text()
  assert note in text
  assert ('transductive' in text) == (mark == 'transductive *')


def test_baseline_stands_for_all_pretraining_sets(result):
  rows = data.rows(
    [
      result(corpus='sky', guesses=_RIGHT),
      result(corpus='sea'),
      result('untrained', encoder='', corpus='', guesses=_HALF),
    ]
  )
  family = families.compare(rows, [('simclr', 'untrained'), ('simclr', 'byol')])
  assert [it.names for it in family.differences] == [
    ('simclr, small, sky', 'untrained'),
    ('simclr, small, sea', 'untrained'),
  ]
  assert family.absent == ['simclr - byol']
  # Two of a family: the smaller p counts twice.
  least = min(family.differences, key=lambda it: it.p)
  assert least.p_holm == pytest.approx(min(1, 2 * least.p))


def test_baseline_of_the_same_encoder_is_taken(result):
  rows = data.rows(
    [
      result(),
      result('untrained', corpus='', encoder='large'),
      result('untrained', corpus=''),
    ]
  )
  family = families.compare(rows, [('simclr', 'untrained')])
  assert [it.names for it in family.differences] == [
    ('simclr, small, sky', 'untrained, small')
  ]


def test_methods_of_other_pretraining_sets_are_not_compared(result):
  rows = data.rows([result(corpus='sky'), result('byol', corpus='sea')])
  family = families.compare(rows, [('simclr', 'byol')])
  assert not family.differences


def test_a_method_is_compared_on_two_pretraining_sets(result):
  rows = data.rows(
    [
      *(result(corpus=corpus) for corpus in ('sky', 'sea', 'sand')),
      result('untrained', encoder='', corpus=''),
    ]
  )
  family = families.compare(
    rows, [('simclr@sky', 'simclr@sea'), ('simclr@sea', 'untrained')]
  )
  assert [it.names for it in family.differences] == [
    ('simclr, small, sky', 'simclr, small, sea'),
    ('simclr, small, sea', 'untrained'),
  ]


def test_paper_stands_beside_linear_probes_on_mirabest_alone(result):
  (row, *others) = data.rows(
    [result(), result(protocol='knn'), result(label_set='frg')]
  )
  table = scores.with_paper([row])
  lines = {line[0]: line[1:] for line in table.rows}
  assert tables.text(lines['simclr'][0]) == '91.0'
  assert tables.text(lines['simclr'][3]).startswith('83.3 (')
  assert tables.text(lines['swav'][3]) == tables.NONE
  assert not any(scores.with_paper([other]) for other in others)


def test_accuracy_by_size_is_over_seeds(result):
  # Source 0 is the one that is wrong: of the three smallest.
  rows = data.rows([result(), result(seed=1, guesses=_RIGHT)])
  table = scores.by_property(rows, 'size_beams')
  assert table.head[3:] == ('0 to 2 (3)', '3 to 5 (3)')
  assert [tables.text(cell) for cell in table.rows[0][3:]] == [
    '83.3 ± 23.6',
    '100.0 ± 0.0',
  ]
  assert scores.by_property(rows, 'peak_snr') is None


def test_label_curve_is_over_draws_and_seeds(result):
  curve = [{'labels_per_class': 5, 'accuracy': {'values': [0.5, 0.7]}}]
  more = [{'labels_per_class': 5, 'accuracy': {'values': [0.6]}}]
  (row,) = data.rows(
    [result(label_curve=curve), result(seed=1, label_curve=more)]
  )
  assert tables.text(pooled.label_curve(row)[5]) == '60.0 ± 10.0'


def test_learning_rates_show_what_was_chosen_and_what_diverged(tmp_path):
  rows = [
    data.SearchRow('simclr', 'small', 0.1, 0.75, True),
    data.SearchRow('simclr', 'small', 1.0, None, False),
  ]
  assert scores.search(rows).rows == (
    ('simclr', 'small', '75.0 (chosen)', 'diverged'),
  )


class _Parser(html.parser.HTMLParser):
  """Tags, and what a page would load."""

  def __init__(self):
    super().__init__()
    self.tags, self.loads = [], []

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    its = dict(attrs)
    for name in ('src', 'href'):
      if (place := its.get(name)) and not place.startswith(('data:', '#')):
        self.loads.append(place)


def test_page_needs_no_other_file_and_names_are_no_markup(result, tmp_path):
  evil = '<img src=x onerror=alert(1)>'
  its = [
    result(evil, names=('<b>', 'A|B', 'C')),
    result('byol', names=('<b>', 'A|B', 'C'), guesses=_HALF),
  ]
  _write(its, tmp_path / 'out', title=evil, missing=[evil], left_out=[evil])
  parser = _Parser()
  parser.feed((tmp_path / 'out' / 'report.html').read_text())
  assert not parser.loads
  assert not {'img', 'b', 'link', 'iframe'} & set(parser.tags)
  assert 'table' in parser.tags
  text = (tmp_path / 'out' / 'report.md').read_text()
  assert '<img' not in text.replace('\\<img', '')


def test_four_classes_of_a_single_result_have_a_whole_report(result, tmp_path):
  files = _write([result(names='abcd')], tmp_path / 'out')
  names = {str(file.relative_to(tmp_path / 'out')) for file in files}
  assert {
    'report.html',
    'report.md',
    'tables/scores-mirabest-linear-cross_validation.tex',
    'plots/confusion-mirabest-linear-simclr-small-sky.pdf',
    'plots/reliability-mirabest-linear.png',
  } <= names


def test_latex_has_no_bare_signs(result):
  table = tables.Table('t', '5 % of A_B & C', ('a', 'b'), (('x_y', None),))
  text = tables.latex(table)
  assert r'\caption{5 \% of A\_B \& C}' in text
  assert r'x\_y & -- \\' in text


def test_new_report_replaces_the_old_one_whole(result, tmp_path):
  output = tmp_path / 'out'
  _write([result()], output)
  _write([result(label_set='frg')], output)
  assert not list((output / 'tables').glob('*mirabest*'))
  assert list((output / 'tables').glob('*frg*'))
  assert [path.name for path in tmp_path.glob('*.tmp')] == []


def test_report_that_fails_leaves_the_old_one(result, tmp_path, monkeypatch):
  output = tmp_path / 'out'
  _write([result()], output)
  before = sorted((p, p.stat().st_mtime_ns) for p in output.rglob('*.*'))

  def fail(*args):
    raise OSError('disk full')

  monkeypatch.setattr(page, '_draw', fail)
  with pytest.raises(OSError, match='disk full'):
    _write([result(label_set='frg')], output)
  assert (
    sorted((p, p.stat().st_mtime_ns) for p in output.rglob('*.*')) == before
  )


def test_nothing_finished_is_no_report(tmp_path):
  with pytest.raises(ValueError, match='nothing to report'):
    _write([], tmp_path / 'out')


def test_methods_have_one_colour_and_places_one_dash(result):
  rows = data.rows(
    [
      result(corpus='sky'),
      result(corpus='sea'),
      result('byol', corpus='sea'),
      result('untrained', corpus=''),
    ]
  )
  style = looks.of(rows)
  first = style['simclr', 'small', 'sky']
  other = style['simclr', 'small', 'sea']
  assert first.colour == other.colour
  assert first.dash != other.dash
  assert other.dash == style['byol', 'small', 'sea'].dash
  assert len({look.colour for look in style.values()}) == 3
