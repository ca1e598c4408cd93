"""Shapes of simulated radio sources: sums of round Gaussians on the sky.

Fluxes and angular sizes follow what was measured on the 1255 FIRST fields of
MiraBest (4 sigma contours, rms 0.156 mJy/beam): medians and the spread between
the 16th and 84th percentiles,

| class | size, arcsec | flux, mJy | peak, rms |
| --- | --- | --- | --- |
| FRI, not bent | 59, 35-116 | 53, 25-142 | 67, 28-156 |
| FRII | 27, 12-86 | 70, 36-233 | 95, 39-283 |
| FRI, bent | 52, 33-99 | 69, 45-223 | 107, 45-279 |

Compact and diffuse sources are not in MiraBest; theirs are set by hand. The
classes overlap as they do there: jets of FRI may end bright, hot spots of FRII
may be faint or closer than a beam, and "not bent" means bent a little.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

_BLOBS = 24


@dataclasses.dataclass(frozen=True)
class Source:
  """K round Gaussians around a position.

  Attributes:
    label: the class.
    east_arcsec: [K] offsets.
    north_arcsec: [K] offsets.
    sigma_arcsec: [K] standard deviations, before the beam.
    flux_jy: [K].
    size_arcsec: largest angular size, as a catalogue would have it.
  """

  label: str
  east_arcsec: np.ndarray
  north_arcsec: np.ndarray
  sigma_arcsec: np.ndarray
  flux_jy: np.ndarray
  size_arcsec: float


@dataclasses.dataclass(frozen=True)
class _Shape:
  """Gaussians in units of the source: half its size, its whole flux."""

  along: np.ndarray
  across: np.ndarray
  sigma: np.ndarray
  weight: np.ndarray


def _join(*shapes: _Shape) -> _Shape:
  fields = [f.name for f in dataclasses.fields(_Shape)]
  return _Shape(
    **{f: np.concatenate([getattr(s, f) for s in shapes]) for f in fields}
  )


def _point(weight: float) -> _Shape:
  zero = np.zeros(1)
  return _Shape(zero, zero, zero, np.array([weight]))


def _arm(
  t: np.ndarray,
  sigma: np.ndarray,
  brightness: np.ndarray,
  *,
  angle: float,
  bend: float,
  length: float,
  flux: float,
) -> _Shape:
  """Gaussians along an arc that leaves the core at an angle and turns.

  Args:
    t: [K] distance from the core along the arm, 0 to 1.
    sigma: [K].
    brightness: [K] relative flux of each.
    angle: of the arm at the core.
    bend: how far it has turned at its end.
    length: of the arm.
    flux: of the whole arm.
  """
  step = length / 64
  direction = angle + bend * np.linspace(0, 1, 65)
  along = np.cumsum(np.cos(direction)) * step
  across = np.cumsum(np.sin(direction)) * step
  at = np.linspace(0, 1, 65)
  return _Shape(
    along=np.interp(t, at, along),
    across=np.interp(t, at, across),
    sigma=sigma * length,
    weight=flux * brightness / brightness.sum(),
  )


def _knots(
  rng: np.random.Generator, t: np.ndarray, spread: float
) -> np.ndarray:
  """Smooth random factors along an arm, with `spread` in ln; [K]."""
  nodes = rng.normal(0, spread, 7)
  return np.exp(np.interp(t, np.linspace(0, 1, len(nodes)), nodes))


def _jet(rng: np.random.Generator, **course: float) -> _Shape:
  """Brightest near the core, wider and fainter outwards, with knots."""
  t = np.linspace(0.04, 1, _BLOBS)
  fading = rng.uniform(0.35, 2.5)
  opening = rng.uniform(0.06, 0.2)
  # Jets that brighten again where they flare make the classes ambiguous.
  at = rng.uniform(0.3, 0.9)
  flare = rng.uniform(0, 1.5) * np.exp(-(((t - at) / 0.12) ** 2))
  brightness = (np.exp(-t / fading) + flare) * _knots(rng, t, 0.9)
  return _arm(t, 0.02 + opening * t, brightness, **course)


def _lobe(rng: np.random.Generator, **course: float) -> _Shape:
  """A hot spot at the end, and a lobe that trails back to the core."""
  back = rng.uniform(0.1, 0.7)
  t = np.linspace(back, 0.93, _BLOBS)
  width = rng.uniform(0.08, 0.24)
  lobe = ((t - back) / (1 - back) + 0.25) * _knots(rng, t, 0.5)
  hot = rng.uniform(0, 0.45)
  t = np.append(t, rng.uniform(0.85, 0.98))
  sigma = np.append(np.full(_BLOBS, width), rng.uniform(0.02, 0.08))
  brightness = np.append((1 - hot) * lobe / lobe.sum(), hot)
  return _arm(t, sigma, brightness, **course)


def _two_arms(
  rng: np.random.Generator,
  arm: Callable[..., _Shape],
  *,
  core: float,
  opening: float,
  bend: float,
  flux_scatter: float,
) -> _Shape:
  """A core and two arms that differ in flux and length.

  Args:
    rng: drawn from.
    arm: `_jet` or `_lobe`.
    core: fraction of the flux in the core.
    opening: angle between the arms at the core; pi is straight.
    bend: turn of each arm from core to end, towards the other.
    flux_scatter: of the ratio of the arms' fluxes, in ln.
  """
  share = 1 / (1 + rng.lognormal(0, flux_scatter))
  shorter = np.exp(-abs(rng.normal(0, 0.25)))
  arms = []
  for side, flux in ((1, share), (-1, 1 - share)):
    arms.append(
      arm(
        rng,
        angle=side * opening / 2,
        bend=-side * bend * rng.uniform(0.7, 1.3),
        length=1.0 if side == 1 else shorter,
        flux=(1 - core) * flux,
      )
    )
  return _join(_point(core), *arms)


def _fri(rng: np.random.Generator) -> _Shape:
  return _two_arms(
    rng,
    _jet,
    core=rng.uniform(0, 0.2),
    opening=np.pi - abs(rng.normal(0, 0.3)),
    bend=rng.normal(0, 0.25),
    flux_scatter=0.5,
  )


def _frii(rng: np.random.Generator) -> _Shape:
  return _two_arms(
    rng,
    _lobe,
    core=rng.uniform(0, 0.15) * (rng.random() < 0.6),
    opening=np.pi - abs(rng.normal(0, 0.18)),
    bend=rng.normal(0, 0.2),
    flux_scatter=0.6,
  )


def _bent(rng: np.random.Generator) -> _Shape:
  return _two_arms(
    rng,
    _jet if rng.random() < 0.75 else _lobe,
    core=rng.uniform(0.02, 0.3),
    opening=np.pi - rng.uniform(0.3, 1.5),
    bend=rng.uniform(0.0, 0.8),
    flux_scatter=0.5,
  )


def _compact(rng: np.random.Generator) -> _Shape:
  """One component, or two that the beam joins."""
  if rng.random() < 0.7:
    return dataclasses.replace(_point(1.0), sigma=np.array([0.4]))
  share = rng.uniform(0.2, 0.5)
  at = np.array([-0.5, 0.5])
  sigma = np.full(2, 0.3)
  return _Shape(at, np.zeros(2), sigma, np.array([share, 1 - share]))


def _diffuse(rng: np.random.Generator) -> _Shape:
  """A lumpy cloud, round to arc-like, without jets."""
  along = np.clip(rng.normal(0, 0.42, _BLOBS), -0.9, 0.9)
  across = rng.normal(0, rng.uniform(0.1, 0.4), _BLOBS)
  across += rng.uniform(0, 0.5) * (along**2 - 0.3)
  return _join(
    _Shape(
      along,
      across,
      rng.uniform(0.1, 0.3, _BLOBS),
      rng.lognormal(0, 0.5, _BLOBS) / _BLOBS,
    ),
    _point(rng.uniform(0, 0.1) * (rng.random() < 0.4)),
  )


@dataclasses.dataclass(frozen=True)
class _Kind:
  """How a class is drawn.

  Attributes:
    shape: draws the morphology.
    share: of all sources.
    size_arcsec: (median, spread in ln).
    flux_jy: (median, spread in ln).
    slope: of ln(flux) with ln(size).
  """

  shape: Callable[[np.random.Generator], _Shape]
  share: float
  size_arcsec: tuple[float, float]
  flux_jy: tuple[float, float]
  slope: float


_KINDS: Mapping[str, _Kind] = {
  'compact': _Kind(_compact, 0.22, (3.0, 0.5), (0.012, 1.0), 0.0),
  'fri': _Kind(_fri, 0.22, (56.0, 0.6), (0.053, 0.8), 0.0),
  'frii': _Kind(_frii, 0.24, (28.0, 0.95), (0.062, 0.9), 0.0),
  'bent': _Kind(_bent, 0.17, (54.0, 0.5), (0.069, 0.75), 0.4),
  'diffuse': _Kind(_diffuse, 0.15, (75.0, 0.4), (0.040, 0.6), 1.0),
}
LABELS = tuple(_KINDS)
_SIZES_ARCSEC = (1.0, 230.0)


def draw(rng: np.random.Generator) -> Source:
  """A source of a random class, size, flux, shape and orientation."""
  shares = [kind.share for kind in _KINDS.values()]
  label = LABELS[rng.choice(len(LABELS), p=shares)]
  kind = _KINDS[label]
  size = kind.size_arcsec[0] * rng.lognormal(0, kind.size_arcsec[1])
  size = float(np.clip(size, *_SIZES_ARCSEC))
  flux = kind.flux_jy[0] * rng.lognormal(0, kind.flux_jy[1])
  flux *= (size / kind.size_arcsec[0]) ** kind.slope
  shape = kind.shape(rng)
  turn, half = rng.uniform(0, 2 * np.pi), size / 2
  return Source(
    label=label,
    east_arcsec=half
    * (shape.along * np.cos(turn) - shape.across * np.sin(turn)),
    north_arcsec=half
    * (shape.along * np.sin(turn) + shape.across * np.cos(turn)),
    sigma_arcsec=half * shape.sigma,
    flux_jy=flux * shape.weight / shape.weight.sum(),
    # Catalogues measure sizes with the beam and an error in them.
    size_arcsec=float(np.hypot(size, 4) * rng.lognormal(0, 0.1)),
  )
