"""What is refused before any cell is run, each in one line."""

import dataclasses
import logging
import pathlib
import re
from collections.abc import Iterator, Sequence

from radio_ssl import pretrain
from radio_ssl.augment import inputs
from radio_ssl.benchmark import plan, settings, sources
from radio_ssl.evaluate import checks, features, online, protocols

_LOG = logging.getLogger(__name__)

_GROUPS = ('methods', 'encoders', 'corpora', 'label_sets', 'protocols')
# Of a baseline or checkpoint: what it is worth, where that is not all.
_ASKED = ('protocols', 'label_sets')
_NAMED = (*_GROUPS, 'baselines', 'checkpoints')
_FIELDS = (
  *_NAMED, 'title', 'base', 'seeds', 'learning_rates', 'search',
  'protocol_of_best', 'protocol_label_sets', 'protocol_corpora', 'comparisons',
)  # fmt: skip
# No hyphen: names of cells are made of these, with hyphens between.
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.+]*')


def structure(config) -> None:
  """Refuses a config whose parts are missing, strange or unfit for each other.

  Args:
    config: of the benchmark, as `configs/benchmark_small.py` documents it.

  Raises:
    ValueError: names the field, its value and what was wanted.
  """
  _fields(config, _FIELDS, 'config')
  for group in _GROUPS:
    if not config[group]:
      raise ValueError(f'config.{group} is empty; wanted one or more.')
  for group, name in _names(config):
    if not _NAME.fullmatch(name):
      raise ValueError(
        f'config.{group} has the name {name!r}; wanted letters, digits and '
        '"_", ".", "+", as a folder is named by it.'
      )
  for name, evaluation in config.protocols.items():
    where = f'config.protocols.{name}.protocol'
    _known(evaluation.protocol, protocols.names(), where)
  _disjoint(config)
  _numbers(config)
  _fields(
    config.search, ('corpus', 'seed', 'label_set', 'protocol'), 'config.search'
  )
  for field, group in (
    ('corpus', 'corpora'),
    ('label_set', 'label_sets'),
    ('protocol', 'protocols'),
  ):
    _known(config.search[field], config[group], f'config.search.{field}')
  _protocols_of_best(config)
  _others(config)


def _fields(group, wanted: Sequence[str], where: str) -> None:
  for field in sorted({*group, *wanted}):
    if field not in group or field not in wanted:
      problem = 'lacks the' if field in wanted else 'has no'
      raise ValueError(
        f'{where} {problem} field {field!r}; wanted {", ".join(wanted)}, as in '
        'configs/benchmark_small.py.'
      )


def _names(config) -> Iterator[tuple[str, str]]:
  for group in _NAMED:
    for name in config[group]:
      yield group, name


def _known(name: str, names, where: str) -> None:
  if name not in names:
    raise ValueError(f'{where} is {name!r}; wanted one of {", ".join(names)}.')


def _disjoint(config) -> None:
  """A row of the report has one name."""
  found: dict[str, str] = {}
  for group in ('methods', 'baselines', 'checkpoints'):
    for name in config[group]:
      if name in found:
        raise ValueError(
          f'config.{found[name]} and config.{group} both have {name!r}; give '
          'one another name.'
        )
      found[name] = group


def _numbers(config) -> None:
  lists = [('config.seeds', config.seeds)]
  for group in ('baselines', 'checkpoints'):
    for name, entry in config[group].items():
      known = {
        'baselines': ('baseline', 'seeds', 'input', *_ASKED),
        'checkpoints': ('path', 'seeds', 'encoder', *_ASKED),
      }[group]
      optional = known[2:]
      _fields(
        {**dict.fromkeys(optional), **entry}, known, f'config.{group}.{name}'
      )
      lists.append((f'config.{group}.{name}.seeds', entry.seeds))
  for where, seeds in lists:
    if not seeds or len(set(seeds)) < len(seeds):
      raise ValueError(
        f'{where} is {tuple(seeds)}; wanted one or more, each once.'
      )
    if any(type(seed) is not int or seed < 0 for seed in seeds):
      raise ValueError(f'{where} is {tuple(seeds)}; wanted whole numbers >= 0.')
  if config.search.seed not in config.seeds:
    raise ValueError(
      f'config.search.seed is {config.search.seed}; wanted one of config.seeds '
      f'= {tuple(config.seeds)}, so that its runs are used.'
    )
  rates = tuple(map(float, config.learning_rates))
  if len(set(rates)) < len(rates) or any(not rate > 0 for rate in rates):
    raise ValueError(
      f'config.learning_rates is {rates}; wanted numbers above 0, each once, '
      'or () for those of the methods.'
    )


