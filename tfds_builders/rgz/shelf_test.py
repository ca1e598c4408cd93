import pathlib
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from tfds_builders.rgz import runs, samples, shelf


def zeros(good):
  del good
  return samples.image(*runs.rows(3)[1][1:3], blank=lambda sky: sky.fill(0))


def edge(good):
  del good

  def blank(sky):
    sky[:, :6] = np.nan

  return samples.image(*runs.rows(3)[2][1:3], blank=blank)


def hole(good):
  del good

  def blank(sky):
    sky[16:24, 16:24] = 0

  return samples.image(*runs.rows(4)[3][1:3], blank=blank)


def test_images_without_sky_are_rejected_once_with_a_reason(tmp_path):
  sky = runs.Sky(s1=[zeros], s2=[edge], s3=[hole])
  outcome, _ = runs.go(tmp_path, sky)
  assert outcome.counts == {'fetched': 1, 'no coverage': 1, 'refused': 2}
  assert outcome.complete and runs.files(tmp_path) == ['s0.fits']
  reasons = [line['reason'] for line in runs.log(tmp_path)]
  assert 'no finite pixel' in reasons[1]
  assert '15.0 % of its pixels are blank' in reasons[2]
  assert 'of the pixels round the source are blank' in reasons[3]
  outcome, _ = runs.go(tmp_path, sky)
  assert outcome.counts == {'already there': 1, 'no coverage': 1, 'refused': 2}
  assert sky.asked.total() == 4
  outcome, _ = runs.go(tmp_path, sky, recheck=True)
  assert outcome.counts == {'already there': 1, 'fetched': 3}
  outcome, _ = runs.go(tmp_path, sky)
  assert outcome.counts == {'already there': 4} and sky.asked.total() == 7
  again = runs.Sky(s4=[lambda good: edge(good)])
  assert runs.go(tmp_path, again, max_missing=0.2)[0].complete


def test_a_file_that_changed_is_fetched_again(tmp_path):
  sky = runs.Sky()
  runs.go(tmp_path, sky)
  damaged = tmp_path / 'out' / 'fits' / 's1.fits'
  content = bytearray(damaged.read_bytes())
  content[5900] ^= 1  # One bit of a pixel: still a sound FITS file.
  damaged.write_bytes(content)
  (tmp_path / 'out' / 'fits' / 's2.fits').write_bytes(content[:4000])
  (tmp_path / 'out' / 'fits' / 's3.fits').unlink()
  outcome, _ = runs.go(tmp_path, sky)
  assert outcome.counts == {'fetched': 3, 'already there': 1}
  assert sky.asked == {'s0': 1, 's1': 2, 's2': 2, 's3': 2}
  assert runs.go(tmp_path, sky)[0].counts == {'already there': 4}


def test_a_kill_between_an_image_and_its_line_costs_no_request(tmp_path):
  sky = runs.Sky()
  runs.go(tmp_path, sky)
  path = tmp_path / 'out' / 'manifest.jsonl'
  whole = path.read_text()
  path.write_text(whole[:-30])
  (tmp_path / 'out' / 'log.jsonl').write_text('{"image": "s0", "sta')
  (tmp_path / 'out' / 'partial' / 's9.fits').write_bytes(b'x')
  outcome, _ = runs.go(tmp_path, sky)
  assert outcome.counts == {'already there': 4} and sky.asked.total() == 4
  assert path.read_text() == whole
  assert len(runs.log(tmp_path)) == 4
  assert not list((tmp_path / 'out' / 'partial').iterdir())
  path.write_text('{"image": 3\n' + whole)
  with pytest.raises(ValueError, match=r'manifest\.jsonl: a line is damaged'):
    runs.go(tmp_path, sky)


KILLED = """
import pathlib, sys, urllib.parse, urllib.request
from tfds_builders.rgz import fetch, fetching
url, folder = sys.argv[1], pathlib.Path(sys.argv[2])
def get(source):
  place = urllib.parse.quote(f'{source.ra_deg} {source.dec_deg} 40')
  with urllib.request.urlopen(f'{url}/x/{place}.fits', timeout=60) as answer:
    return answer.read()
outcome = fetch.run(folder / 'c.csv', folder / 'out', lambda: get, pixels=40,
  patience=fetching.Patience(3, 2))
print(outcome.summary())
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path):
  reached, release = threading.Event(), threading.Event()
  made = []

  def make(ra, dec, pixels):
    made.append(ra)
    if len(made) == 4:
      reached.set()
      release.wait(60)
    return samples.image(ra, dec, pixels)

  samples.write_catalogue(tmp_path / 'c.csv', runs.rows(7))
  with samples.Server(make) as server:
    url = server.url.removesuffix('/cgi/basicform.pl')
    command = [sys.executable, '-c', KILLED, url, str(tmp_path)]
    root = pathlib.Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root) as running:
      assert reached.wait(120)
      running.send_signal(signal.SIGKILL)
    assert runs.files(tmp_path) == ['s0.fits', 's1.fits', 's2.fits']
    release.set()
    done = subprocess.run(
      command, cwd=root, check=True, capture_output=True, text=True
    )
  assert done.stdout.endswith('7 images: 3 already there, 4 fetched\n')
  assert sorted(server.asked.values()) == [1, 1, 1, 1, 1, 1, 2]
  assert made[3] == made[4] == 123.1234567
  entries = shelf.settled(tmp_path / 'out')
  assert len(entries) == 7
  assert {e['sampler'] for e in entries.values()} == {'NNSampler'}


def test_one_program_at_a_time_writes_to_a_folder(tmp_path):
  with shelf.alone(tmp_path / 'out'):
    with pytest.raises(ValueError, match='another program fetches into it'):
      runs.go(tmp_path, runs.Sky())
  assert runs.go(tmp_path, runs.Sky())[0].complete


def test_a_folder_holds_images_of_one_size(tmp_path):
  runs.go(tmp_path, runs.Sky())
  with pytest.raises(ValueError, match='images of 40 pixels, asked for are 42'):
    runs.go(tmp_path, runs.Sky(), pixels=42)


def test_a_file_is_read_before_it_is_taken_for_an_image(tmp_path):
  sky = runs.Sky()
  runs.go(tmp_path, sky)
  folder = tmp_path / 'out'
  (folder / 'manifest.jsonl').unlink()
  (folder / 'fits' / 's2.fits').write_bytes(samples.TROUBLE)
  moved = runs.rows(4)
  moved[3] = ('s3', 200.0, *moved[3][2:])
  outcome, _ = runs.go(tmp_path, sky, rows=moved)
  assert outcome.counts == {'already there': 2, 'fetched': 2}
  assert sky.asked == {'s0': 1, 's1': 1, 's2': 2, 's3': 2}
  # The catalogue was corrected.
  moved[1] = ('s1', 201.0, *moved[1][2:])
  outcome, _ = runs.go(tmp_path, sky, rows=moved)
  assert outcome.counts == {'already there': 3, 'fetched': 1}
