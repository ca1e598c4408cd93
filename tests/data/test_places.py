import pathlib

from radio_ssl.data import places


def _names(pattern: str) -> list[str]:
  return [path.name for path in places.fits_files(pattern)]


def test_a_folder_stands_for_the_fits_in_and_below_it(tmp_path, monkeypatch):
  for name in ('b.fits', 'a b/c.FITS.gz', 'd.fit.fz', 'e.png', 'f.fits.txt'):
    path = tmp_path / 'my images' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  folder = str(tmp_path / 'my images')
  assert _names(folder) == ['c.FITS.gz', 'b.fits', 'd.fit.fz']
  assert _names(f'{folder}/') == _names(folder)
  assert _names(f'{folder}/*.fits') == ['b.fits']
  assert _names(f'{folder}/**/*.gz') == ['c.FITS.gz']
  assert _names(f'{folder}/x*') == _names('') == []
  monkeypatch.setenv('HOME', str(tmp_path))
  assert pathlib.Path.home() == tmp_path
  assert _names('~/my images/b*') == ['b.fits']
