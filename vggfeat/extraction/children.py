"""The processes that decode images, as seen by the process that uses them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from typing import NamedTuple

import numpy as np

from vggfeat._util.printable import reason_of
from vggfeat.errors import ImageError, VggfeatError
from vggfeat.extraction.decoder_process import Message, receive, send

TICK = 0.1  # seconds
START_SECONDS = 300.0  # for Python to start, also from a slow disk
# The modules are found where this process finds them, and not in the folder in which the command runs.
START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from vggfeat.extraction.decoder_process import serve
serve()
"""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Defect(Exception):
    """A defect of vggfeat in a process that decodes: the type and the text of its exception."""


class Lost(Exception):
    """The process has ended."""


class Read(NamedTuple):
    """An image, uint8 (H, W, 3) RGB; how many bytes its file has, and their SHA-256."""

    pixels: np.ndarray
    size: int
    sha256: str


class Children:
    """As many processes as are used at the same time. One that has ended is replaced.

    seconds : that an image may take, without the time that it waits for memory.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._all: set[Child] = set()
        self._idle: list[Child] = []
        self._lock = Lock()
        self._ended = Event()
        Thread(target=self._watch, name="watch", daemon=True).start()

    def end(self) -> None:
        """End all processes, also those that are in use: their threads get an ImageError."""
        with self._lock:
            self._ended.set()
            for child in self._all:
                child.kill()
            for child in self._idle:
                child.close()

    @contextmanager
    def one(self) -> Iterator["Child"]:
        """A process for one thread. Raises VggfeatError if none can be started."""
        with self._lock:
            if self._ended.is_set():
                raise VggfeatError("the extraction has ended")
            while self._idle and not self._idle[-1].is_alive():  # a system that is short of memory may end any process
                dead = self._idle.pop()
                self._all.remove(dead)
                dead.close()
            child = self._idle.pop() if self._idle else Child(self._seconds)
            self._all.add(child)
        try:
            child.start()
            yield child
        finally:
            with self._lock:
                kept = child.ready and not self._ended.is_set()
                (self._idle.append if kept else self._all.remove)(child)
            if not kept:
                child.close()

    def _watch(self) -> None:
        while not self._ended.wait(TICK):
            with self._lock:
                for child in self._all:
                    child.tick()


class Child:
    """A process that decodes one image at a time. ready : whether it waits for a request.

    seconds : that an image may take. Raises VggfeatError if the process cannot be started.
    """

    def __init__(self, seconds: float) -> None:
        self.ready = False
        self._seconds = self._left = seconds
        self._awaited = self._late = False
        path = json.dumps([os.path.abspath(part) for part in sys.path if isinstance(part, str)])  # noqa: PTH100
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", f"-Xutf8={sys.flags.utf8_mode}", "-c", START, path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,  # what it says until it has started
                env=os.environ | ONE_THREAD,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except (OSError, TypeError) as error:  # TypeError: Python does not know its own program
            raise VggfeatError(_not_started(reason_of(error))) from error
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._errors = self._process.stderr

    def start(self) -> None:
        """Wait until it is ready. Raises VggfeatError."""
        if not self.ready:
            self._left = START_SECONDS
            try:
                self._receive()
            except Lost:
                said = self._errors.read().decode(errors="replace").strip().splitlines()
                raise VggfeatError(_not_started(said[-1] if said else self._end())) from None
            self.ready = True

    def decode(self, request: Message, content: bytes | None, hold: Callable[[int], None]) -> Read:
        """Decode a file, or its content.

        request : see `decoder_process`. hold : called with the bytes of memory that the image needs; it may wait, and
        raise ImageError.

        Raises ImageError, and Defect.
        """
        self.ready, self._left = False, self._seconds
        try:
            memory = self._ask({**request, "seconds": self._seconds}, content)["memory"]
            try:
                hold(memory)
            except ImageError:
                send(self._requests, {"granted": 0})
                self.ready = True
                raise
            found = self._ask({"granted": memory})
            pixels = self._pixels(found["height"], found["width"], memory)
        except (Lost, OSError):
            raise ImageError(self._why_lost()) from None
        self.ready = True
        return Read(pixels, found["size"], found["sha256"])

    def _ask(self, message: Message, content: bytes | None = None) -> Message:
        with self._timed():
            send(self._requests, message, content)
        answer = self._receive()
        self.ready = "error" in answer or "defect" in answer
        if "error" in answer:
            raise ImageError(answer["error"])
        if "defect" in answer:
            raise Defect(answer["defect"])
        return answer

    def _receive(self) -> Message:
        with self._timed():
            answer = receive(self._answers)
        if answer is None:
            raise Lost
        return answer

    def _pixels(self, height: int, width: int, most: int) -> np.ndarray:
        if 3 * height * width > most:  # a damaged process may say anything
            raise Lost
        pixels = np.empty((height, width, 3), np.uint8)
        with self._timed():
            if self._answers.readinto(pixels.data) < pixels.nbytes:  # type: ignore[attr-defined]
                raise Lost
        return pixels

    @contextmanager
    def _timed(self) -> Iterator[None]:
        self._awaited = True
        try:
            yield
        finally:
            self._awaited = False

    def tick(self) -> None:
        """Called every TICK seconds. Time in which this process was stopped, as by Ctrl-Z, does not count."""
        if self._awaited:
            self._left -= TICK
            if self._left < 0:
                self._late = True
                self.kill()

    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process at once."""
        with suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """End the process, and free what belongs to it."""
        self.kill()
        self._process.wait()
        for file in (self._requests, self._answers, self._errors):
            with suppress(OSError):  # what was not sent
                file.close()

    def _why_lost(self) -> str:
        if self._late:
            return (
                f"was not decoded within {self._seconds:g} s; if the file is not damaged, give a larger --image-seconds"
            )
        return f"the process that decoded it {self._end()}; if the file is damaged, replace it"

    def _end(self) -> str:
        """How it ended."""
        status = self._process.wait()
        if status >= 0:
            return f"ended with status {status}"
        return f"was ended by signal {-status} ({signal.strsignal(-status)})"


def _not_started(reason: str) -> str:
    return f"{sys.executable}: cannot be started to decode images ({reason}); allow more processes, or free some memory"
