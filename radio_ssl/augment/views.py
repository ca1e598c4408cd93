"""Random views of a batch, in groups, on the device.

Per image: centre in units of the noise -> resampled once, with a low-pass ->
per view: crop, turn, mirror in one gather -> blur -> noise -> interval ->
stretch -> gamma -> contrast. Keys hang on the row in the *global* batch: 1, 2
or N devices, or processes, make the same views.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from radio_ssl.augment import inputs, ops, stretch
from radio_ssl.data import examples

Batch = Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class ViewGroup:
  """How the views of one group are drawn. Ranges are (low, high), uniform.

  The defaults suit FIRST and keep what tells its classes apart: every view of
  a source shows it, at nearly its size, with its outline.

  Attributes:
    size_pix: height and width of the views; 0 takes the input's.
    crop_area: share of the field's area that a view shows, square, anywhere
      inside the field. From 0.65 sizes change by at most 1.24, and a source in
      the centre stays within a tenth of the field of it; the ends of one that
      fills the field may be cut.
    bicubic: how pixels of a view lie between those of the image; bilinear where
      it is False. See `ops.warp_bicubic` for what it does to bright cores.
    rotate: turn by any angle. The field is cut from the turned image: no
      corner is padded where the image holds sqrt(2) times the field.
    flip: mirror every second view.
    blur_probability: 0 turns it off.
    blur_sigma_arcsec: standard deviation of the blur. 2 arcsec make FIRST's
      beam of 5.4 arcsec one of 7.2.
    noise_sigma: rms of added noise, in units of the image's own; correlated
      by the beam. (0, 0) turns it off. 1 is a survey 1.4 times as shallow; on
      pictures whose noise was clipped away it brings back a sky of noise.
    stretches: each view takes one of these by chance in place of the input's;
      () takes the input's. Softenings are those of `stretch.DEFAULT_A`, of the
      input's own stretch `input.stretch_a`. As `gamma` does, this changes how
      bright lobes stand beside the core, and no outline.
    gamma: exponent of the stretched image; drawn uniform in its logarithm.
      (1, 1) turns it off. The brightness of a source says little about its
      class; this is what makes it vary. At 2 faint lobes were gone.
    contrast_probability: of contrast and brightness together; 0 turns it off.
    contrast: factor about the mean of the stretched view.
    brightness: added to the stretched view.
    beam_factor: the view is seen by a round beam so many times as wide, in Jy
      per that beam; (1, 1) turns it off. Point sources keep their peak,
      sources their flux, sizes grow.
    background_sigma: a level up to so many rms, up or down, and as large a
      change across each axis are added; 0 turns it off.
    floor_percentile: what is fainter than this percentile of the view is
      lifted up to it, as where noise was clipped away; faint lobes go too.
      (0, 0) turns it off.
    zscale_contrast: each view is scaled between its own z-scale limits of this
      contrast in place of the input's interval; the flux scale is lost, and the
      outline of a source is that of the lower limit. (0, 0) turns it off.
    channel_stretches: for each channel the stretches of which it takes one by
      chance, such as the paper's "mixed", (('power', 'squared', 'sinh'),
      ('linear',), ('log', 'sqrt', 'asinh')), whose first two are one function
      there, x^2, and so have two chances of three; () shows all channels alike.
  """

  size_pix: int = 0
  crop_area: tuple[float, float] = (0.65, 1.0)
  bicubic: bool = False
  rotate: bool = True
  flip: bool = True
  blur_probability: float = 0.3
  blur_sigma_arcsec: tuple[float, float] = (0.5, 2.0)
  noise_sigma: tuple[float, float] = (0.0, 1.0)
  stretches: tuple[str, ...] = ()
  gamma: tuple[float, float] = (0.5, 1.5)
  contrast_probability: float = 0.5
  contrast: tuple[float, float] = (0.8, 1.25)
  brightness: tuple[float, float] = (-0.05, 0.05)
  beam_factor: tuple[float, float] = (1.0, 1.0)
  background_sigma: float = 0.0
  floor_percentile: tuple[float, float] = (0.0, 0.0)
  zscale_contrast: tuple[float, float] = (0.0, 0.0)
  channel_stretches: tuple[tuple[str, ...], ...] = ()


def parse(fields: Mapping[str, Any], name: str) -> ViewGroup:
  """`config.views[name]` as a group; ValueError on a field that it lacks."""
  known = [field.name for field in dataclasses.fields(ViewGroup)]
  if unknown := sorted(set(fields) - set(known)):
    raise ValueError(
      f'views.{name} has no field {unknown[0]!r}; '
      f'there are: {", ".join(known)}.'
    )
  return ViewGroup(**fields)


@dataclasses.dataclass(frozen=True)
class _Plan:
  """A group's static numbers: lengths are in pixels, `step` in the image's."""

  group: ViewGroup
  size: int
  field: float  # of the frame
  frame_size: int
  step: float
  blur: tuple[float, float]  # of the frame
  beam: float  # standard deviation, of the frame


def make_views(
  input: inputs.Input,
  groups: Mapping[str, ViewGroup],
  counts: Mapping[str, int],
  geometry: examples.Geometry,
) -> Callable[[Batch, Array], dict[str, Array]]:
  """The function from a batch and a key to its views.

  Args:
    input: how images are scaled.
    groups: by name, how the views of each are drawn.
    counts: by name, the number of views of each.
    geometry: what all images share.

  Returns:
    `views(batch, rng)`, for use under jit, vmap over batches, or pmap: from
    {'image' [B, H, W, 1], 'background' [B], 'rms' [B], 'row' [B]} and
    fold_in(run's key, step) to {name: [V, B, size, size, C] float32 in [0, 1]}.

  Raises:
    ValueError: settings that do not fit each other or the images.
  """
  if set(groups) != set(counts):
    raise ValueError(
      f'config.views has {", ".join(sorted(groups)) or "nothing"}; this '
      f'method wants {", ".join(sorted(counts))}.'
    )
  inputs.validate(input, geometry)
  plans = {name: _plan(input, groups[name], geometry, name) for name in counts}

  def views(batch: Batch, rng: Array) -> dict[str, Array]:
    rngs = jax.vmap(jax.random.fold_in, (None, 0))(rng, batch['row'])
    low, high = inputs.limits(batch, input, geometry)
    result, first = {}, 0
    for name, plan in plans.items():
      numbers = first + jnp.arange(counts[name])
      first += counts[name]
      frames = inputs.frame(batch, input, plan.frame_size, plan.step)
      one = _one_view(plan, input)
      of_image = jax.vmap(one, (0, 0, 0, 0, None))
      images = jax.vmap(of_image, (None, None, None, None, 0))(
        frames, low, high, rngs, numbers
      )
      # Channels that are alike are made once.
      result[name] = jnp.repeat(
        images, input.channels // images.shape[-1], axis=-1
      )
    return result

  return views


def _plan(input, group, geometry, name) -> _Plan:
  """Checks a group and works out its static numbers."""
  _check(group, name)
  _check_channels(group, input, name)
  size = group.size_pix or input.size_pix
  field = inputs.field_pix(input, geometry)
  coarsest = field * math.sqrt(group.crop_area[1]) / size
  inputs.refuse_coarse_pixels(input, geometry, coarsest, f'views.{name}')
  # As fine as the closest crop needs, never finer than the image.
  step = max(1.0, field * math.sqrt(group.crop_area[0]) / size)
  side = field * (math.sqrt(2) if group.rotate else 1)
  largest = min(geometry.height, geometry.width)
  frame_size = math.ceil(min(side + 2 * step, largest) / step)
  if step == 1 and (frame_size - largest) % 2:
    frame_size += 1 if frame_size < largest else -1
  blurred = group.blur_probability > 0
  noisy = group.noise_sigma[1] > 0 or group.beam_factor[1] > 1
  pixel, beam = geometry.pixel_scale_arcsec, geometry.beam_major_arcsec
  if blurred and pixel is None:
    raise ValueError(
      f'views.{name}: a blur in arcsec needs one pixel scale for all images; '
      'set blur_probability=0.'
    )
  if noisy and (pixel is None or beam is None):
    raise ValueError(
      f'views.{name}: noise is correlated by the beam, and these images have '
      'no single beam or pixel scale; set noise_sigma=(0, 0) and beam_factor='
      '(1, 1).'
    )
  unit = step * (pixel or 1)
  return _Plan(
    group=group,
    size=size,
    field=field / step,
    frame_size=frame_size,
    step=step,
    blur=tuple(s / unit for s in group.blur_sigma_arcsec),
    beam=(beam or 0) * ops.SIGMA_PER_FWHM / unit,
  )


def _check(group, name):
  for field in (
    'crop_area',
    'blur_sigma_arcsec',
    'noise_sigma',
    'gamma',
    'contrast',
    'brightness',
    'beam_factor',
    'floor_percentile',
    'zscale_contrast',
  ):
    value = getattr(group, field)
    if len(value) != 2 or value[0] > value[1]:
      raise ValueError(f'views.{name}.{field} is {value}; wanted (low, high).')
    if field != 'brightness' and value[0] < 0:
      raise ValueError(f'views.{name}.{field} is {value}; wanted >= 0.')
  if group.size_pix and group.size_pix < 8:
    raise ValueError(
      f'views.{name}.size_pix is {group.size_pix}; wanted 8 or more, or 0.'
    )
  if not 0 < group.crop_area[0] <= group.crop_area[1] <= 1:
    raise ValueError(
      f'views.{name}.crop_area is {group.crop_area}; wanted within (0, 1].'
    )
  for kind in itertools.chain(group.stretches, *group.channel_stretches):
    stretch.check(kind, stretch.DEFAULT_A.get(kind, 1.0))
  if not group.gamma[0] > 0:
    raise ValueError(f'views.{name}.gamma is {group.gamma}; wanted > 0.')
  if group.beam_factor[0] < 1:
    raise ValueError(
      f'views.{name}.beam_factor is {group.beam_factor}; wanted 1 or more: no '
      'image gets sharper.'
    )
  if group.floor_percentile[1] >= 100:
    raise ValueError(
      f'views.{name}.floor_percentile is {group.floor_percentile}; wanted '
      'within [0, 100).'
    )
  contrast = group.zscale_contrast
  if contrast[1] > 0 and not 0 < contrast[0] <= contrast[1] <= 1:
    raise ValueError(
      f'views.{name}.zscale_contrast is {contrast}; wanted within (0, 1], or '
      '(0, 0).'
    )
  if not group.background_sigma >= 0:
    raise ValueError(
      f'views.{name}.background_sigma is {group.background_sigma}; wanted >= 0.'
    )


def _check_channels(group, input, name):
  families = group.channel_stretches
  if families and (group.stretches or len(families) != input.channels):
    raise ValueError(
      f'views.{name}.channel_stretches has {len(families)} families for '
      f'input.channels={input.channels}, and stretches={group.stretches}; '
      'wanted a family for each channel, and stretches=().'
    )
  if not all(families):
    raise ValueError(f'views.{name}.channel_stretches has an empty family.')


def _displays(
  kinds: Sequence[str], input: inputs.Input
) -> list[Callable[[Array, Array, Array], Array]]:
  """Interval and stretch, for each stretch that a view may take."""
  softenings = stretch.DEFAULT_A | {input.stretch: input.stretch_a}
  return [
    functools.partial(
      inputs.display,
      input=dataclasses.replace(
        input, stretch=kind, stretch_a=softenings.get(kind, 1.0)
      ),
    )
    for kind in kinds
  ]


def _one_view(plan: _Plan, input: inputs.Input):
  """The function (frame, low, high, image's key, view number) -> [S, S, C]."""
  group = plan.group
  closest = plan.field * math.sqrt(group.crop_area[0]) / plan.size
  families = group.channel_stretches or (group.stretches or (input.stretch,),)
  displays = [_displays(kinds, input) for kinds in families]

  def one(frame, low, high, rng, number):
    rng_draws, rng_noise = jax.random.split(jax.random.fold_in(rng, number))
    # Drawn apart, so that views without these changes are what they were.
    changes = iter(jax.random.uniform(jax.random.fold_in(rng_noise, 1), (8,)))
    # One call for all numbers of a view: calls cost more than numbers.
    *draws, chosen = jax.random.uniform(rng_draws, (13,))
    draw = iter(draws)

    def between(bounds, draw=draw):
      return bounds[0] + next(draw) * (bounds[1] - bounds[0])

    side = jnp.sqrt(between(group.crop_area)) * plan.field
    zoom = side / plan.size
    y, x = ops.positions(
      plan.size,
      zoom=zoom,
      shift=(jnp.stack([next(draw), next(draw)]) - 0.5) * (plan.field - side),
      angle=next(draw) * (2 * math.pi * group.rotate),
      flip=next(draw) < 0.5 * group.flip,
    )
    image = (ops.warp_bicubic if group.bicubic else ops.warp)(frame, y, x)
    blurred = next(draw) < group.blur_probability
    blur = jnp.where(blurred, between(plan.blur), 0) / zoom
    if group.blur_probability > 0:
      image = ops.blur(image, blur)
    widen = between(group.beam_factor, changes)
    if tuple(group.beam_factor) != (1, 1):
      image = ops.larger_beam(image, plan.beam / zoom, widen)
    noise = between(group.noise_sigma)
    if group.noise_sigma[1] > 0:
      # The beam is widest, in pixels of the view, in the closest crop.
      reach = ops.reach_pix(plan.beam * group.beam_factor[1] / closest)
      image = image + noise * ops.correlated_noise(
        rng_noise, plan.size, plan.beam * widen / zoom, reach
      )
    image, low, high = _other_reduction(group, image, low, high, changes)
    image = _channels(displays, image, low, high, [chosen, *changes])
    exponent = jnp.exp(between([math.log(g) for g in group.gamma]))
    if tuple(group.gamma) != (1, 1):
      image = ops.gamma(image, exponent)
    if group.contrast_probability > 0:
      changed = next(draw) < group.contrast_probability
      image = ops.contrast(
        image,
        jnp.where(changed, between(group.contrast), 1),
        jnp.where(changed, between(group.brightness), 0),
      )
    return image

  return one


def _channels(
  displays: Sequence[Sequence[Callable[[Array, Array, Array], Array]]],
  image: Array,
  low: Array,
  high: Array,
  draws: Sequence[Array],
) -> Array:
  """[S, S, C]: of each channel's displays the one that its draw falls on."""
  return jnp.stack(
    [
      jax.lax.switch(
        (draw * len(kinds)).astype(jnp.int32), kinds, image, low, high
      )
      for kinds, draw in zip(displays, draws, strict=False)
    ],
    axis=-1,
  )


def _other_reduction(
  group: ViewGroup,
  image: Array,
  low: Array,
  high: Array,
  draws: Iterator[Array],
) -> tuple[Array, Array, Array]:
  """Background, clipping and limits as another reduction might have left."""
  offset, slope_y, slope_x = (2 * next(draws) - 1 for _ in range(3))
  if group.background_sigma > 0:
    sigma = group.background_sigma
    image = ops.plane(image, sigma * offset, sigma * slope_y, sigma * slope_x)
  lowest, highest = group.floor_percentile
  percentile = lowest + next(draws) * (highest - lowest)
  if highest > 0:
    image = ops.floor_at_percentile(image, percentile)
  lowest, highest = group.zscale_contrast
  contrast = lowest + next(draws) * (highest - lowest)
  if highest > 0:
    low, high = stretch.limits(image, 'zscale', contrast=contrast)
  return image, low, high
