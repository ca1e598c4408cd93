"""One run on several hosts: TPU pods, SLURM, or addresses given by hand."""

import os

import jax


def initialize(
  coordinator: str | None, num_processes: int | None, process_id: int | None
) -> None:
  """Joins the processes of a run; does nothing for a run of one.

  With `coordinator` (host:port of process 0) all three are needed. Without it,
  SLURM, Open MPI and TPU pods are recognised by their environment.

  Raises:
    ValueError: some but not all of the three.
  """
  given = [coordinator, num_processes, process_id]
  by_hand = any(value is not None for value in given)
  if by_hand and any(value is None for value in given):
    raise ValueError(
      '--coordinator, --num_processes and --process_id go together; got '
      f'{coordinator}, {num_processes}, {process_id}.'
    )
  if not by_hand and not _launched_on_several_hosts():
    return
  # XLA:CPU has no collectives between processes by default.
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  jax.distributed.initialize(
    coordinator_address=coordinator,
    num_processes=num_processes,
    process_id=process_id,
  )


def _launched_on_several_hosts() -> bool:
  sizes = ('SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE')
  if any(int(os.environ.get(name, '1')) > 1 for name in sizes):
    # An interactive `salloc` shell has SLURM_NTASKS and no rank.
    return 'SLURM_PROCID' in os.environ or 'OMPI_COMM_WORLD_RANK' in os.environ
  return ',' in os.environ.get('TPU_WORKER_HOSTNAMES', '')
