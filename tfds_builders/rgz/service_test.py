import socket
import threading

import pytest

from tfds_builders.rgz import fetch, fetching, samples, shelf, zoo

pytest.importorskip('astroquery.skyview')

from tfds_builders.rgz import service

PIXELS = samples.PIXELS


class Pace:
  """Counts who waits, and lets nobody wait."""

  def __init__(self):
    self.waits = 0

  def wait(self):
    self.waits += 1


@pytest.fixture
def server():
  with samples.Server() as made:
    yield made


def source(n=0):
  name, ra, dec, *_ = samples.rows(n + 1)[n]
  return zoo.Source(name, name, ra, dec, 1, 1, 0.9, 20.0)


def skyview(url, timeout_s=20.0):
  pace = Pace()
  made = service.SkyView(url, pixels=PIXELS, timeout_s=timeout_s, pace=pace)
  return made, pace


def command(tmp_path, server, *flags):
  catalogue = samples.write_catalogue(tmp_path / 'c.csv', samples.rows(4))
  return fetch.main(
    [
      f'--catalogue={catalogue}',
      f'--output={tmp_path / "out"}',
      f'--server={server.url}',
      f'--pixels={PIXELS}',
      '--per_second=1000',
      *flags,
    ]
  )


def test_the_command_fetches_and_asks_for_nothing_twice(
  tmp_path, server, capsys
):
  assert command(tmp_path, server) == 0
  shown = capsys.readouterr()
  assert shown.out == f'{tmp_path / "out"}: 4 images: 4 fetched\n'
  assert set(server.asked.values()) == {1} and len(server.asked) == 4
  assert server.requests.count('/cgi/basicform.pl') == 1
  assert command(tmp_path, server) == 0
  # It had nothing to ask, not even for the form.
  assert len(server.requests) == 9


def test_what_failed_ends_with_status_1_and_is_mended(tmp_path, server, capsys):
  made, _ = skyview(server.url)
  made.get(source(2))
  place = next(iter(server.asked))
  server.trouble[place] = [403]
  assert command(tmp_path, server, '--attempts=3') == 1
  assert '3 fetched' in (shown := capsys.readouterr()).out
  assert '1 failed' in shown.out and 'HTTP status 403' in shown.err
  # 403 will not change by itself.
  assert server.asked[place] == 2
  assert command(tmp_path, server) == 0
  assert server.asked[place] == 3


def test_the_query_is_for_the_pixels_of_first(server):
  skyview(server.url)[0].get(source())
  ((place, query),) = server.queries.items()
  ra, dec = map(float, place.split())
  # Seven digits after the point; ICRS and FK5 differ by 0.02 arcsec.
  assert ra == pytest.approx(source().ra_deg, abs=2e-5) and '.' in place
  assert dec == pytest.approx(source().dec_deg, abs=2e-5)
  assert [len(number.partition('.')[2]) for number in place.split()] == [7, 7]
  assert query['survey'] == 'VLA FIRST (1.4 GHz)'
  assert query['pixels'] == str(PIXELS)
  assert float(query['size'].split(',')[0]) * 3600 / PIXELS == pytest.approx(
    1.8
  )
  assert (query['projection'], query['coordinates']) == ('Tan', 'J2000')
  assert query['Sampler'] == '_skip_'


def test_every_request_keeps_the_pace(server):
  made, pace = skyview(server.url)
  for n in range(3):
    made.get(source(n))
  assert pace.waits == len(server.requests) == 7


@pytest.mark.parametrize('status', [429, 500, 503, 404])
def test_a_busy_server_is_to_be_asked_again(server, status):
  made, _ = skyview(server.url)
  made.get(source())
  server.trouble[next(iter(server.asked))] = [status]
  with pytest.raises(shelf.NotFetchedError, match=f'status {status}') as error:
    made.get(source())
  assert error.value.again and error.value.wait_s == 7
  assert made.get(source()) == samples.image(*_place(server))


def _place(server):
  return *map(float, next(iter(server.asked)).split()), PIXELS


def test_a_body_that_ends_early_is_no_answer(server):
  made, _ = skyview(server.url)
  made.get(source())
  server.trouble[next(iter(server.asked))] = ['cut']
  with pytest.raises(shelf.NotFetchedError) as error:
    made.get(source())
  assert error.value.again


@pytest.mark.parametrize('trouble', ['cut', 'short', 'html', 503])
def test_bad_answers_are_mended_in_the_same_run(tmp_path, server, trouble):
  made, _ = skyview(server.url)
  made.get(source(1))
  server.trouble[next(iter(server.asked))] = [trouble, trouble]
  server.asked.clear()
  catalogue = samples.write_catalogue(tmp_path / 'c.csv', samples.rows(3))
  outcome = fetch.run(
    catalogue,
    tmp_path / 'out',
    lambda: made.get,
    pixels=PIXELS,
    patience=fetching.Patience(3, 2),
    sleep=lambda seconds: None,
  )
  assert outcome.counts == {'fetched': 3}
  assert sorted(server.asked.values()) == [1, 1, 3]


def test_a_server_that_hangs_is_left_after_the_time_limit(server):
  # A busy machine may take a second for an answer.
  made, _ = skyview(server.url, timeout_s=3.0)
  made.get(source())
  released = threading.Event()
  server.make = lambda *_: released.wait() and b''
  with pytest.raises(shelf.NotFetchedError, match='Timeout') as error:
    made.get(source())
  released.set()
  assert error.value.again


def test_pages_that_are_not_skyviews_are_told(server, monkeypatch):
  monkeypatch.setattr(samples, '_FORM', '<html>Maintenance</html>')
  made, _ = skyview(server.url)
  with pytest.raises(shelf.NotFetchedError, match='not the query form'):
    made.get(source())
  monkeypatch.setattr(samples, '_FORM', f'{samples.SURVEY}: maintenance')
  with pytest.raises(shelf.NotFetchedError, match='not the query form'):
    made.get(source())
  monkeypatch.undo()
  monkeypatch.setattr(samples, '_RESULTS', '<html>Error in query {}</html>')
  with pytest.raises(shelf.NotFetchedError, match='names no FITS image'):
    made.get(source())
  monkeypatch.undo()
  assert made.get(source())


def test_nobody_at_home_is_an_error_of_ours():
  with socket.socket() as held:
    held.bind(('127.0.0.1', 0))
    port = held.getsockname()[1]
    made, _ = skyview(f'http://127.0.0.1:{port}/cgi/basicform.pl')
    with pytest.raises(shelf.NotFetchedError, match='ConnectionError'):
      made.get(source())


def test_nothing_is_kept_in_the_home_folder(tmp_path, server, monkeypatch):
  cache = tmp_path / 'cache'
  monkeypatch.setattr(
    'astroquery.query.paths.get_cache_dir', lambda *_: str(cache)
  )
  skyview(server.url)[0].get(source())
  assert not list(cache.rglob('*.pickle'))
