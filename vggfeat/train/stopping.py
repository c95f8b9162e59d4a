"""Requests to stop (Ctrl-C, or a cluster's SIGTERM), answered between two steps."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopper:
    """Whether the process was asked to stop. A second request stops it at once."""

    asked = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if the process was asked to stop."""
        if self.asked:
            raise KeyboardInterrupt

    def ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  (a signal handler's parameters)
        """Handle a signal."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        # A signal may interrupt print, which cannot be entered again.
        os.write(2, b"stopping when this step is done and saved; ask once more to stop at once\n")


@contextmanager
def stoppable() -> Iterator[Stopper]:
    """A Stopper that handles SIGINT and SIGTERM; outside the main thread it is never asked."""
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
