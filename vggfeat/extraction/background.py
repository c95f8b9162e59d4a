"""An iterator in a thread of its own, and interrupts at the right moment."""

import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Full, Queue
from threading import Thread, current_thread, main_thread
from typing import Any, Generic, TypeVar

T = TypeVar("T")

POLL = 0.1  # seconds
_END = object()


class Background(Generic[T]):
    """The values of a generator that runs in another thread, at most `ahead` values ahead.

    The thread that iterates over this only waits for a queue, so an interrupt reaches it at once, however long a step
    of the generator takes.
    """

    def __init__(self, values: Iterator[T], ahead: int) -> None:
        self._values = values
        self._queue: Queue[Any] = Queue(ahead)
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="describe")

    def __iter__(self) -> Iterator[T]:
        self._thread.start()
        while (value := self._queue.get()) is not _END:
            yield value
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self, wait: bool) -> list[T]:
        """End the generator after its present step, and wait for that if asked; returns the values that are left."""
        self._stopped = True
        if wait and self._thread.is_alive():
            self._thread.join()
        values = []
        with suppress(Empty):
            while True:
                values.append(self._queue.get_nowait())
        return [value for value in values if value is not _END]

    def _run(self) -> None:
        try:
            for value in self._values:
                if not self._put(value):
                    break
        except BaseException as error:
            self._error = error
        finally:
            if isinstance(self._values, Generator):
                self._values.close()  # in the thread that ran it
            self._put(_END)

    def _put(self, value: Any) -> bool:
        while not self._stopped:
            with suppress(Full):
                self._queue.put(value, timeout=POLL)
                return True
        return False


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C, and SIGTERM if it is handled alike, until the end of the block."""
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if callable(handler)}
    received = []
    for number in before:
        signal.signal(number, lambda number, _: received.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])
