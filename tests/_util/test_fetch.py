"""Downloads, against a server on this machine that misbehaves as real ones do."""

import hashlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vggfeat._util.fetch import cache_dir, download, locked, mismatch
from vggfeat.errors import FetchError

BODY = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`; `seen` are the requests' (path, Range). The rest is how it misbehaves."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/file.bin": BODY}
        self.seen: list[tuple[str, str | None]] = []
        self.ranges = True
        self.shift = 0  # error in the Content-Range that it sends
        self.cuts: list[int] = []  # bytes after which the connection ends, a request each
        self.hold: threading.Event | None = None  # to wait for in the middle of the file
        self.delay = 0.0

    def handle_error(self, *args: Any) -> None:
        pass  # some tests end the connection on purpose

    def url(self, name: str = "file.bin") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.seen.append((self.path, wanted))
        time.sleep(self.server.delay)
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        start = int(wanted[len("bytes=") : -1]) if wanted and self.server.ranges else 0
        if start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            first = start + self.server.shift
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + self.server.cuts.pop(0) if self.server.cuts else len(body)
        if self.server.hold:
            self.wfile.write(body[start : start + 100_000])
            self.server.hold.wait(20)
            return
        self.wfile.write(body[start:end])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("VGGFEAT_MIRROR", raising=False)
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "file.bin"


def part_of(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True)
    part = path.with_name("file.bin.part")
    part.write_bytes(content)
    return part


def test_a_file_arrives_whole_and_alone(server: Server, path: Path) -> None:
    assert download(server.url(), path, sha256=SHA256, progress=False) == path
    assert path.read_bytes() == BODY
    assert sorted(file.name for file in path.parent.iterdir()) == ["file.bin", "file.bin.lock"]


def test_progress_is_shown(server: Server, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    download(server.url(), path)
    assert "file.bin" in capsys.readouterr().err


def test_a_file_that_is_there_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"mine")
    download("http://127.0.0.1:9/file.bin", path, sha256=SHA256)
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_is_continued_where_the_server_can(server: Server, path: Path, ranges: bool) -> None:
    part_of(path, BODY[:120_000])
    server.ranges = ranges
    download(server.url(), path, sha256=SHA256, progress=False)
    assert path.read_bytes() == BODY
    assert server.seen == [("/file.bin", "bytes=120000-")]


def test_without_a_checksum_nothing_is_continued(server: Server, path: Path) -> None:
    part_of(path, b"another file's beginning")
    download(server.url(), path, progress=False)
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("part", [BODY, BODY + b"x"], ids=["complete", "longer than the file"])
def test_a_part_that_reaches_the_end(server: Server, path: Path, part: bytes) -> None:
    part_of(path, part)
    download(server.url(), path, sha256=SHA256, progress=False)
    assert path.read_bytes() == BODY


def test_a_server_that_refuses_the_whole_file_as_a_range(server: Server, path: Path) -> None:
    server.files["/empty.bin"] = b""
    with pytest.raises(FetchError, match="the server answers 416"):
        download(server.url("empty.bin"), path, sha256=SHA256, progress=False)


def test_bytes_from_another_place_are_not_joined_on(server: Server, path: Path) -> None:
    part_of(path, BODY[:1000])
    server.shift = 7
    download(server.url(), path, sha256=SHA256, progress=False)
    assert path.read_bytes() == BODY
    assert server.seen == [("/file.bin", "bytes=1000-"), ("/file.bin", None)]


def test_a_broken_connection_is_taken_up_again(server: Server, path: Path) -> None:
    server.cuts = [1000, 100_000]
    download(server.url(), path, sha256=SHA256, progress=False)
    assert path.read_bytes() == BODY
    assert [wanted for _, wanted in server.seen] == [None, "bytes=1000-", "bytes=101000-"]


def test_what_came_is_kept_for_the_next_call(server: Server, path: Path) -> None:
    server.cuts = [10] * 100
    with pytest.raises(FetchError, match=r"ended after \d+ of 300000 bytes"):
        download(server.url(), path, sha256=SHA256, progress=False)
    assert not path.exists()
    server.cuts = []
    server.seen.clear()
    download(server.url(), path, sha256=SHA256, progress=False)
    assert path.read_bytes() == BODY
    assert server.seen[0][1] not in (None, "bytes=0-")


def test_a_killed_process_loses_nothing(server: Server, path: Path) -> None:
    server.hold = threading.Event()
    process = fetching(server, path)
    part = path.with_name("file.bin.part")
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size > 60_000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    server.hold.set()
    server.hold = None
    have = part.stat().st_size
    download(server.url(), path, sha256=SHA256, progress=False)
    assert path.read_bytes() == BODY
    assert server.seen[-1] == ("/file.bin", f"bytes={have}-")


def test_two_processes_fetch_once(server: Server, path: Path) -> None:
    server.delay = 1.0
    processes = [fetching(server, path) for _ in range(2)]
    assert [process.wait(30) for process in processes] == [0, 0]
    assert path.read_bytes() == BODY
    assert len(server.seen) == 1


def fetching(server: Server, path: Path) -> "subprocess.Popen[bytes]":
    code = "import sys; from vggfeat._util.fetch import download; download(*sys.argv[1:3], sha256=sys.argv[3])"
    command = [sys.executable, "-c", code, server.url(), str(path), SHA256]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


RIGHT = [{"sha256": SHA256}, {"md5": MD5.upper()}, {"sha256_prefix": SHA256[:8]}]
WRONG = [{"sha256": SHA256[::-1]}, {"md5": MD5[::-1]}, {"sha256_prefix": "00000000"}]


@pytest.mark.parametrize("check", RIGHT)
def test_a_right_checksum(server: Server, path: Path, check: dict[str, str]) -> None:
    download(server.url(), path, progress=False, **check)  # type: ignore[arg-type]
    assert mismatch(path, **check) is None


@pytest.mark.parametrize("check", WRONG)
def test_a_wrong_checksum_puts_the_file_aside(server: Server, path: Path, check: dict[str, str]) -> None:
    with pytest.raises(FetchError, match="cannot be fetched") as caught:
        download(server.url(), path, progress=False, **check)  # type: ignore[arg-type]
    found = MD5 if "md5" in check else SHA256[: max(len(next(iter(check.values()))), 32)]
    for word in (found, *check.values(), str(path) + ".bad"):
        assert word in str(caught.value)
    assert not path.exists()
    assert path.with_name("file.bin.bad").read_bytes() == BODY
    download(server.url(), path, progress=False, sha256=SHA256)  # a new start, not the bad part continued
    assert path.read_bytes() == BODY


def test_addresses_are_tried_in_order(server: Server, path: Path) -> None:
    server.files["/damaged/file.bin"] = BODY[::-1]
    urls = [server.url("none/file.bin"), server.url("damaged/file.bin"), server.url()]
    download(urls, path, sha256=SHA256, progress=False)
    assert path.read_bytes() == BODY
    assert [name for name, _ in server.seen] == ["/none/file.bin", "/damaged/file.bin", "/file.bin"]


def test_mirrors_come_first(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/b/published.bin"] = BODY
    monkeypatch.setenv("VGGFEAT_MIRROR", f"{server.url('a')}, {server.url('b/')}")
    download(server.url("far/published.bin?x=1"), path, sha256=SHA256, progress=False)
    assert [name for name, _ in server.seen] == ["/a/published.bin", "/b/published.bin"]


def test_when_no_address_serves_the_error_says_all(server: Server, path: Path) -> None:
    urls = [server.url("gone.bin"), "http://127.0.0.1:9/file.bin", "file:///etc/hostname", "http://[/x"]
    with pytest.raises(FetchError, match="cannot be fetched") as caught:
        download(urls, path, progress=False)
    message = str(caught.value)
    for word in (*urls, "file.bin", "404", "refused", "not an http address", f"put it at {path}"):
        assert word in message
    assert "\n" not in message
    assert not path.exists()


def test_a_silent_server_times_out(server: Server, path: Path) -> None:
    server.delay = 1.0
    with pytest.raises(FetchError, match="timed out"):
        download(server.url(), path, timeout=0.1, progress=False)


def test_a_folder_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in place of the folder")
    with pytest.raises(FetchError, match=re.escape(str(tmp_path / "cache" / "file.bin"))):
        download(server.url(), tmp_path / "cache" / "file.bin", progress=False)


def test_a_read_only_folder_is_named(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o555)
    try:
        (path.parent / "probe").touch()
        pytest.skip("this user can write to read-only folders")
    except PermissionError:
        with pytest.raises(FetchError, match=r"Permission denied.*VGGFEAT_CACHE"):
            download(server.url(), path, progress=False)
    finally:
        path.parent.chmod(0o755)


def test_a_full_disk_is_told_from_a_broken_connection(server: Server, path: Path) -> None:
    """A limit on the size of files stands for the disk; what came is kept."""
    code = (
        "import resource, sys; from vggfeat._util.fetch import download; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); download(*sys.argv[1:3], sha256=sys.argv[3])"
    )
    run = subprocess.run([sys.executable, "-c", code, server.url(), path, SHA256], capture_output=True, text=True)
    assert f"FetchError: {path}: cannot be written (File too large)" in run.stderr
    assert 0 < path.with_name("file.bin.part").stat().st_size <= 100_000
    download(server.url(), path, sha256=SHA256, progress=False)
    assert path.read_bytes() == BODY


def test_a_lock_is_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order = []

    def second() -> None:
        with locked(tmp_path / "file"):
            order.append("second")

    with locked(tmp_path / "file"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]
    assert "waiting" in capsys.readouterr().err


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VGGFEAT_CACHE", str(tmp_path / "named"))
    assert cache_dir() == tmp_path / "named"
    monkeypatch.delenv("VGGFEAT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "vggfeat"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "vggfeat"


def test_fetching_needs_no_torch() -> None:
    code = "import sys, vggfeat._util.fetch; sys.exit(bool({'torch', 'numpy', 'h5py'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
