"""The processors of a process, and the numbers of torchrun, as the system gives them."""

import os
import subprocess
import sys

import pytest

from vggfeat._util.processes import torchrun_number
from vggfeat.errors import UsageError


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot restrict a process's processors")
def test_cores_are_those_that_the_process_may_use():
    code = """
import os
from vggfeat._util.processes import cores
allowed = sorted(os.sched_getaffinity(0))
for count in (len(allowed), 1):
    os.sched_setaffinity(0, allowed[:count])
    assert cores() == count, (cores(), count)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_number_of_torchrun(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert torchrun_number("LOCAL_RANK", 0, default=3) == 3
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert torchrun_number("LOCAL_RANK", 0, default=3) == 2


@pytest.mark.parametrize("word", ["", "0", "-1", "two", "1.5"])
def test_a_wrong_number_of_torchrun(monkeypatch, word):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", word)
    with pytest.raises(UsageError, match=rf"\$LOCAL_WORLD_SIZE is '{word}' in the environment"):
        torchrun_number("LOCAL_WORLD_SIZE", 1, default=1)


def test_a_missing_number_of_torchrun(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UsageError, match=r"\$RANK is '' in the environment: start the processes with torchrun"):
        torchrun_number("RANK", 0)
