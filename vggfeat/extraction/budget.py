"""The memory that images may take while they wait, are fetched or are decoded, all of them together."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from vggfeat._util.memory import free_memory
from vggfeat.errors import ImageError

SHARE = 4  # of the free memory one part is the budget; the nets need some too
ALONE = 2  # times the budget: what one image may take. Beside a full budget, 3/4 of the free memory are then in use


def share_of_memory(processes: int) -> int:
    """The budget of each of several processes on this machine, in bytes."""
    return free_memory() // SHARE // processes


class Budget:
    """The bytes that images hold, and which images may be decoded. The net takes them in the order of their numbers.

    The image that the net takes next never waits for memory, because the images that hold the memory may wait for it.
    It may take more than the total, up to ALONE times the total.

    total : bytes. workers : how many images are decoded at the same time.
    """

    def __init__(self, total: int, workers: int) -> None:
        self.total, self._workers = total, workers
        self._held: defaultdict[int, int] = defaultdict(int)
        self._decoding: set[int] = set()
        self._waiting: set[int] = set()
        self._next = 0
        self._changed = Condition()  # one of these

    @property
    def used(self) -> int:
        """The bytes that all images hold."""
        return sum(self._held.values())

    def hold(self, number: int, size: int) -> None:
        """Hold `size` bytes for an image, in place of those that it holds already. Waits until there is room for them.

        Raises ImageError if there can never be room.
        """
        if size > (most := ALONE * self.total):
            needs = f"needs {size / 2**20:,.0f} MB of memory, and {most / 2**20:,.0f} MB are free for an image"
            raise ImageError(f"{needs}; reduce it first, or free some memory")
        with self._changed:
            self._waiting.add(number)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_next(number) or self.used - self._held[number] + size <= self.total)
            self._waiting.remove(number)
            self._held[number] = size

    def note(self, number: int, size: int) -> None:
        """Note that an image already takes `size` bytes, without waiting."""
        with self._changed:
            self._held[number] = size
            self._changed.notify_all()

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Wait until fewer images are being decoded than there are workers.

        If all of them wait for memory, they may wait for the image that the net takes next. This one is then decoded
        beside them.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    len(self._decoding) < self._workers or (self._is_next(number) and self._decoding <= self._waiting)
                )
            )
            self._decoding.add(number)
        try:
            yield
        finally:
            with self._changed:
                self._decoding.remove(number)
                self._changed.notify_all()

    def taken(self) -> None:
        """The net took the next image, whose bytes are free now; it takes the image with the following number next."""
        with self._changed:
            self._held.pop(self._next, None)
            self._next += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Let all threads go on, which no longer wait for memory or a turn."""
        with self._changed:
            self._next = sys.maxsize
            self._changed.notify_all()

    def _is_next(self, number: int) -> bool:
        return self._next >= number
