"""Free memory, and freed memory that is used again: maps of a former size touch no new page."""

import subprocess
import sys

import pytest

from vggfeat._util.memory import free_memory, total_memory

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


@pytest.mark.slow
def test_the_default_and_the_users_own_settings_are_left_alone() -> None:
    touched = faults()
    if touched < 5000:
        pytest.skip("this system's default does not give freed maps back, or has huge pages")
    assert faults("keep", GLIBC_TUNABLES="") > 5000


def test_free_memory_is_within_the_limit_of_the_container(tmp_path) -> None:
    here = free_memory(limits=[])
    assert 10**6 < here <= total_memory()
    (tmp_path / "memory.stat").write_text("anon 7\nactive_file 30\ninactive_file 500\n")
    (tmp_path / "used").write_text("900\n")
    (tmp_path / "limit").write_text("1000\n")
    limits = [(str(tmp_path), "limit", "used"), (str(tmp_path / "x"), "limit", "used")]
    assert free_memory(limits) == 630
    (tmp_path / "limit").write_text("max\n")
    assert free_memory(limits) > 10**6
