"""What the real command sends to a terminal: no name controls it, and each message is one line."""

import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

HOSTILE = b"a\x1b[31m\x1b]52;c;cm0\x07\nb\r\x08\xe2\x80\xae\xe2\x80\x8b\xc2\x9b31m\xff"
ESCAPED = r"a\x1b[31m\x1b]52;c;cm0\x07\nb\r\x08\u202e\u200b\x9b31m\xff"
NET = ["--weights", "slim", "--layer", "pool5", "--scales", "32"]


# Each command runs on a terminal of its own, in a process that is forked after the imports, which take seconds.
SERVER = """
import json, os, pty, sys, traceback
import vggfeat.bench, vggfeat.cli, vggfeat.evaluate, vggfeat.extraction.run, vggfeat.train
for line in sys.stdin:
    arguments, encoding, folder = json.loads(line)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        sys.stdout, sys.stderr = (open(number, "w", encoding=encoding) for number in (1, 2))
        sys.argv = ["vggfeat", *arguments]
        status = 99
        try:
            vggfeat.cli.main()
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    sent = b""
    try:
        while piece := os.read(terminal, 65536):
            sent += piece
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(terminal)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), sent.decode("latin-1")]), flush=True)
"""


@pytest.fixture(scope="module")
def on_terminal() -> Iterator[Callable[..., tuple[int, list[str]]]]:
    """on_terminal(*arguments, encoding, folder) -> the exit status, and the lines that the terminal gets.

    Of a bar, which moves the cursor, only the last state is a line.
    """
    environment = {**os.environ, "COLUMNS": "4000", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVER]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdin and server.stdout

    def run(*arguments: str | bytes, folder: Path, encoding: str = "utf-8") -> tuple[int, list[str]]:
        assert server.stdin and server.stdout
        print(json.dumps([list(map(os.fsdecode, arguments)), encoding, str(folder)]), file=server.stdin, flush=True)
        status, sent = json.loads(server.stdout.readline())
        text = sent.encode("latin-1").decode("utf-8" if encoding == "ascii" else encoding).replace("\r\n", "\n")
        lines = [line.rsplit("\r", 1)[-1].removesuffix("\x1b[A") for line in text.split("\n")]
        return status, [line for line in lines if line]

    yield run
    server.stdin.close()
    server.wait()
    server.stdout.close()


def check(lines: list[str]) -> None:
    odd = {c for line in lines for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert odd <= {"\t"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of a hostile name that holds a photo, and a broken one, of hostile names."""
    folder = tmp_path / os.fsdecode(HOSTILE)
    folder.mkdir()
    Image.fromarray(np.full((32, 40, 3), 90, np.uint8)).save(folder / os.fsdecode(HOSTILE + b".png"))
    (folder / os.fsdecode(HOSTILE + b".jpg")).write_bytes(b"")
    (folder / os.fsdecode(HOSTILE + b".txt")).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["extract", HOSTILE],
        ["describe", HOSTILE, *NET],
        ["classify", "x.jpg", "--weights", HOSTILE],
        ["bench", HOSTILE],
        ["bench", "folder", "--root", HOSTILE, *NET],
        ["evaluate", "--data", HOSTILE],
        ["evaluate", "--runs", HOSTILE],
        ["train", "--data", HOSTILE, "--out", HOSTILE],
        ["weights", "fetch", HOSTILE],
        ["weights", "verify", HOSTILE],
        ["weights", "convert", HOSTILE, HOSTILE],
        ["export", HOSTILE, HOSTILE + b".npy"],
        ["extract", HOSTILE, "x"],
        ["extract", ".", "--agg", HOSTILE],
        [HOSTILE],
        ["weights", HOSTILE],
    ],
    ids=lambda words: " ".join(str(word) for word in words if isinstance(word, str)),
)
def test_an_error_is_one_line(arguments: list[str | bytes], on_terminal: Any, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").touch()
    status, lines = on_terminal(*arguments, folder=tmp_path)
    assert status in (1, 2)
    check(lines)
    assert ESCAPED.removesuffix(r"\xff") in lines[-1]  # Python's quotes have \udcff for the byte
    assert re.match("vggfeat: |Error: ", lines[-1])
    assert len(lines) == 1 or lines[0].startswith("Usage: ")


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_photos_of_hostile_names_are_described(encoding: str, photos: Path, on_terminal: Any, tmp_path: Path) -> None:
    status, lines = on_terminal("extract", str(photos), "--out", "s", *NET, encoding=encoding, folder=tmp_path)
    assert status == 0, lines
    check(lines)
    assert "s: 1 images described, 1 failed (failures.csv)" in lines
    assert f"files that are not images, by their suffix: 1 (.txt), such as {ESCAPED}.txt" in lines


def test_the_name_before_the_numbers_is_one_word(photos: Path, on_terminal: Any) -> None:
    photo = next(photos.glob("*.png"))
    status, lines = on_terminal("describe", str(photo), *NET, folder=photos)
    assert status == 0, lines
    check(lines)
    name, *values = lines[-1].split("\t")
    assert name.endswith(f"{ESCAPED}.png") and len(values) > 9


def test_a_long_error_keeps_the_name_of_the_file(on_terminal: Any, tmp_path: Path) -> None:
    place = "/".join(["d" * 200] * 15)
    status, lines = on_terminal("describe", f"{place}/my cat.jpg", *NET, folder=tmp_path)
    assert status == 1 and len(lines) == 1 and len(lines[0]) < 2010
    assert "/my cat.jpg: " in lines[0] and lines[0].startswith("vggfeat: ddd")


def test_a_secret_of_an_address_is_not_printed(on_terminal: Any, tmp_path: Path) -> None:
    status, lines = on_terminal("extract", "http://me:secret@127.0.0.1:9/list.csv?token=secret", *NET, folder=tmp_path)
    assert status == 1
    assert "secret" not in "".join(lines) and "http://127.0.0.1:9/list.csv" in lines[-1]
