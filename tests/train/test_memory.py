import subprocess
import sys

import pytest

_PROGRAM = """
import resource
import sys
from radio_ssl.train import memory

assert memory.keep_freed()

def faults():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  block = bytearray(int(sys.argv[1]))
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc only')
# Above 2 GiB glibc knows no threshold.
@pytest.mark.parametrize('num_bytes', [1 << 26, 5 << 29])
def test_pages_of_a_freed_block_serve_the_next_one(num_bytes):
  done = subprocess.run(
    [sys.executable, '-c', _PROGRAM, str(num_bytes)],
    capture_output=True,
    text=True,
    check=True,
  )
  assert int(done.stdout) < 100
