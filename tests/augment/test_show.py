import subprocess
import sys

import numpy as np
import pytest

from configs import base
from radio_ssl import testing
from radio_ssl.augment import show, stretch, views
from radio_ssl.data import examples


@pytest.fixture
def dataset(tmp_path):
  rng = np.random.default_rng(0)
  rows = [
    examples.example(
      rng.normal(size=(60, 60)).astype(np.float32),
      name=f's{i}',
      source_file='a.fits',
      ra_deg=i,
      dec_deg=0,
      background_jy_beam=0.0,
      rms_jy_beam=1.0,
    )
    for i in range(5)
  ]
  return testing.write(
    tmp_path,
    {'train': rows},
    pixel_scale_arcsec=1.8,
    beam_major_arcsec=5.4,
    beam_minor_arcsec=5.4,
  )


def test_each_panel_makes_one_change():
  group = views.ViewGroup()
  changes = show.alone(group) | show.stretched(group)
  assert len(changes) >= 11 + len(stretch.STRETCHES)
  fields = set()
  for one in changes.values():
    mine = {f for f in vars(one) if getattr(one, f) != show._OFF.get(f, 0)}
    on = {f for f in show._OFF if f in mine and getattr(one, f) != show._OFF[f]}
    assert len(on - {'flip'}) <= 1
    fields |= on
  # Every change that a group can make has a panel.
  assert fields == set(show._OFF)


def test_sheet_has_a_row_an_image(dataset):
  config = base.get_config()
  config.data.dir = str(dataset)
  config.input.size_pix = 24
  config.input.field_arcsec = 80.0
  config.input.allow_coarse_pixels = True
  names, made = show.panels(config, 3)
  assert len(set(names)) == 3
  first, *_, last = made
  assert (first, last) == ('input', 'global: views')
  for title, images in made.items():
    channels = 3 if 'stretch' in title else 1
    assert images.shape[1:] == (3, 24, 24, channels)
    assert np.isfinite(images).all()
    # Under a stretch up to a thousand rms noise would be black.
    assert channels == 1 or images.max() > 0.2
  red, green, _ = np.moveaxis(made['global: stretch by channel'], -1, 0)
  assert np.abs(red - green).max() > 0.1
  figure = show.sheet(names, made)
  assert len(figure.axes) == 3 * sum(len(images) for images in made.values())


@pytest.mark.slow
def test_program_writes_the_sheet(dataset, tmp_path):
  output = tmp_path / 'views.png'
  command = [
    *(sys.executable, '-m', 'radio_ssl.augment.show'),
    *('--config=configs/simclr_first.py', f'--config.data.dir={dataset}'),
    *('--config.input.size_pix=24', '--config.input.field_arcsec=80'),
    *('--config.input.allow_coarse_pixels=True', '--num_images=2'),
  ]
  done = subprocess.run(
    [*command, f'--output={output}'], capture_output=True, text=True
  )
  assert done.stdout.strip() == str(output), done.stderr
  assert output.read_bytes().startswith(b'\x89PNG')
  done = subprocess.run(
    [*command, '--config.data.dir=/nowhere'], capture_output=True, text=True
  )
  assert done.returncode == 1 and done.stderr.count('\n') == 1
