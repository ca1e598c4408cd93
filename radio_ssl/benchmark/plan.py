"""The cells of a benchmark, from its config; nothing is read.

A cell is one pretraining or one evaluation, in a folder of its own. The search
for learning rates comes first; of the cells after it some are not known until
then, but how many they are is. A search cell that has won is the final one of
its seed and corpus too: it has the same name, and is not run again. Then comes
one seed after the other, so that a benchmark that is stopped early has all
rows, with fewer seeds.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from radio_ssl.evaluate import protocols

STAGES = ('search_pretrain', 'search', 'pretrain', 'evaluate')


@dataclasses.dataclass(frozen=True)
class Cell:
  """One pretraining or one evaluation.

  Attributes:
    stage: one of STAGES.
    source: whose encoder: 'method', 'baseline' or 'checkpoint'.
    method: name in the config's `methods`, `baselines` or `checkpoints`; ''
      while nobody knows which method is the best.
    encoder: name in `encoders`; '' for what has none.
    corpus: name in `corpora`; '' for what is not pretrained here.
    seed: of the pretraining; of baselines and checkpoints, of the evaluation.
    lr: of the pretraining; None while it has not been chosen.
    label_set: name in `label_sets`; '' for a pretraining.
    protocol: name in `protocols`; '' for a pretraining.
    rank: the best, second best, ... method of its encoder, from 1; 0 where the
      method is known.
  """

  stage: str
  source: str
  method: str
  encoder: str
  corpus: str
  seed: int
  lr: float | None = None
  label_set: str = ''
  protocol: str = ''
  rank: int = 0

  @property
  def pretrains(self) -> bool:
    """Whether it is a pretraining, not an evaluation."""
    return not self.protocol

  @property
  def is_known(self) -> bool:
    """Whether method and learning rate are."""
    return self.source != 'method' or bool(self.method and self.lr is not None)

  @property
  def name(self) -> str:
    """Its folder below the workdir; of one not known yet, a description.

    No name in a config holds a hyphen, so that no two cells share one.
    """
    if self.stage == 'evaluate':
      return f'evaluate/{self.label_set}-{self.protocol}/{self._encoder_name}'
    kind = 'pretrain' if self.pretrains else 'search'
    return f'{kind}/{self._encoder_name}'

  @property
  def pretraining(self) -> str:
    """Name of the cell that makes its encoder; '' where none does."""
    needs = self.source == 'method' and not self.pretrains
    return f'pretrain/{self._encoder_name}' if needs else ''

  @property
  def of_encoder(self) -> tuple[str, ...]:
    """The same for all cells of one encoder, before and after it is known."""
    return (
      self.method or f'best{self.rank}',
      self.encoder,
      self.corpus,
      str(self.seed),
      str(self.lr) if self.stage.startswith('search') else '',
    )

  @property
  def _encoder_name(self) -> str:
    # All digits of the learning rate: two that differ have different names.
    lr = '?' if self.lr is None else repr(self.lr)
    parts = (
      self.method or f'best{self.rank}',
      self.encoder,
      self.corpus,
      f'lr{lr}' if self.source == 'method' else '',
      f's{self.seed}',
    )
    return '-'.join(part for part in parts if part)


def learning_rates(config, method: str) -> tuple[float, ...]:
  """Those that are tried for a method; its own where there is no grid."""
  own = config.methods[method].optimizer.lr
  return tuple(float(lr) for lr in config.learning_rates or (own,))


def searches(config) -> bool:
  """Whether validation scores are needed, of learning rates or of methods."""
  return len(config.learning_rates) > 1 or bool(config.protocol_of_best)


def cells(config) -> list[Cell]:
  """All cells in the order in which they are run; no result changes how many.

  Args:
    config: of the benchmark, checked (`checks.structure`).
  """
  search = _search(config) if searches(config) else ()
  final = [*_pretrain(config), *_evaluate(config)]
  return [*search, *sorted(final, key=lambda cell: _round(config, cell))]


def _round(config, cell: Cell) -> int:
  """The place of its seed among those of its kind."""
  entry = {
    'method': config,
    'baseline': config.baselines.get(cell.method),
    'checkpoint': config.checkpoints.get(cell.method),
  }[cell.source]
  return list(entry.seeds).index(cell.seed)


def known(
  cell: Cell,
  lrs: Mapping[tuple[str, str], float],
  rankings: Mapping[str, Sequence[str]],
) -> Cell:
  """The cell, with what the search has told by now.

  Args:
    cell: of `cells`.
    lrs: chosen learning rates, by (method, encoder).
    rankings: methods by validation score, best first, by encoder.
  """
  method, rank = cell.method, cell.rank
  if rank and cell.encoder in rankings:
    method, rank = rankings[cell.encoder][rank - 1], 0
  lr = cell.lr
  if cell.source == 'method' and lr is None:
    lr = lrs.get((method, cell.encoder))
  return dataclasses.replace(cell, method=method, rank=rank, lr=lr)


def left_out(config) -> list[str]:
  """What the matrix lacks because it cannot be, a line each."""
  return [
    f'{name} with {protocol}: that protocol teaches on images; the baseline '
    f'{entry.baseline} has none.'
    for protocol in config.protocols
    for name, entry in config.baselines.items()
    if protocol in entry.get('protocols', config.protocols)
    and not _possible(config, protocol, entry.baseline)
  ]


def tried(config, method: str, encoder: str, lr: float) -> Cell:
  """The pretraining of a learning rate in the search."""
  corpus, seed = config.search.corpus, config.search.seed
  return Cell('search_pretrain', 'method', method, encoder, corpus, seed, lr)


def searched(config, method: str, encoder: str, lr: float) -> Cell:
  """The evaluation of a learning rate in the search."""
  return dataclasses.replace(
    tried(config, method, encoder, lr),
    stage='search',
    label_set=config.search.label_set,
    protocol=config.search.protocol,
  )


def _search(config) -> Iterator[Cell]:
  for make in (tried, searched):
    for encoder in config.encoders:
      for method in config.methods:
        for lr in learning_rates(config, method):
          yield make(config, method, encoder, lr)


def _pretrain(config) -> Iterator[Cell]:
  for cell in _trained(config, 'pretrain'):
    found = (cell.corpus, cell.seed)
    if not searches(config) or found != (
      config.search.corpus,
      config.search.seed,
    ):
      yield cell


def _trained(config, stage: str, **fields) -> Iterator[Cell]:
  """The final encoder of each method, encoder, corpus and seed."""
  for encoder in config.encoders:
    for method in config.methods:
      for corpus in _corpora(config, fields.get('protocol', '')):
        for seed in config.seeds:
          lr = None
          if not config.learning_rates or len(config.learning_rates) == 1:
            (lr,) = learning_rates(config, method)
          yield Cell(
            stage, 'method', method, encoder, corpus, seed, lr, **fields
          )


def _evaluate(config) -> Iterator[Cell]:
  for label_set in config.label_sets:
    for protocol in config.protocols:
      wanted = config.protocol_label_sets.get(protocol, config.label_sets)
      if label_set not in wanted:
        continue
      fields = {'label_set': label_set, 'protocol': protocol}
      if protocol in config.protocol_of_best:
        yield from _of_best(config, fields)
      else:
        yield from _trained(config, 'evaluate', **fields)
      yield from _of_checkpoints(config, fields)
      yield from _of_baselines(config, fields)


def _corpora(config, protocol: str) -> Iterable[str]:
  """Those whose encoders are evaluated so; all for a pretraining, ''."""
  return config.protocol_corpora.get(protocol, config.corpora)


def _of_best(config, fields) -> Iterator[Cell]:
  for encoder in config.encoders:
    for rank in range(1, config.protocol_of_best[fields['protocol']] + 1):
      for corpus in _corpora(config, fields['protocol']):
        for seed in config.seeds:
          yield Cell(
            'evaluate', 'method', '', encoder, corpus, seed, rank=rank, **fields
          )


def _of_checkpoints(config, fields) -> Iterator[Cell]:
  for name, entry in config.checkpoints.items():
    if _asked(config, entry, fields):
      encoder = entry.get('encoder', '')
      for seed in entry.seeds:
        yield Cell('evaluate', 'checkpoint', name, encoder, '', seed, **fields)


def _of_baselines(config, fields) -> Iterator[Cell]:
  for name, entry in config.baselines.items():
    possible = _possible(config, fields['protocol'], entry.baseline)
    if not (possible and _asked(config, entry, fields)):
      continue
    encoders = config.encoders if entry.baseline == 'random' else ('',)
    for encoder in encoders:
      for seed in entry.seeds:
        yield Cell('evaluate', 'baseline', name, encoder, '', seed, **fields)


def _asked(config, entry, fields) -> bool:
  """Whether a baseline or checkpoint is worth it; all are unless it tells."""
  return fields['protocol'] in entry.get(
    'protocols', config.protocols
  ) and fields['label_set'] in entry.get('label_sets', config.label_sets)


def _possible(config, protocol: str, baseline: str) -> bool:
  on_images = protocols.on_images(config.protocols[protocol].protocol)
  return baseline == 'random' or not on_images
