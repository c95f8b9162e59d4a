"""Files from anywhere: bounded memory, and one line each."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.kit.hostile_weights import HOSTILE, damaged, whole_files
from vggfeat.errors import WeightsError
from vggfeat.weights import resolve, verify

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is limited as on Linux")


def verified(files: list[Path]) -> dict[str, str]:
    """Each file, verified in one process with little memory: its name -> read or refused."""
    command = [sys.executable, "-m", "tests.kit.hostile_weights", *map(str, files)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=600)
    assert ran.returncode == 0, ran.stdout[-300:] + ran.stderr[-2000:]
    return {name: said for said, _, name in (line.split(maxsplit=2) for line in ran.stdout.splitlines())}


def test_small_files_that_ask_for_much_memory_are_refused(tmp_path: Path) -> None:
    files = [file for make in HOSTILE.values() for file in make(tmp_path)]
    assert all(file.stat().st_size < 6_000_000 for file in files)
    assert verified(files) == {file.name: "refused" for file in files}


def damage(folder: Path, tries: int, seed: int) -> Counter[str]:
    """How many of `tries` damaged files of each format are read or refused; a process that ends is a failure."""
    draw, made = random.Random(seed), folder / "damaged"
    made.mkdir()
    files = []
    for whole in whole_files(folder):
        for i in range(tries):
            files.append(made / f"{i}-{whole.name}")
            files[-1].write_bytes(damaged(whole.read_bytes(), draw))
    found = Counter[str]()
    for start in range(0, len(files), 300):
        some = files[start : start + 300]
        said = verified(some)
        assert len(said) == len(some)
        found.update(said.values())
    return found


def test_whole_files_are_read_in_that_memory(tmp_path: Path) -> None:
    files = whole_files(tmp_path)
    assert verified(files) == {file.name: "read" for file in files}


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    found = damage(tmp_path, 12, seed=1)
    assert found["refused"] > 30


@pytest.mark.slow
def test_many_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    found = damage(tmp_path, 500, seed=2)
    assert found["refused"] > 1000


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "x.mat", "x.caffemodel"])
def test_a_pipe_is_refused_at_once(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    for function in (verify, resolve):
        with pytest.raises(WeightsError, match=rf"{name}: cannot be read \(.+\)"):
            function(tmp_path / name)
