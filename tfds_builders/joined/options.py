"""What shapes the data; the flags of the builder."""

import dataclasses
import json
import math
import pathlib
from typing import Any

from radio_ssl.data import manifest
from tfds_builders import build
from tfds_builders.image_folder import settings
from tfds_builders.joined import members
from tfds_builders.radio_fits import options as radio_fits


def _sets(text: str) -> tuple[str, ...]:
  """Reads 'DIR:train,DIR:train+valid'."""
  return tuple(filter(None, (item.strip() for item in text.split(','))))


@dataclasses.dataclass(frozen=True)
class Options:
  """What shapes the data; each field is a flag of `tfds_builders.build`."""

  sets: tuple[str, ...] = settings.option(
    (),
    'the data sets and their splits, DIR:train,DIR:train+valid; of a source in '
    'several, the image of the first is taken',
    _sets,
  )
  name: str = settings.option('joined', 'what the data set is called')
  exclude: str | None = settings.option(
    None,
    'catalogue of evaluation sources; no image may hold one, nor come closer '
    'than 30 arcsec or half its size',
  )
  exclude_columns: tuple[tuple[str, str], ...] = settings.option(
    (),
    "its columns of unusual names: 'ra_deg=X,source_size_arcsec=Y'",
    radio_fits.parse_columns,
  )
  size_pix: int | None = settings.option(
    None,
    'side of the central square that is kept of each image, in its own pixels; '
    'the smallest side among the sets without it',
    int,
  )
  dtype: str = settings.option(
    'float32',
    'of the stored pixels; float16, in units of the rms, takes half the room; '
    'sets of 8-bit pictures alone stay uint8',
  )
  full_scale_sigma: float = settings.option(
    90.0,
    '8-bit pictures among float images: 255 stands for that many rms, as '
    'config.input.full_scale_sigma has it',
    float,
  )
  same_arcsec: float = settings.option(
    30.0,
    'leave out an image centred no farther than this from one of an earlier '
    'set; 0 keeps all',
    float,
  )

  def __post_init__(self):
    object.__setattr__(self, 'sets', tuple(self.sets))
    pairs = tuple(sorted(dict(self.exclude_columns).items()))
    object.__setattr__(self, 'exclude_columns', pairs)
    settings.check_name(self.name, 'joined')
    for text in self.sets:
      members.parse(text)
    if self.size_pix is not None and self.size_pix < 8:
      raise ValueError(f'size_pix {self.size_pix}: wanted 8 or more.')
    if self.dtype not in ('float32', 'float16'):
      raise ValueError(f'dtype {self.dtype!r}: wanted float32 or float16.')
    if not 0 < self.full_scale_sigma < math.inf:
      raise ValueError(
        f'full_scale_sigma {self.full_scale_sigma}: wanted more than 0.'
      )
    if not 0 <= self.same_arcsec < math.inf:
      raise ValueError(f'same_arcsec {self.same_arcsec}: wanted 0 or more.')

  def record(self) -> dict[str, Any]:
    """All values; of sets and catalogue the content, wherever they lie."""
    values = json.loads(json.dumps(dataclasses.asdict(self)))
    values['sets'] = self._stamps()
    if self.exclude is not None:
      path = pathlib.Path(self.exclude)
      values['exclude'] = build.MISSING
      if path.is_file():
        values['exclude'] = manifest.sha256(path)
    return values

  def _stamps(self) -> list[dict[str, str]] | str:
    folders = [
      pathlib.Path(folder) for folder, _ in map(members.parse, self.sets)
    ]
    if not all((folder / 'dataset_info.json').is_file() for folder in folders):
      return build.MISSING
    return [
      {
        'set': member.title,
        'splits': '+'.join(member.splits),
        'fingerprint': member.dataset.fingerprint,
      }
      for member in members.opened(self.sets)
    ]
