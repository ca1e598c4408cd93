"""The table of classes: a row an image, or a row a source of a catalogue."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from astropy import table

from radio_ssl.data import catalogue, pipeline
from radio_ssl.evaluate import checks, features
from radio_ssl.predict import images, probes

# Column -> unit, UCD (IVOA's UCD1+ words) and what it is.
_TOLD = {
  'name': ('', 'meta.id;meta.main', 'of the source'),
  'ra_deg': ('deg', 'pos.eq.ra;meta.main', 'ICRS'),
  'dec_deg': ('deg', 'pos.eq.dec;meta.main', 'ICRS'),
  'class': ('', 'src.class', 'the most probable one; none without an image'),
  'peak_snr': ('', 'stat.snr', 'brightest pixel over the noise'),
  'missing': ('', 'stat.value', "share of the encoder's field without a value"),
  'rms_jy_beam': ('Jy/beam', 'instr.det.noise', 'noise around the source'),
  'image': ('', 'meta.file', 'file that the image was cut from'),
  'flags': ('', 'meta.code', 'what is wrong with the image, or why it is none'),
  'features': ('', '', "the encoder's, that the probabilities are made of"),
}


def predict(
  checkpoint: str | pathlib.Path,
  classifier: probes.Classifier,
  dataset: pipeline.DataSet,
  split: str = 'train',
  *,
  with_features: bool = False,
) -> table.Table:
  """Classes of all images of a split.

  Args:
    checkpoint: of the encoder, as for `features.from_checkpoint`.
    classifier: of `probes.read`, fitted to that encoder.
    dataset: its images.
    split: of it.
    with_features: whether the table has the features, a vector a row.

  Returns:
    Rows in the order of the records: `name`, `ra_deg`, `dec_deg`, `class`, the
    probability `p_CLASS` of each class, `peak_snr`, `missing` (share of pixels
    without a value in the encoder's field), `rms_jy_beam`, `image` and `flags`
    (`images.flags`).

  Raises:
    ValueError: a probe of another encoder, or images that do not fit it.
  """
  frozen = classifier.encoder(checkpoint)
  checks.fits(frozen.inputs, dataset, checkpoint)
  found = features.extract(
    frozen, dataset, split, rotations=classifier.rotations, labelled=False
  )
  p = np.exp(classifier.probe.log_probabilities(found.features)[0])
  columns = images.described(frozen, dataset, split)
  peak_snr = found.columns['peak_snr']
  return _table(
    classifier.label_names,
    {
      'name': found.names,
      'ra_deg': found.columns['ra_deg'],
      'dec_deg': found.columns['dec_deg'],
      'class': np.array(classifier.label_names)[p.argmax(axis=1)],
      'peak_snr': peak_snr,
      **{name: columns[name] for name in ('missing', 'rms_jy_beam', 'image')},
      'flags': images.flags(columns, peak_snr, frozen.meta),
    },
    p,
    found.features if with_features else None,
  )


def nothing(
  classifier: probes.Classifier, *, with_features: bool = False
) -> table.Table:
  """The table of `predict` where there is no image at all, without rows."""
  text, number = np.zeros(0, str), np.zeros(0)
  kinds = {'name': text, 'class': text, 'image': text, 'flags': text}
  columns = {name: kinds.get(name, number) for name in _TOLD}
  del columns['features']
  _, width, num_classes = classifier.probe.weights.shape
  return _table(
    classifier.label_names,
    columns,
    np.zeros((0, num_classes)),
    np.zeros((0, width)) if with_features else None,
  )


def _table(
  label_names: Sequence[str], columns: Mapping, p: np.ndarray, vectors
) -> table.Table:
  """Columns with unit, UCD and description; probabilities after the class."""
  result = table.Table()
  for name in _TOLD:
    if name in columns:
      values = np.asarray(columns[name])
      exact = name in ('ra_deg', 'dec_deg') or values.dtype.kind == 'U'
      _add(result, name, values if exact else values.astype(np.float32))
    if name == 'class':
      for label, column in zip(label_names, p.T, strict=True):
        about = '', 'stat.probability', f'that it is {label}'
        _add(result, f'p_{label}', column.astype(np.float32), about)
  if vectors is not None:
    _add(result, 'features', vectors.astype(np.float32))
  return result


def _add(result: table.Table, name: str, values: np.ndarray, about=None):
  unit, ucd, told = about or _TOLD[name]
  result[name] = table.Column(
    values,
    unit=unit or None,
    description=told,
    meta={'ucd': ucd} if ucd else {},
  )


def in_order_of(
  found: table.Table,
  sources: catalogue.Catalogue,
  lost: Mapping[str, str] | None = None,
) -> table.Table:
  """A row for every source of a catalogue, in its order.

  Args:
    found: of `predict`.
    sources: the catalogue that its images were cut by.
    lost: sources that an image holds but have none of their own -> why.

  Returns:
    As `found`; sources that it lacks have the class '', NaN for numbers, and
    the flag that `lost` gives, else 'no_image'.

  Raises:
    ValueError: `found` has sources that the catalogue lacks.
  """
  places = {str(name): row for row, name in enumerate(found['name'])}
  if strange := set(places) - set(sources.name):
    raise ValueError(
      f'{sources.path}: has no source {min(strange)!r}, of which there is an '
      'image: they were cut by another catalogue. Name that one.'
    )
  # The last row stands for all that are lacking.
  rows = np.array([places.get(name, -1) for name in sources.name])
  result = table.Table(meta=found.meta)
  for name, column in found.columns.items():
    values = np.asarray(column)
    empty = '' if values.dtype.kind == 'U' else np.nan
    last = np.full((1, *values.shape[1:]), empty, values.dtype)
    result[name] = table.Column(
      np.concatenate([values, last])[rows],
      unit=column.unit,
      description=column.description,
      meta=column.meta,
    )
  _add(result, 'name', np.asarray(sources.name, str))
  result['ra_deg'][:], result['dec_deg'][:] = sources.ra_deg, sources.dec_deg
  why = np.array([(lost or {}).get(name, 'no_image') for name in sources.name])
  _add(result, 'flags', np.where(rows < 0, why, result['flags']))
  return result
