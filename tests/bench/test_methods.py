import jax
import numpy as np
import pytest

from radio_ssl.bench import methods


@pytest.fixture(scope='module')
def byol():
  return methods.case('byol', 'resnet10', 16, 4)


def test_passes_of_the_average_are_counted_and_its_weights_kept(byol):
  simclr = methods.case('simclr', 'resnet10', 16, 4)
  with_average, without = (methods.bare_step(it) for it in (byol, simclr))
  assert with_average.planned_bytes > without.planned_bytes
  assert with_average() >= 0 and with_average() >= 0


def test_a_step_trains_and_leaves_the_case_as_it_was(byol):
  before = jax.tree.map(np.array, byol.params)
  run = methods.method_step(byol)
  run(), run()
  jax.tree.map(np.testing.assert_array_equal, byol.params, before)


@pytest.mark.slow
def test_table_has_a_line_for_each_method(capsys):
  small = '--encoder resnet10 --size_pix 16 --batch_size 4 --repeats 1'
  methods.main(['--methods', 'simclr', 'byol', *small.split()])
  lines = capsys.readouterr().out.splitlines()
  assert [line.split()[1] for line in lines[2:]] == ['simclr', 'byol']
  assert all('2 global' in line for line in lines[2:])
