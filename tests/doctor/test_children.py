"""Questions that are asked in other processes: what crashes or hangs there costs an answer, and no more."""

import sys
import time
from pathlib import Path

import pytest

from tests.kit.fake_packages import install
from vggfeat.doctor.children import Answer, Question, ask


def answer(module, seconds):
    return ask({"it": Question("imports", (module,))}, time.monotonic() + seconds)["it"]


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("", ""),
        ("print('x' * 10**6, flush=True)", ""),
        ("raise ImportError('libfoo.so is missing\\nand more')", "ImportError: libfoo.so is missing"),
        ("raise ValueError", "ValueError"),
        ("import sys; sys.exit('no')", "SystemExit: no"),
        ("import os; os.kill(os.getpid(), 11)", "it ends the process by SIGSEGV"),
        ("import os; os._exit(3)", "it ends the process with status 3"),
    ],
)
def test_an_import_and_its_end(code, trouble, tmp_path, monkeypatch):
    install(tmp_path, "fake", code=code)
    monkeypatch.syspath_prepend(tmp_path)
    assert answer("fake", 60) == Answer(None, trouble)
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_module_that_is_not_there():
    assert answer("no_such_module", 60).trouble == "ModuleNotFoundError: No module named 'no_such_module'"


def test_a_module_of_the_current_folder_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "mine.py").touch()
    monkeypatch.chdir(tmp_path)
    assert "No module named 'mine'" in answer("mine", 60).trouble


HANGING = """
import os, subprocess, time
child = subprocess.Popen(["sleep", "600"])
with open({file!r}, "w") as file:
    print(os.getpid(), child.pid, file=file)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_hangs_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    file = tmp_path / "processes"
    install(tmp_path, "fake", code=HANGING.format(file=str(file)))
    monkeypatch.syspath_prepend(tmp_path)
    found = answer("fake", 3)
    assert (found.in_time, found.trouble) == (False, "not finished in time")
    for process in map(int, file.read_text().split()):
        assert not is_running(process)


def is_running(process):
    for _ in range(100):  # who has inherited it may take a moment to notice that it ended
        try:
            state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.01)
    return True


def test_no_time_is_no_answer():
    assert answer("json", 0) == Answer(None, "not finished in time", in_time=False)
