"""Signs of collapse, read off a batch of features."""

import jax
import jax.numpy as jnp

from radio_ssl.objectives import base


def collapse(features: jax.Array) -> dict[str, jax.Array]:
  """How much of the feature space a batch uses.

  Args:
    features: [N, D] of the whole global batch: a rank is no mean over devices.

  Returns:
    feature_std: standard deviation of the L2-normalised features, mean over
      dimensions, times sqrt(D): 1 when spread over the sphere, 0 when collapsed
      (SimSiam, section 4.1 of arXiv:2011.10566).
    effective_rank: exp of the entropy of the normalised singular values, in
      [1, min(N, D)] (RankMe, eq. (1) of arXiv:2210.02885).
  """
  features = features.astype(jnp.float32)
  unit = base.l2_normalize(features)
  spread = jnp.mean(jnp.std(unit, axis=0)) * features.shape[1] ** 0.5
  singular = jnp.linalg.svd(features, compute_uv=False)
  # All-zero features have rank 1, not 0/0.
  share = singular / jnp.maximum(jnp.sum(singular), 1e-30)
  entropy = -jnp.sum(share * jnp.log(jnp.maximum(share, 1e-30)))
  return {'feature_std': spread, 'effective_rank': jnp.exp(entropy)}
