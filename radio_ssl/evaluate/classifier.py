"""A linear classifier on an encoder, in the form of an objective."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from radio_ssl.augment import inputs
from radio_ssl.evaluate import features
from radio_ssl.objectives import base as objectives
from radio_ssl.train import state

# Beside the branches of the encoder, none of which has this name.
BRANCH = 'classifier'


@dataclasses.dataclass(frozen=True)
class Classifier:
  """The contract of `objectives.base.Objective` but for `init`, with labels.

  `params` are the branches of the encoder, where it learns, and the
  classifier; the variables of a frozen encoder are the model state.
  """

  encoder: nn.Module
  num_classes: int
  train_encoder: bool

  @property
  def views(self) -> Mapping[str, int]:
    """One view an image."""
    return {'global': 1}

  def initial(
    self, start: features.FrozenEncoder, tx, rng: jax.Array
  ) -> state.TrainState:
    """The state before the first step: all classes are equally likely."""
    # Copies: the step gives its buffers away.
    variables = jax.tree.map(jnp.array, dict(start.variables))
    pooled = jax.eval_shape(start, features.blank(start.input))
    params = {
      BRANCH: {
        'kernel': jnp.zeros((pooled.shape[-1], self.num_classes)),
        'bias': jnp.zeros(self.num_classes),
      }
    }
    if self.train_encoder:
      params |= variables.pop('params')
    return state.TrainState(
      step=jnp.int32(0),
      params=params,
      model_state=variables,
      opt_state=tx.init(params),
      rng=rng,
      first_nonfinite_step=jnp.int32(-1),
    )

  def loss(self, params, model_state, batch, *, step, rng):
    """Cross-entropy of the classes."""
    del step, rng
    images, labels = batch['views']['global'][0], batch['label']
    pooled, model_state = self._features(params, model_state, images)
    classifier = params[BRANCH]
    with jax.default_matmul_precision('highest'):
      logits = pooled @ classifier['kernel'] + classifier['bias'][None]
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    right = jnp.argmax(logits, axis=-1) == labels
    return objectives.LossOutput(
      jnp.mean(loss), model_state, {'accuracy': jnp.mean(right)}, pooled
    )

  def _features(self, params, model_state, images):
    if not self.train_encoder:
      output = self.encoder.apply(model_state, images, train=False)
      return jax.lax.stop_gradient(output.pooled), model_state
    output, mutated = self.encoder.apply(
      {'params': without(params), **model_state},
      images,
      train=True,
      mutable=['batch_stats'],
    )
    # Without BatchNorm nothing has changed.
    return output.pooled, {**model_state, **mutated}

  def after_update(self, old_params, params, model_state, step):
    """Nothing."""
    del old_params, step
    return params, model_state


def without(params: Mapping[str, Any]) -> dict[str, Any]:
  """The branches of the encoder alone."""
  return {k: v for k, v in params.items() if k != BRANCH}


def layer_factors(
  encoder: nn.Module, image_input: inputs.Input, decay: float
) -> dict[str, float]:
  """Factor of the learning rate for each branch of an encoder's parameters.

  A layer is what a name has before its block's end: stem_conv and stem_norm
  are one, and so is all of block3. They are counted in the order in which the
  encoder calls them; arrays of its own, such as position embeddings, belong to
  the first. The last has `decay`, the one below it `decay` squared, and so on
  (Clark et al. 2020, arXiv:2003.10555, section 3.1).
  """
  order: dict[str, None] = {}

  def record(next_call, args, kwargs, context):
    if context.module.path:
      order.setdefault(_layer(context.module.path[0]))
    return next_call(*args, **kwargs)

  with nn.intercept_methods(record):
    variables = features.shapes(encoder, image_input)
  ranks = {layer: len(order) - i for i, layer in enumerate(order)}
  return {
    branch: decay ** ranks.get(_layer(branch), len(order))
    for branch in variables['params']
  }


def _layer(branch: str) -> str:
  return re.match(r'.*?block\d+|[^_]+', branch)[0]
