"""The sheet shows the images that the data set holds, between their limits."""

import matplotlib.patches
import numpy as np
import pytest

from radio_ssl.data import examples, noise, pipeline, show


def _rows(count, dtype=np.float32, **known):
  generator = np.random.default_rng(0)
  for i in range(count):
    image = (generator.normal(size=(12, 16)) * 20 + 100).astype(dtype)
    if dtype == np.float32:
      image[0, 0] = np.nan
    yield examples.example(
      image,
      name=f's{i}',
      source_file='a.fits',
      ra_deg=i,
      dec_deg=0.0,
      label=i % 2,
      **known,
    )


def _sheet(directory, **changes):
  settings = {'num_images': 20, 'seed': 0, 'interval': 'zscale'} | changes
  dataset = pipeline.open_dataset(directory)
  figure = show.sheet(dataset, 'train', **settings)
  panels = [axes for axes in figure.axes if axes.images]
  return dataset.source('train'), panels


def test_every_image_is_shown_once_between_its_limits(write_dataset):
  beam = {'beam_major_arcsec': 6.0, 'beam_minor_arcsec': 4.0}
  rows = _rows(
    10, pixel_scale_arcsec=2.0, beam_pa_deg=50.0, rotation_deg=20.0, **beam
  )
  directory = write_dataset({'train': list(rows)}, label_names=['a', 'b'])
  source, panels = _sheet(directory)
  assert len(panels) == 10
  for record, axes in zip(source, panels, strict=True):
    (shown,) = axes.images
    pixels = record['image'][..., 0]
    np.testing.assert_array_equal(shown.get_array().filled(np.nan), pixels)
    np.testing.assert_allclose(
      shown.get_clim(), noise.limits(pixels, 'zscale'), rtol=1e-6
    )
    assert shown.origin == 'lower'
    name = record['name'].decode()
    assert axes.get_title() == f'{"ab"[record["label"]]}\n{name}'
    (ellipse,) = axes.patches
    assert isinstance(ellipse, matplotlib.patches.Ellipse)
    assert (ellipse.height, ellipse.width, ellipse.angle) == (3, 2, 30)


def test_pictures_keep_their_range_and_need_no_beam(write_dataset):
  rows = list(_rows(3, dtype=np.uint8))
  _, panels = _sheet(write_dataset({'train': rows}, label_names=['a', 'b']))
  assert [axes.images[0].get_clim() for axes in panels] == [(0, 255)] * 3
  assert not any(axes.patches for axes in panels)


def test_images_that_are_mostly_zero_are_shown_by_the_noise_they_tell(
  write_dataset,
):
  known = {'background_jy_beam': 1.0, 'label': 0, 'ra_deg': 1.0, 'dec_deg': 0.0}
  image = np.zeros((8, 8), np.float32)
  image[3, 3] = 9
  rows = [
    examples.example(image, name=name, source_file='', rms_jy_beam=rms, **known)
    for name, rms in (('told', 0.5), ('silent', np.nan))
  ]
  directory = write_dataset({'train': rows}, label_names=['a'])
  _, panels = _sheet(directory, interval='sigma_clip')
  limits = {
    axes.get_title().split('\n')[1]: axes.images[0].get_clim()
    for axes in panels
  }
  assert limits == {'told': (0.5, 16.0), 'silent': (0.0, 0.0)}


def test_draw_is_seeded(write_dataset):
  directory = write_dataset({'train': list(_rows(9))}, label_names=['a', 'b'])

  def names(seed):
    _, panels = _sheet(directory, num_images=4, seed=seed)
    return [axes.get_title() for axes in panels]

  assert len(names(0)) == 4
  assert names(0) == names(0) != names(1)


def test_command_writes_a_picture(write_dataset, tmp_path, capsys):
  directory = write_dataset({'train': list(_rows(2))}, label_names=['a', 'b'])
  output = tmp_path / 'sheet.png'
  show.main([str(directory), '--output', str(output)])
  assert output.read_bytes().startswith(b'\x89PNG')
  assert capsys.readouterr().out.strip().endswith(str(output))


@pytest.mark.parametrize(
  ('arguments', 'told'),
  [
    (['gone'], 'gone: no finished data set'),
    (['gone', '--num_images', '0'], '--num_images 0: wanted 1 or more'),
  ],
)
def test_what_cannot_be_shown_is_told(arguments, told, capsys):
  with pytest.raises(SystemExit):
    show.main(arguments)
  assert told in capsys.readouterr().err