def _protocols_of_best(config) -> None:
  for name, number in config.protocol_of_best.items():
    _known(name, config.protocols, 'a protocol of config.protocol_of_best')
    if not 1 <= number <= len(config.methods):
      raise ValueError(
        f'config.protocol_of_best.{name} is {number}; wanted 1 to '
        f'{len(config.methods)}, the number of methods.'
      )
  for group in ('label_sets', 'corpora'):
    for name, wanted in config[f'protocol_{group}'].items():
      where = f'config.protocol_{group}'
      _known(name, config.protocols, f'a protocol of {where}')
      for it in wanted:
        _known(it, config[group], f'a part of {where}.{name}')


def _others(config) -> None:
  known = [*config.methods, *config.baselines, *config.checkpoints]
  for pair in config.comparisons:
    if len(pair.split(':')) != 2:
      raise ValueError(f'config.comparisons has {pair!r}; wanted A:B.')
    where = f'a part of {pair!r} in config.comparisons'
    for side in pair.split(':'):
      name, at, corpus = side.partition('@')
      _known(name, config.methods if at else known, where)
      if at:
        _known(corpus, config.corpora, where)
  for name, entry in config.checkpoints.items():
    if encoder := entry.get('encoder', ''):
      where = f'config.checkpoints.{name}.encoder'
      _known(encoder, config.encoders, where)
  for group in ('baselines', 'checkpoints'):
    for name, entry in config[group].items():
      for field in _ASKED:
        if not entry.get(field, config[field]):
          raise ValueError(
            f'config.{group}.{name}.{field} is empty: there is nothing to '
            'evaluate; leave the field out for all.'
          )
        for it in entry.get(field, ()):
          _known(it, config[field], f'a part of config.{group}.{name}.{field}')


def parts(config, workdir: pathlib.Path) -> None:
  """Refuses what some cell would refuse later; reads data sets, no pixels.

  One of each kind is looked at: seeds and learning rates change nothing.

  Raises:
    ValueError: names the cell, the field, its value and what was wanted.
  """
  seen = set()
  for cell in plan.cells(config):
    if cell.rank:
      # Any of the methods.
      cell = dataclasses.replace(
        cell, method=next(iter(config.methods)), rank=0
      )
    kind = dataclasses.replace(cell, seed=0, lr=None)
    if kind in seen:
      continue
    seen.add(kind)
    try:
      if cell.pretrains:
        _pretraining(config, cell, workdir)
      else:
        _evaluation(config, cell)
    except ValueError as error:
      raise ValueError(f'{cell.name}: {error}') from error
  if plan.searches(config) and not _final_test(config):
    _LOG.warning(
      'config.label_sets.%s scores no test split: the final scores are those '
      'that choose the learning rates too.',
      config.search.label_set,
    )


def _final_test(config) -> str:
  search = config.search
  data = dict(config.protocols[search.protocol].data)
  return (data | dict(config.label_sets[search.label_set]))['test']


def _pretraining(config, cell: plan.Cell, workdir: pathlib.Path) -> None:
  run = settings.pretraining(config, cell)
  if run.eval_after:
    raise ValueError(
      f'config.methods.{cell.method}.eval_after is set; wanted none: '
      'label_sets and protocols are evaluated.'
    )
  pretrain.resolve(run, None, workdir / cell.name, fields=[*config.base])
  for group in ('data', 'monitor'):
    if unknown := sorted(set(run[group]) - set(config.base[group])):
      raise ValueError(
        f'config.{group} has no field {unknown[0]!r}; configs/base.py has all '
        'there are.'
      )
  pretrain.plan(run, sources.opened(run.data), axis_name=None)
  if run.monitor.dir or run.monitor.name:
    online.check(
      run.monitor, sources.opened(run.monitor), inputs.parse(run.input)
    )


def _evaluation(config, cell: plan.Cell) -> None:
  run = settings.evaluation(config, cell)
  checkpoint = baseline = None
  if cell.source == 'method':
    checkpoint = cell.pretraining
    image_inputs = features.shown(
      settings.pretraining(config, cell), run.fields_arcsec
    )
  elif cell.source == 'checkpoint':
    checkpoint = config.checkpoints[cell.method].path
    # Found to be whole, and an encoder.
    image_inputs = features.from_checkpoint(
      checkpoint, run.which or None, fields_arcsec=run.fields_arcsec
    ).inputs
  else:
    baseline = config.baselines[cell.method].baseline
    image_inputs = features.shown(run, run.fields_arcsec)
  checks.settings(run, checkpoint, baseline)
  checks.fits(image_inputs, sources.opened(run.data), checkpoint or baseline)
