"""BUNIT in the spellings of radio headers; astropy parses few of them."""

import re

import astropy.units

_PREFIXES = {
  '': 1.0,
  'k': 1e3,
  'M': 1e6,
  'm': 1e-3,
  'u': 1e-6,
  'µ': 1e-6,
  'μ': 1e-6,
  'n': 1e-9,
}


def to_jy_beam(unit: str) -> float:
  """What multiplies values in `unit` into Jy/beam.

  Args:
    unit: as in BUNIT: JY/BEAM, mJy/beam, 'uJy beam^-1', 'beam-1 Jy', Jy/bm.

  Raises:
    ValueError: for what is not a brightness per beam.
  """
  text = re.sub(r'\*\*|\^|[()\s.*]', '', unit)
  brightness, count = re.subn(r'(?i)/(beam|bm|b)$|(beam|bm)-1', '', text)
  match = re.fullmatch(r'(.*)jy', brightness, re.IGNORECASE)
  if count != 1 or not match:
    raise ValueError(f'{unit!r} does not convert to Jy/beam')
  # Case tells mJy from MJy, but old headers are upper-case throughout: there
  # MJY/BEAM is milli.
  prefix = match.group(1)
  prefix = prefix.lower() if brightness.isupper() else prefix
  factor = _PREFIXES.get(prefix, _PREFIXES.get(prefix.lower()))
  if factor is None:
    raise ValueError(f'{unit!r} does not convert to Jy/beam')
  return factor


def is_known(unit: str) -> bool:
  """Whether each word of a unit is the name of one, in any case: JY/PIXEL."""
  words = re.findall(r'[^\W\d_]+', unit)
  return bool(words) and all(_is_name(word) for word in words)


def _is_name(word: str) -> bool:
  jansky = re.sub(r'(?i)jy$', 'Jy', word)
  for spelling in (word, jansky, word.lower(), word.capitalize()):
    try:
      astropy.units.Unit(spelling)
    except ValueError:
      continue
    return True
  return False
