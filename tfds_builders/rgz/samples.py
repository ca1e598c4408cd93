"""A small catalogue, images, and a server like SkyView, for the tests."""

import collections
import http.server
import io
import pathlib
import threading
import urllib.parse
from collections.abc import Callable, Sequence

import astropy.io.fits
import numpy as np

PIXELS = 40
SURVEY = 'VLA FIRST (1.4 GHz)'
RMS = 1.5e-4
_HEADER = (
  'CatID,RGZID,ZooniverseID,RA,Dec,CL,N_votes,N_total,LAE,N_comp,N_peaks'
)
_FORM = f"""<html><body>
<form name="query" action="runquery.pl" method="GET">
<input name="Position" size=30>
<select multiple name="survey" id="Radio"><option>NVSS</option>
<option>{SURVEY}</option></select>
<input type="text" name="pixels" value="300">
<select name="Sampler"><option value="_skip_" selected="">Default</option>
</select></form></body></html>"""
_RESULTS = '<html><a href="../tempspace/{}.fits">FITS</a></html>'
TROUBLE = b'<html><title>SkyView</title>Sorry, try later.</html>'


def write_catalogue(
  path: pathlib.Path,
  rows: Sequence[tuple],
  header: str = _HEADER,
) -> pathlib.Path:
  """Writes rows of (name, ra, dec, level, extent, components, peaks)."""
  lines = [header]
  for number, (name, ra, dec, level, extent, parts, peaks) in enumerate(rows):
    lines.append(
      f'{number},{name},ARG{number},{ra},{dec},{level},20,21,{extent},{parts},'
      f'{peaks}'
    )
  path.write_text('\n'.join(lines) + '\n')
  return path


def rows(count: int, classes: Sequence[str] = ('1C-1P',)) -> list[tuple]:
  """Rows of sources a degree apart, of the classes in turn."""
  result = []
  for number in range(count):
    parts, peaks = classes[number % len(classes)].split('-')
    name = f'RGZ_J{number:06}.0+300000'
    place = 120.1234567 + number, 30.7654321
    result.append((name, *place, 0.9, 20.0, parts[:-1], peaks[:-1]))
  return result


def image(
  ra_deg: float,
  dec_deg: float,
  pixels: int = PIXELS,
  blank: Callable[[np.ndarray], None] | None = None,
  scale_arcsec: float = 1.8,
) -> bytes:
  """A FITS file as SkyView writes them, with a source of 50 mJy.

  Args:
    ra_deg: of its middle and of the source.
    dec_deg: as ra_deg.
    pixels: side.
    blank: changes the pixels, in Jy/beam.
    scale_arcsec: side of a pixel.
  """
  rng = np.random.default_rng(round(ra_deg * 1e6))
  sky = rng.normal(0, RMS, (pixels, pixels)).astype(np.float32)
  sky[(pixels - 1) // 2 : pixels // 2 + 1, (pixels - 1) // 2] = 0.05
  if blank is not None:
    blank(sky)
  header = astropy.io.fits.Header(
    {'CTYPE1': 'RA---TAN', 'CTYPE2': 'DEC--TAN', 'BUNIT': 'JY/BEAM '}
  )
  header.update(CRVAL1=ra_deg, CRVAL2=dec_deg, RADESYS='FK5', EQUINOX=2000.0)
  header.update(CRPIX1=(pixels + 1) / 2, CRPIX2=(pixels + 1) / 2)
  header.update(CDELT1=-scale_arcsec / 3600, CDELT2=scale_arcsec / 3600)
  header['HISTORY'] = 'Resampler used: NNSampler'
  header['COMMENT'] = 'Copyright:   1994, University of California.'
  file = io.BytesIO()
  astropy.io.fits.PrimaryHDU(sky, header).writeto(file)
  # Its comments have tabs, which the standard forbids.
  return file.getvalue().replace(b'Copyright:   ', b'Copyright:\t\t\t')


class Server(http.server.ThreadingHTTPServer):
  """Answers as SkyView does, on loopback.

  Attributes:
    asked: how often each position, as text, was asked for.
    queries: the last query of each position.
    trouble: position -> what to do first, one after the other: an HTTP status,
      'html' (a page of errors with status 200), 'cut' (less than announced),
      'short' (less than the FITS header announces).
    requests: of any kind.
  """

  def __init__(self, make: Callable[..., bytes] = image):
    super().__init__(('127.0.0.1', 0), _Handler)
    self.make = make
    self.asked: collections.Counter[str] = collections.Counter()
    self.queries: dict[str, dict[str, str]] = {}
    self.trouble: dict[str, list] = {}
    self.requests: list[str] = []

  @property
  def url(self) -> str:
    """Of the query form."""
    return f'http://127.0.0.1:{self.server_address[1]}/cgi/basicform.pl'

  def handle_error(self, request, client_address):
    """Clients are killed in tests."""

  def __enter__(self):
    threading.Thread(target=self.serve_forever, daemon=True).start()
    return self

  def __exit__(self, *_):
    self.shutdown()
    self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
  server: Server

  def log_message(self, *_):
    pass

  def do_GET(self):
    url = urllib.parse.urlsplit(self.path)
    self.server.requests.append(url.path)
    if url.path == '/cgi/basicform.pl':
      self._send(_FORM.encode())
    elif url.path == '/cgi/runquery.pl':
      query = dict(urllib.parse.parse_qsl(url.query))
      self.server.queries[query['Position']] = query
      name = urllib.parse.quote(query['Position'] + ' ' + query['pixels'])
      self._send(_RESULTS.format(name).encode())
    else:
      name = urllib.parse.unquote(pathlib.PurePosixPath(url.path).stem)
      ra, dec, pixels = urllib.parse.unquote(name).split()
      self._send_image(f'{ra} {dec}', float(ra), float(dec), int(pixels))

  def _send_image(self, place: str, ra: float, dec: float, pixels: int):
    self.server.asked[place] += 1
    first = self.server.trouble.get(place, [])
    what = first.pop(0) if first else None
    content = self.server.make(ra, dec, pixels)
    if isinstance(what, int):
      self.send_response(what)
      self.send_header('Retry-After', '7')
      self.end_headers()
    elif what == 'html':
      self._send(TROUBLE)
    elif what == 'cut':
      self._send(content, upto=len(content) // 2)
    elif what == 'short':
      self._send(content[: len(content) // 2])
    else:
      self._send(content)

  def _send(self, content: bytes, upto: int | None = None):
    self.send_response(200)
    self.send_header('Content-Length', str(len(content)))
    self.end_headers()
    self.wfile.write(content[:upto])
