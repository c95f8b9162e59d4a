"""The time that there is for choosing and measuring."""

import time


class Clock:
    """Counts the time that is left. minutes : from now."""

    def __init__(self, minutes: float) -> None:
        self._ends = time.monotonic() + 60 * minutes

    def left(self) -> float:
        """Seconds that are left; below 0 if the time is over."""
        return self._ends - time.monotonic()
