"""SkyView, through astroquery: one image of FIRST at a time.

astroquery keeps answers, bad ones too, in the home folder, waits for ever, asks
for the form with every image, and rounds positions to six digits, two pixels
of FIRST. What it asks the server for goes through `_Client`, which mends that.
"""

import astropy.coordinates
import astropy.units as u
import requests
from astroquery import skyview

from tfds_builders import first_survey
from tfds_builders.rgz import fetching, shelf, zoo

SURVEY = 'VLA FIRST (1.4 GHz)'
# 404 too: SkyView's way to have no image for the moment, or for good.
_AGAIN = {404, 408, 425, 429, 500, 502, 503, 504}


class SkyView:
  """Images of FIRST on its own scale of 1.8 arcsec, centred on sources.

  Args:
    server: address of SkyView's query form.
    pixels: side of the images.
    timeout_s: of every request.
    pace: every request waits for it.
  """

  def __init__(
    self, server: str, *, pixels: int, timeout_s: float, pace: fetching.Pace
  ):
    self._client = _Client(server, timeout_s, pace)
    self._pixels = pixels

  def get(self, source: zoo.Source) -> bytes:
    """The FITS file, as it comes.

    Raises:
      NotFetchedError: the server has none, for now.
    """
    sky = astropy.coordinates.SkyCoord(
      source.ra_deg, source.dec_deg, unit='deg'
    )
    side = self._pixels * first_survey.PIXEL_SCALE_ARCSEC * u.arcsec
    # The sampler stays the survey's own, which takes the nearest pixel: the
    # form has no other name for it.
    urls = self._client.asked(
      self._client.get_image_list,
      position=sky,
      survey=SURVEY,
      coordinates='J2000',
      projection='Tan',
      pixels=str(self._pixels),
      width=side,
      height=side,
      cache=False,
    )
    if not urls:
      raise shelf.NotFetchedError('the page of results names no FITS image.')
    return self._client.asked(self._client.download, urls[0])


class _Client(skyview.SkyViewClass):
  def __init__(self, server: str, timeout_s: float, pace: fetching.Pace):
    super().__init__()
    self.URL = server
    self._timeout_s = timeout_s
    self._pace = pace
    self._form: requests.Response | None = None

  def asked(self, what, *args, **how):
    """Calls it, with every error of the network as one of ours."""
    try:
      return what(*args, **how)
    except requests.HTTPError as error:
      status = error.response.status_code
      raise shelf.NotFetchedError(
        f'{error.response.url.partition("?")[0]}: HTTP status {status}.',
        again=status in _AGAIN,
        wait_s=_seconds(error.response.headers.get('Retry-After')),
      ) from error
    except requests.RequestException as error:
      reason = ' '.join(str(error).split())[:200]
      raise shelf.NotFetchedError(
        f'{type(error).__name__}: {reason}'
      ) from error

  def get_image_list(self, position, survey, **how):
    """As its parent's; the position is not rounded."""
    fk5 = position.fk5
    self._position = f'{fk5.ra.deg:.7f} {fk5.dec.deg:.7f}'
    return super().get_image_list(position, survey, **how)

  def download(self, url: str) -> bytes:
    """The body of an answer, all of it."""
    answer = self._request('GET', url, cache=False)
    answer.raise_for_status()
    return answer.content

  def _request(self, method, url, params=None, cache=None, **how):
    """As its parent's, which all its methods call."""
    if params is None and url == self.URL and self._form is not None:
      return self._form
    if params is not None:
      params = {**params, 'Position': self._position}
    self._pace.wait()
    how['timeout'] = self._timeout_s
    answer = super()._request(method, url, params=params, cache=False, **how)
    if params is None and url == self.URL:
      answer.raise_for_status()
      if '<form' not in answer.text or SURVEY not in answer.text:
        raise shelf.NotFetchedError(
          f'{url}: not the query form of SkyView, or without {SURVEY!r}. '
          'Correct --server, if it stays so.'
        )
      self._form = answer
    return answer


def _seconds(text: str | None) -> float | None:
  """Of a Retry-After in seconds; its dates are left to the usual waits."""
  return float(text) if text and text.isdigit() else None
