"""Freed memory is used again: maps of a size that was there before touch no new page."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs glibc's malloc")

MAPS = """
import resource, sys, threading
from vggfeat._util.memory import keep_freed_memory

if "keep" in sys.argv:
    keep_freed_memory()
import torch

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def fill():
    torch.full((2**24,), 1.0)  # 64 MiB, freed at once

torch.set_num_threads(1)

def forty():
    for _ in range(30):  # at first small things settle in what was freed
        fill()
    before = faults()
    for _ in range(10):
        fill()
    print(faults() - before)

thread = threading.Thread(target=forty)
thread.start()
thread.join()
"""


def faults(*words: str, **environment: str) -> int:
    """Page faults of ten maps of 64 MiB, of 4 or more KiB each, made in a thread."""
    ran = subprocess.run(
        [sys.executable, "-c", MAPS, *words], env=environment, capture_output=True, text=True, check=True
    )
    return int(ran.stdout)


def test_maps_are_made_of_memory_that_was_freed() -> None:
    assert faults("keep") < 1000


def test_the_default_and_the_users_own_settings_are_left_alone() -> None:
    touched = faults()
    if touched < 5000:
        pytest.skip("this system's default does not give freed maps back, or has huge pages")
    assert faults("keep", GLIBC_TUNABLES="") > 5000
