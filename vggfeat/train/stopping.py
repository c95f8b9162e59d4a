"""Being asked to stop (Ctrl-C, or a cluster's SIGTERM) between two steps rather than within one."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopper:
    """Whether the process was asked to stop; a second request isn't waited for."""

    asked = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        os.write(2, b"stopping when this step is done and saved; once more: at once\n")  # print may be in use


@contextmanager
def stoppable() -> Iterator[Stopper]:
    """A Stopper that SIGINT and SIGTERM ask; in another thread than the main one, nobody does."""
    stopper = Stopper()
    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return
    before = {number: signal.signal(number, stopper.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopper
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
