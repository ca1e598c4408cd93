"""One run on several hosts: TPU pods, SLURM, or addresses given by hand."""

import logging
import os

import jax
from absl import flags

_LOG = logging.getLogger(__name__)

_FLAGS = ('coordinator', 'num_processes', 'process_id')


def define_flags() -> None:
  """Defines the flags that `initialize` reads."""
  flags.DEFINE_string(
    'coordinator', None, 'host:port of process 0; not for TPU pods and SLURM.'
  )
  flags.DEFINE_bool(
    'distributed', False, 'JAX finds the processes itself: on Cloud TPU pods.'
  )
  flags.DEFINE_integer('num_processes', None, 'Processes of the run.')
  flags.DEFINE_integer('process_id', None, 'Of this process, from 0.')


def initialize() -> None:
  """Joins the processes of a run; does nothing for a run of one.

  With `--coordinator` all three flags are needed. Without it SLURM, Open MPI
  and TPU pods on Kubernetes are recognised by their environment. Cloud TPU
  pods show nothing there: JAX asks their metadata server, with `--distributed`.

  Raises:
    ValueError: some but not all of the three flags; or the devices are those of
      several processes that know nothing of each other.
  """
  values = {name: flags.FLAGS[name].value for name in _FLAGS}
  missing = [name for name, value in values.items() if value is None]
  if missing and len(missing) < len(values):
    raise ValueError(
      f'--coordinator, --num_processes and --process_id go together; '
      f'--{missing[0]} is missing.'
    )
  distributed = flags.FLAGS['distributed'].value
  if not missing or distributed or _launched_on_several_hosts():
    # XLA:CPU has no collectives between processes by default.
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    jax.distributed.initialize(
      coordinator_address=values['coordinator'],
      num_processes=values['num_processes'],
      process_id=values['process_id'],
    )
  if jax.process_count() > 1 and not jax.distributed.is_initialized():
    raise ValueError(
      f'These devices belong to {jax.process_count()} processes: give '
      '--distributed to all of them.'
    )
  _LOG.info(
    'Process %d of %d, devices: %s',
    jax.process_index(),
    jax.process_count(),
    jax.devices(),
  )


def _launched_on_several_hosts() -> bool:
  # Outside `srun`, in a batch script, SLURM_NTASKS tells of tasks to come.
  for size, rank in (
    ('SLURM_STEP_NUM_TASKS', 'SLURM_PROCID'),
    ('OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_RANK'),
  ):
    if int(os.environ.get(size, '1')) > 1 and rank in os.environ:
      return True
  return ',' in os.environ.get('TPU_WORKER_HOSTNAMES', '')
