"""Reading and decoding images in threads, a bounded number of them, and of bytes, ahead of the net."""

import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import Any

from torch import Tensor

from vggfeat._util.files import Signature, signature
from vggfeat.errors import DataError, ImageError
from vggfeat.sources.item import Fetched, Item, Unanswered

AHEAD = 4  # images a worker
FETCHES = 16  # on their way from far away at a time, which takes time and no processor
LOST = 32  # files on end that a source listed and doesn't give
BYTES_AHEAD = 2**30  # of decoded images that wait


@dataclass(frozen=True, slots=True)
class Decoded:
    """An item at its place in the source: uint8 (3, H, W), or why it can't be had."""

    place: int
    item: Item
    image: "Tensor | ImageError"

    @property
    def reason(self) -> str:
        """Why, without the name that stands beside it."""
        return re.sub(r"^image of \d+ bytes: ", "", str(self.image).removeprefix(f"{self.item.image}: "))

    @property
    def error(self) -> ImageError:
        """Why, with the name."""
        named = isinstance(self.image, ImageError) and self.image is not self.item.image
        return self.image if named else ImageError(f"{self.item.path}: {self.image}")  # type: ignore[return-value]


class Decoder:
    """Threads that prepare images: `workers` that decode, and some that fetch what is far away first.

    Of all of them `workers` decode at a time.

    prepare : decodes an image, (image, max_pixels) -> uint8 (3, H, W); raises ImageError. bytes_ahead : of decoded
        images that wait.
    """

    def __init__(
        self,
        prepare: Callable[[Any, int], Tensor],
        max_pixels: int,
        workers: int | None = None,
        bytes_ahead: int = BYTES_AHEAD,
    ) -> None:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # processes of torchrun on this machine
        workers = workers or max(1, (os.cpu_count() or 1) // local)
        self._prepare, self._max_pixels, self._bytes_ahead = prepare, max_pixels, bytes_ahead
        self._workers, self._ahead = workers, AHEAD * workers
        # how many decode now, what the decoded ones take that wait, the number of the one that is wanted next
        self._decoding, self._bytes, self._next = 0, 0, 0
        self._changed = Condition()  # one of these
        self._unanswered = 0
        self._near, self._far = ThreadPoolExecutor(workers, "decode"), ThreadPoolExecutor(FETCHES, "fetch")

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._next = sys.maxsize  # nobody waits for room any more
            self._changed.notify_all()
        for pool in (self._near, self._far):
            pool.shutdown(wait=False, cancel_futures=True)

    def decode(self, items: Iterable[tuple[int, Item]]) -> Iterator[Decoded]:
        """In the order of the items. Raises DataError where a source is down."""
        pending: deque[tuple[int, Item, Future[Tensor]]] = deque()
        for number, (place, item) in enumerate(items):
            pool, ahead = self._near, self._ahead
            if getattr(item.image, "far", False):
                pool, ahead = self._far, max(self._ahead, FETCHES)
            pending.append((place, item, pool.submit(self._read, number, item)))
            while len(pending) > ahead or (pending and self._bytes > self._bytes_ahead):
                yield self._result(*pending.popleft())
        while pending:
            yield self._result(*pending.popleft())

    def _read(self, number: int, item: Item) -> Tensor:
        if isinstance(item.image, ImageError):
            raise item.image
        image = item.image.fetch() if isinstance(item.image, Fetched) else item.image
        with self._turn(number):
            before = _state(image)
            tensor = self._prepare(image, self._max_pixels)
            if _state(image) != before:
                raise ImageError(f"{item.image}: changed while it was read; run the extraction again")
            self._count(tensor.nbytes)
        return tensor

    @contextmanager
    def _turn(self, number: int) -> Iterator[None]:
        """When few enough decode, and those that wait leave room for another, or this one is wanted now."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._decoding < self._workers and (self._bytes <= self._bytes_ahead or self._next >= number)
            )
            self._decoding += 1
        try:
            yield
        finally:
            with self._changed:
                self._decoding -= 1
                self._changed.notify_all()

    def _result(self, place: int, item: Item, future: Future[Tensor]) -> Decoded:
        try:
            tensor = future.result()
        except ImageError as error:
            self._unanswered = self._unanswered + 1 if isinstance(error, Unanswered) else 0
            if self._unanswered == LOST:
                raise DataError(
                    f"{error}; nor could the {LOST - 1} files before it be had: is the source down? "
                    "what is described is kept, run the same command again to continue"
                ) from error
            return Decoded(place, item, error)
        finally:
            with self._changed:
                self._next += 1
                self._changed.notify_all()
        self._unanswered = 0
        self._count(-tensor.nbytes)
        return Decoded(place, item, tensor)

    def _count(self, number: int) -> None:
        with self._changed:
            self._bytes += number
            self._changed.notify_all()


def _state(image: Any) -> Signature | None:
    """What changes when a file does; reading it says why it has none."""
    return signature(image) if isinstance(image, Path) else None
