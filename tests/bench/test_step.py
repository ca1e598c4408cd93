import argparse

from radio_ssl.bench import step


def test_row_holds_ratios_of_medians_and_alternates(monkeypatch):
  order = []
  seconds = {
    'ours': iter([1.0, 2.0, 9.0]),
    'torch': iter([1.0, 4.0, 5.0]),
    'augment': iter([0.1, 0.2, 0.3]),
    'naive': iter([8.0]),
  }

  def measure(kind, size, args):
    order.append(kind)
    return next(seconds[kind])

  monkeypatch.setattr(step, '_measure', measure)
  kinds = ['ours', 'torch', 'augment', 'naive']
  row = step._row(64, kinds, argparse.Namespace(repeats=3, gpu=False))
  assert order[:3] == order[4:7] == ['ours', 'torch', 'augment']
  cells = [cell.strip() for cell in row.strip('|').split('|')]
  assert cells[2:4] == ['2 (1-9)', '4 (1-5)']
  assert cells[5:] == ['0.50', '0.25', '10.0%', '-']
