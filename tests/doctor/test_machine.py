"""Memory, processors, disk and write access; a folder that cannot be written, a disk that is full."""

import shutil
from types import SimpleNamespace

import pytest

from vggfeat.doctor import machine


@pytest.fixture
def found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VGGFEAT_CACHE", str(tmp_path / "not" / "yet"))
    return lambda: {check.name: check for check in machine.checks()}


def test_a_machine(found, tmp_path):
    every = found()
    assert list(every) == ["memory", "processors", "disk-cache", "disk-here", "write-cache", "write-here"]
    assert every["write-cache"].state == every["write-here"].state == every["processors"].state == "ok"
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_nearly_full(found, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1.1e9))
    every = found()
    assert (every["disk-cache"].state, every["disk-here"].state) == ("warning", "ok")
    assert every["disk-cache"].found.startswith("1.1 GB free at /")


def test_a_cache_that_cannot_be_made(found, tmp_path):
    (tmp_path / "not").touch()
    cache = found()["write-cache"]
    assert (cache.state, cache.found) == ("warning", f"{tmp_path}/not: is a file, not a folder")
    assert cache.remedy == "export VGGFEAT_CACHE=FOLDER"


def test_a_folder_that_cannot_be_written(found, tmp_path, monkeypatch):
    """The system is asked by os.access; the user of the tests may be root, who can write everywhere."""
    monkeypatch.setattr("os.access", lambda place, mode: False)
    here = found()["write-here"]
    assert (here.state, here.found) == ("warning", f"{tmp_path}: cannot be written")


def test_no_home_folder(found, monkeypatch):
    for name in ("VGGFEAT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: exec("raise RuntimeError"))
    assert (found()["write-cache"].state, found()["disk-cache"].state) == ("warning", "warning")


def test_a_current_folder_that_was_removed(found, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert (found()["write-here"].state, found()["disk-here"].state) == ("warning", "warning")
