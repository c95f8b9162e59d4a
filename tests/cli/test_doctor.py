"""`vggfeat doctor` as it is: its lines, its JSON, its exit status; no network, no file, no torch in its process."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.kit.fake_packages import install
from vggfeat import cli
from vggfeat.doctor import checks
from vggfeat.errors import UsageError

SOURCE = Path(__file__).parents[2]

# Each process of Python notes which hosts it asks and which files it changes, and in the end what it has imported.
WATCH = """
import atexit, os, sys
log = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
CHANGES = {{"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime"}}
ASKS = {{"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}}
def watch(event, arguments):
    if event == "open":
        file, _, flags = arguments
        noted = isinstance(file, (str, bytes)) and file != "/dev/null" and isinstance(flags, int) and flags & 3
    else:
        noted = event in CHANGES | ASKS
    if noted:
        os.write(log, f"{{event}} {{arguments}}\\n".encode())
sys.addaudithook(watch)
atexit.register(lambda: os.write(log, f"end {{sorted(sys.modules.keys() & {{'torch', 'numpy'}})}}\\n".encode()))
"""


@pytest.fixture
def doctor(tmp_path):
    """doctor(*words) -> the process after it has ended; its home and current folder are empty, or hold a cache."""
    for name in ("home", "watch", "fakes"):
        (tmp_path / name).mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH.format(log=str(tmp_path / "log")))

    def run(*words):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("VGGFEAT", "XDG"))}
        path = os.pathsep.join(map(str, (tmp_path / "watch", tmp_path / "fakes", SOURCE)))
        return subprocess.run(
            [sys.executable, "-B", "-m", "vggfeat", "doctor", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=tmp_path / "home",
            env={**environment, "HOME": str(tmp_path / "home"), "PYTHONPATH": path},
        )

    return run


def test_it_writes_nothing_asks_nobody_and_imports_no_torch(doctor, tmp_path):
    ended = doctor("--json")
    assert ended.stderr == ""
    assert ended.returncode == 0
    assert (tmp_path / "log").read_text() == "end []\n"
    assert not list((tmp_path / "home").iterdir())
    found = json.loads(ended.stdout)["checks"]
    assert {tuple(check) for check in found} == {("name", "state", "found", "without", "remedy")}
    assert {check["state"] for check in found} <= {"ok", "warning", "missing"}


def test_a_broken_torch_is_a_line_and_status_1(doctor, tmp_path):
    slow = "faiss", "openTSNE", "starlette", "uvicorn", "ray", "s3fs", "gcsfs", "aiohttp"  # real ones take seconds
    for name in slow:
        install(tmp_path / "fakes", name)
    install(tmp_path / "fakes", "torch", code="import os; os.kill(os.getpid(), 11)")
    ended = doctor("--seconds", 60)
    assert ended.returncode == 1
    assert ended.stderr == (
        "vggfeat: torch: missing or broken, and vggfeat extract needs it; do what its remedy says\n"
    )
    lines = ended.stdout.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("torch "))
    assert " ".join(" ".join(lines[start : start + 2]).split()) == (
        "torch missing 99.0, cannot be imported: it ends the process by SIGSEGV"
    )
    assert "    needed for: describe, extract, classify, bench, train, evaluate" in lines
    assert all(len(line) <= 80 or "remedy: " in line or "/" in line for line in lines)


def test_the_default_of_seconds_is_the_librarys():
    assert cli.doctor.doctor.__defaults__[-1] == inspect.signature(checks).parameters["seconds"].default


@pytest.mark.parametrize("words", [["--seconds", "long"], ["photos/"]])
def test_wrong_usage(words):
    assert CliRunner().invoke(cli.app, ["doctor", *words]).exit_code == 2


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_limit_is_a_number_of_seconds(seconds):
    with pytest.raises(UsageError, match=f"seconds must be between 0 and 3600, not {seconds}"):
        checks(seconds)
