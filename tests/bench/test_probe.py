"""The bench of the probe compares the same minimum; no time is asserted."""

import numpy as np
import pytest

from radio_ssl import testing
from radio_ssl.augment import inputs
from radio_ssl.bench import probe
from radio_ssl.data import examples, pipeline
from radio_ssl.evaluate import features


def _data(num_classes):
  rng = np.random.default_rng(0)
  labels = np.arange(60) % num_classes
  x = rng.normal(size=(60, 4))
  x[:, 0] += labels
  return x, labels


@pytest.mark.parametrize('num_classes', [2, 3])
@pytest.mark.parametrize('solver', ['lbfgs', 'newton-cholesky'])
def test_both_minimise_the_same_objective(num_classes, solver):
  x, labels = _data(num_classes)
  # In no order: solutions come back in this one.
  l2 = np.array([1.0, 1e-3, 0.1])
  mine = probe.ours(x, labels, l2, 1e-9)
  other = probe.theirs(x, labels, l2, 1e-9, solver=solver)
  values = probe.objectives(x, labels, l2, mine)
  np.testing.assert_allclose(
    probe.objectives(x, labels, l2, other), values, atol=1e-8
  )
  # It is a minimum: a step to any side is worse.
  for side in (-1e-2, 1e-2):
    beside = mine[0] + side, mine[1]
    assert (probe.objectives(x, labels, l2, beside) > values).all()


def test_tolerance_that_stops_short_is_passed_over(monkeypatch):
  x, labels = _data(3)
  monkeypatch.setattr(probe, '_THEIRS', (1.0, 1e-9))
  assert probe.close_enough(x, labels, np.array([1e-3]), 'lbfgs') == 1e-9
  monkeypatch.setattr(probe, '_THEIRS', (1.0,))
  with pytest.raises(ValueError, match=r'lbfgs: not within 1e-06'):
    probe.close_enough(x, labels, np.array([1e-3]), 'lbfgs')


def test_table_compares_with_our_time():
  x, labels = _data(2)
  lines = probe.table(
    *(x, labels, np.array([0.01, 1.0])), solvers=['lbfgs'], rounds=2
  ).splitlines()
  cells = [[c.strip() for c in line.split('|')[1:-1]] for line in lines[2:]]
  assert [row[0].split(',')[0] for row in cells] == [
    *('ours', 'ours'),
    'scikit-learn',
  ]
  assert cells[0][2] == '1.00 (1.00 to 1.00)'
  assert all(0 <= float(row[3]) < 1e-6 for row in cells)


def test_rows_are_views_of_the_images_with_their_labels(tmp_path):
  rng = np.random.default_rng(0)
  rows = [
    examples.example(
      rng.normal(size=(20, 20)).astype(np.float32),
      name=f's{i}',
      source_file='a.fits',
      ra_deg=float(i),
      dec_deg=0.0,
      background_jy_beam=0.0,
      rms_jy_beam=1.0,
      label=i % 2,
    )
    for i in range(6)
  ]
  folder = testing.write(
    tmp_path,
    {'train': rows},
    label_names=('one', 'two'),
    pixel_scale_arcsec=1.8,
    beam_major_arcsec=5.4,
  )
  image_input = inputs.Input(size_pix=16, field_arcsec=28.8)
  frozen = features.untrained(
    {'name': 'resnet10', 'width': 1 / 16}, (image_input,), seed=0
  )
  dataset = pipeline.open_dataset(folder)
  x, labels = probe.views(frozen, dataset, 'train', 15)
  stored = features.tabulate(dataset, 'train', features.nothing).labels
  np.testing.assert_array_equal(labels, [*stored, *stored, *stored[:3]])
  np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
  # The views of an image differ.
  assert np.abs(x[:6] - x[6:12]).max() > 0.1
