"""Downloads from servers that mean harm: the right file or one line, in bounded time, memory and disk."""

import hashlib
import os
import random
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vggfeat._util.fetch import download, file_name
from vggfeat.errors import FetchError

BODY = np.random.default_rng(0).bytes(50_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
MOST = 60_000
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + BODY

Answer = Callable[[socket.socket, bytes], None]


class Server:
    """Gives each connection to `answer`, with the request's head; `seen` are the heads."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.seen = answer, []
        self.open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def url(self, name: str = "file.bin", user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self._listening.getsockname()[1]}/{name}"

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection = self._listening.accept()[0]
                with connection, suppress(OSError):
                    connection.settimeout(10)
                    head = connection.recv(65536)
                    self.seen.append(head)
                    self.answer(connection, head)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer | bytes], Server]]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("VGGFEAT_MIRROR", raising=False)
    servers: list[Server] = []

    def start(answer: Answer | bytes) -> Server:
        servers.append(Server(answer if callable(answer) else lambda sent, _: sent.sendall(answer)))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "watch"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.bin"


def fetch(urls: str | list[str], path: Path, **options: Any) -> Path:
    bounds = {"sha256": SHA256, "progress": False, "timeout": 5.0, "max_bytes": MOST, "patience": 5.0}
    return download(urls, path, **(bounds | options))  # type: ignore[arg-type]


def endless(start: bytes, piece: bytes) -> Answer:
    """Sends the piece until the other side ends the connection, or 50 MB are sent."""

    def answer(sent: socket.socket, _: bytes) -> None:
        sent.sendall(start)
        for _round in range(50_000_000 // len(piece)):
            sent.sendall(piece)

    return answer


def redirect(to: str, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: " + to.encode() + b"\r\n" + more + b"Content-Length: 0\r\n\r\n"


ATTACKS: dict[str, tuple[Answer | bytes, str]] = {
    "always 416": (b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n", "the server answers 416"),
    "too long": (b"HTTP/1.1 200 OK\r\nContent-Length: 60001\r\n\r\n", "it has 60,001 bytes, more than 60,000"),
    "without end": (endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(9999)), "it has more than 60,000 bytes"),
    "chunks without end": (
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + bytes(4096) + b"\r\n"),
        "it has more than 60,000 bytes",
    ),
    "a chunk of a negative size": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n" + bytes(99), "IncompleteRead|its sha256"
    ),
    "to itself": (lambda sent, head: sent.sendall(redirect(head.split()[1].decode() + "x")), "redirects too often"),
    "to a file": (redirect("file:///etc/hostname"), "redirects to an address that is not http"),
    "to data": (redirect("data:,x"), "redirects to an address that is not http"),
    "to ftp": (redirect("ftp://127.0.0.1/x"), "not an http address"),
    "to an address with a password": (redirect("http://me:secret@127.0.0.1/x"), "an address with a password"),
    "to no address": (redirect("http://[/x"), "an invalid redirect of the server"),
    "a redirect without an address": (b"HTTP/1.1 302 \x1b[31mFound\r\n\r\n", r"answers 302 \\x1b\[31mFound"),
    "colours": (b"HTTP/1.1 404 \x1b]0;owned\x07 \x9b31m\r\n\r\n", r"answers 404 \\x1b\]0;owned\\x07 \\x9b31m"),
    "no http": (b"\x1b[31mSSH-2.0\r\n\r\n", r"\\x1b\[31mSSH-2.0"),
    "long words": (b"HTTP/1.1 404 " + b"x" * 60_000 + b"\r\n\r\n", "answers 404 x+…x+"),
    "headers without end": (endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"), "more than 100 headers"),
    "a range of a huge number": (
        b"HTTP/1.1 206 OK\r\nContent-Range: bytes " + b"9" * 5000 + b"-1/2\r\n\r\n", "bytes from -1, not from 0"
    ),
    "gzip": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nx", r"the server sends the file encoded \(gzip\)"),
    "nothing": (b"", "closed connection"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "reason"), ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_one_line_and_the_next_address_is_tried(
    answer: Answer | bytes, reason: str, serve: Any, path: Path
) -> None:
    bad, good = serve(answer), serve(WHOLE)
    with pytest.raises(FetchError, match=reason) as caught:
        fetch(bad.url(), path)
    assert str(caught.value).isprintable() and "secret" not in str(caught.value) and len(str(caught.value)) < 2000
    assert not path.exists()
    fetch([bad.url(), good.url()], path)
    assert path.read_bytes() == BODY


def test_a_redirect_whose_body_has_no_end_is_followed(serve: Any, path: Path) -> None:
    good = serve(WHOLE)
    sent: list[int] = []

    def answer(connection: socket.socket, _: bytes) -> None:
        head = b"HTTP/1.1 302 Found\r\nLocation: " + good.url().encode() + b"\r\n\r\n"
        connection.sendall(head)
        with suppress(OSError):
            for _round in range(5000):
                connection.sendall(bytes(10_000))
                sent.append(10_000)

    fetch(serve(answer).url(), path)
    assert path.read_bytes() == BODY
    assert sum(sent) < 20_000_000  # what the system's buffers take


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", WHOLE[:100]], ids=["status", "headers", "body"])
def test_a_server_that_drips_is_given_up(start: bytes, serve: Any, path: Path) -> None:
    """A byte at a time, each before the timeout; the file would take for ever."""
    stop = threading.Event()

    def answer(sent: socket.socket, _: bytes) -> None:
        sent.sendall(start)
        while not stop.wait(0.02):
            sent.sendall(b"a")

    server = serve(answer)
    with pytest.raises(FetchError, match="the server is too slow"):
        fetch(server.url(), path, timeout=5.0, patience=0.2)
    stop.set()


def test_bytes_that_another_address_left_do_not_spoil_the_file(serve: Any, path: Path) -> None:
    path.with_name("file.bin.part").write_bytes(b"junk" * 10)

    def ranges(sent: socket.socket, head: bytes) -> None:
        start = 40 if b"Range: bytes=40-" in head else 0
        status = f"206 OK\r\nContent-Range: bytes 40-{len(BODY) - 1}/{len(BODY)}" if start else "200 OK"
        length = len(BODY) - start
        sent.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n".encode() + BODY[start:])

    server = serve(ranges)
    fetch(server.url(), path)
    assert path.read_bytes() == BODY
    assert [b"Range" in head for head in server.seen] == [True, False]


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
def test_a_part_that_leads_elsewhere_is_not_written_to(kind: str, serve: Any, path: Path, tmp_path: Path) -> None:
    mine, part = tmp_path / "mine", path.with_name("file.bin.part")
    mine.write_bytes(b"my own")
    {"link": part.symlink_to, "hard link": part.hardlink_to, "pipe": lambda _: os.mkfifo(part)}[kind](mine)
    fetch(serve(WHOLE).url(), path)
    assert (path.read_bytes(), mine.read_bytes(), path.is_symlink()) == (BODY, b"my own", False)


def test_a_link_in_the_place_of_the_lock_or_of_a_bad_file_is_not_followed(
    serve: Any, path: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"my own")
    path.with_name("file.bin.bad").symlink_to(mine)
    with pytest.raises(FetchError, match="its sha256 is"):
        fetch(serve(WHOLE.replace(BODY[:9], bytes(9))).url(), path)
    path.with_name("file.bin.lock").unlink()
    path.with_name("file.bin.lock").symlink_to(tmp_path / "new")
    with pytest.raises(FetchError, match="symbolic links"):
        fetch(serve(WHOLE).url(), path)
    assert mine.read_bytes() == b"my own" and not (tmp_path / "new").exists()


def test_a_mirror_gets_its_password_and_nobody_else_does(
    serve: Any, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = serve(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")

    def answer(sent: socket.socket, head: bytes) -> None:
        there = b"GET /again/" in head
        sent.sendall(redirect(other.url()) if there else redirect("/again/file.bin"))

    mirror = serve(answer)
    monkeypatch.setenv("VGGFEAT_MIRROR", mirror.url("folder/?token=secret", user="me:se%2Fcret@"))
    with pytest.raises(FetchError, match="the server answers 404") as caught:
        fetch(other.url(), path, progress=True)
    password = b64encode(b"me:se/cret")
    assert [password in head for head in mirror.seen] == [True, True]
    assert mirror.seen[0].startswith(b"GET /folder/file.bin?token=secret ")
    assert not any(b"Authorization" in head for head in other.seen)
    assert "cret" not in str(caught.value) + capsys.readouterr().err


def test_a_proxy_keeps_its_password(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for proxy in ("http:/me:secret@h", "http://me:secret@127.0.0.1:9", "http://me:secret@h:secret"):
        monkeypatch.setenv("http_proxy", proxy)
        with pytest.raises(FetchError, match="cannot be fetched") as caught:
            fetch("http://vggfeat.invalid/file.bin", path)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a/..", "a/%2e%2e%2Fx", "a\\b", "a\x1b", "a\x00"])
def test_an_address_whose_last_name_is_no_file(name: str) -> None:
    with pytest.raises(FetchError, match="no usable file name"):
        file_name(f"http://host/{name}")


def draw(rng: random.Random, at: Callable[[], str]) -> Answer:
    """An answer by chance: statuses, ranges, lengths, cuts, redirects; sometimes the right one."""
    status = rng.choice([200, 200, 200, 206, 206, 301, 302, 307, 404, 416, 500, 204, 304])
    cut, lie = rng.choice([None, 0, 1, 7, 1000, 49_999]), rng.choice([None, None, 0, -1, 10**18, 50_001, "x"])
    shift, chunked = rng.choice([0, 0, 0, 1, -1, 10**6]), rng.random() < 0.2
    location = rng.choice([at(), "/", "//", "file:///etc/passwd", "http://me:secret@127.0.0.1:9/x", "\x1b[31m", ""])

    def answer(sent: socket.socket, head: bytes) -> None:
        start = int(head.split(b"Range: bytes=")[1].split(b"-")[0]) if b"Range: bytes=" in head else 0
        start = start if status == 206 else 0
        body = (BODY + bytes(30_000) * (shift == 1))[start:]
        lines = [f"HTTP/1.1 {status} \x1b[3{rng.randrange(8)}m"]
        if status // 100 == 3:
            lines.append(f"Location: {location}")
        if status in (206, 416):
            lines.append(f"Content-Range: bytes {start + shift}-{len(BODY) - 1}/{len(BODY)}")
        lines.append(
            "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body) if lie is None else lie}"
        )
        body = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n" if chunked else body
        sent.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body[:cut])

    return answer


@pytest.mark.parametrize("rounds", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_random_servers(rounds: int, serve: Any, tmp_path: Path) -> None:
    rng = random.Random(15)
    server = serve(lambda sent, head: draw(rng, server.url)(sent, head))
    outcomes = set()
    for number in range(rounds):
        path = tmp_path / f"{number}.bin"
        try:
            fetch([server.url(), server.url()], path)
            assert path.read_bytes() == BODY
            outcomes.add("file")
        except FetchError as error:
            assert str(error).isprintable() and "secret" not in str(error)
            assert not path.exists()
            outcomes.add("line")
        part = path.with_name(f"{number}.bin.part")
        assert not part.exists() or part.stat().st_size <= MOST
    assert outcomes == {"file", "line"}
    assert len(list(Path("/proc/self/fd").iterdir())) < 60
