"""A checkpoint's encoder as a folder that can be shared; see `exports`."""

import pathlib
import shlex
import sys
from collections.abc import Sequence

import jax

import radio_ssl
from radio_ssl import exports
from radio_ssl.data import provenance
from radio_ssl.evaluate import features, overlap, summary


def export(
  checkpoint: str | pathlib.Path,
  output: str | pathlib.Path,
  *,
  which: str | None = None,
  results: Sequence[str | pathlib.Path] = (),
  licence: str = '',
) -> pathlib.Path:
  """Writes a checkpoint's encoder to a new folder.

  Args:
    checkpoint: as for `checkpoints.read`.
    output: the folder; new or empty.
    which: 'online' | 'ema'; None takes the online one.
    results: `results.json` files of the evaluator, for the card.
    licence: of the weights, for the card.

  Raises:
    ValueError: no such checkpoint or encoder, results that are none, or an
      output that holds something.
  """
  output = pathlib.Path(output)
  scores = [summary.read(path) for path in results]
  frozen = features.from_checkpoint(checkpoint, which)
  meta = dict(frozen.meta)
  sky = frozen.footprints or overlap.footprints(meta)
  unknown = sky if isinstance(sky, str) else None
  meta['exported'] = {
    'which': which or 'online',
    'package_version': radio_ssl.__version__,
    'commit': provenance.commit(),
  }
  exports.write(
    output,
    frozen.variables,
    meta,
    readme=_card(meta, frozen, scores, licence, unknown, output.name),
    footprints=None if unknown else sky,
  )
  return output


def _card(meta, frozen, scores, licence, unknown, name) -> str:
  config, dataset = meta['config'], meta['dataset']
  encoder = config['encoder']
  size = sum(x.size for x in jax.tree.leaves(frozen.variables['params']))
  given = dataset['geometry']
  lines = [
    f'# {name}',
    '',
    f'An encoder for radio images: {encoder["name"]} with {size:,} parameters, '
    f'pretrained without labels by {config["objective"]["name"]} '
    f'(radio_ssl {meta["package_version"]}, commit {meta["commit"]}).',
    '',
    '    import radio_ssl',
    f"    frozen = radio_ssl.load_encoder('{name}')",
    '    vectors = frozen.features(images, pixel_scale_arcsec=1.8)',
    '',
    'takes images [N, H, W] in Jy/beam, rows from the south, the source in the '
    'centre. `frozen.encoder` is a Flax module, `frozen.variables` its arrays, '
    '`frozen(images)` the features of images that are scaled as below. To '
    'measure it on labelled images:',
    '',
    '    python -m radio_ssl.evaluate '
    '--config=configs/eval/linear_mirabest.py '
    f'--checkpoint={name} --output=eval',
    '',
    '## Input',
    '',
    '| field | value |',
    '| --- | --- |',
    *(f'| {k} | {v} |' for k, v in config['input'].items()),
    '',
    '## Training data',
    '',
    f'- `{dataset["directory"]}`, split `{config["data"]["split"]}`, '
    f'fingerprint {dataset["fingerprint"]}',
    f'- images of {given["height"]} x {given["width"]} pixels of '
    f'{given["pixel_scale_arcsec"]} arcsec, beam {given["beam_major_arcsec"]} '
    'arcsec',
    '- where they lie on the sky: '
    + (f'unknown, {unknown}' if unknown else '`footprints.safetensors`'),
    f'- {config["num_epochs"]} epochs (or {config["num_steps"]} steps), batch '
    f'{config["batch_size"]}, seed {config["seed"]}; all settings: '
    '`config.json`',
    '',
    '## Results',
    '',
    summary.table(scores) if scores else 'None given at export.',
    '',
    '## Licence and origin',
    '',
    f'- licence of these weights: {licence or "not stated: ask the authors"}',
    '- exported by:',
    '',
    f'      python -m radio_ssl.convert {shlex.join(sys.argv[1:])}',
    '',
    '- SHA-256 of every file of this folder: `SHA256SUMS.json`',
    '',
  ]
  return '\n'.join(lines)
