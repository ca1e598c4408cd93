import subprocess
import sys

import pytest

_PROGRAM = """
import resource
from radio_ssl.train import memory

assert memory.keep_freed()

def faults():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  block = bytearray(1 << 26)
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc only')
def test_pages_of_a_freed_block_serve_the_next_one():
  done = subprocess.run(
    [sys.executable, '-c', _PROGRAM], capture_output=True, text=True, check=True
  )
  assert int(done.stdout) < 100
