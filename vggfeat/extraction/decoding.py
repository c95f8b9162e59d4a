"""Reading and decoding images in threads; a limited number of images, and of bytes, ahead of the net."""

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
from vggfeat._util.processes import cores
from vggfeat.errors import DataError, ImageError
from vggfeat.extraction.environment import processes_here
from vggfeat.extraction.identity import file_of, read_identity
from vggfeat.sources.item import Fetched, Item
from vggfeat.store.identity import UNKNOWN, Identity

AHEAD = 4  # images for each worker
FETCHES = 16  # files from addresses at the same time, which take time and no processor
LOST = 32  # files in a row that a source listed but does not deliver
BYTES_AHEAD = 2**30  # of decoded images that wait


@dataclass(frozen=True, slots=True)
class Decoded:
    """An item at its place in the source, with its image, uint8 (3, H, W), or the reason why it cannot be read.

    identity : of the bytes that were read.
    """

    place: int
    item: Item
    image: Tensor | ImageError
    identity: Identity = UNKNOWN

    @property
    def reason(self) -> str:
        """The reason, without the name of the file."""
        return re.sub(r"^image of \d+ bytes: ", "", str(self.image).removeprefix(f"{self.item.image}: "))

    @property
    def error(self) -> ImageError:
        """The reason, with the name of the file."""
        if isinstance(self.image, ImageError) and self.image is not self.item.image:
            return self.image
        return ImageError(f"{self.item.path}: {self.image}")


class Decoder:
    """Threads that read images; further threads fetch images from addresses first.

    prepare : decodes an image, (image, max_pixels) -> uint8 (3, H, W); raises ImageError.
    workers : how many images are decoded at the same time. bytes_ahead : of decoded images that wait.
    """

    def __init__(
        self,
        prepare: Callable[[Any, int], Tensor],
        max_pixels: int,
        workers: int | None = None,
        bytes_ahead: int = BYTES_AHEAD,
    ) -> None:
        workers = workers or max(1, cores() // processes_here())
        self._prepare, self._max_pixels, self._bytes_ahead = prepare, max_pixels, bytes_ahead
        self._workers, self._ahead = workers, AHEAD * workers
        self._decoding = 0  # images that are being decoded
        self._bytes = 0  # of decoded images that wait
        self._next = 0  # number of the image that is wanted next
        self._changed = Condition()  # one of these three
        self._unanswered = 0
        self._near, self._far = ThreadPoolExecutor(workers, "decode"), ThreadPoolExecutor(FETCHES, "fetch")

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._next = sys.maxsize  # no thread waits for room any more
            self._changed.notify_all()
        for pool in (self._near, self._far):
            pool.shutdown(wait=False, cancel_futures=True)

    def decode(self, items: Iterable[tuple[int, Item]]) -> Iterator[Decoded]:
        """Decode items with their places, in order. Raises DataError if a source is down."""
        pending: deque[tuple[int, Item, Future[tuple[Tensor, Identity]]]] = deque()
        for number, (place, item) in enumerate(items):
            pool, ahead = self._near, self._ahead
            if getattr(item.image, "far", False):
                pool, ahead = self._far, max(self._ahead, FETCHES)
            pending.append((place, item, pool.submit(self._read, number, item)))
            while len(pending) > ahead or (pending and self._bytes > self._bytes_ahead):
                yield self._result(*pending.popleft())
        while pending:
            yield self._result(*pending.popleft())

    def _read(self, number: int, item: Item) -> tuple[Tensor, Identity]:
        if isinstance(item.image, ImageError):
            raise item.image
        image = item.image.fetch() if isinstance(item.image, Fetched) else item.image
        with self._turn(number):
            before = _signature(image)
            tensor = self._prepare(image, self._max_pixels)
            identity = read_identity(item.image, image)
            if _signature(image) != before:
                raise ImageError(f"{item.image}: changed while it was read; run the extraction again")
            self._count(tensor.nbytes)
        return tensor, identity

    @contextmanager
    def _turn(self, number: int) -> Iterator[None]:
        """Wait until a worker is free, and until there is room for another image or this one is wanted next."""
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

    def _result(self, place: int, item: Item, future: Future[tuple[Tensor, Identity]]) -> Decoded:
        try:
            tensor, identity = future.result()
        except ImageError as error:
            self._unanswered = self._unanswered + 1 if item.is_unanswered(error) else 0
            if self._unanswered == LOST:
                raise DataError(
                    f"{error}; the {LOST - 1} files before it could not be read either: is the source down? "
                    "finished descriptors are kept, run the same command again to continue"
                ) from error
            return Decoded(place, item, error)
        finally:
            with self._changed:
                self._next += 1
                self._changed.notify_all()
        self._unanswered = 0
        self._count(-tensor.nbytes)
        return Decoded(place, item, tensor, identity)

    def _count(self, number: int) -> None:
        with self._changed:
            self._bytes += number
            self._changed.notify_all()


def _signature(image: Any) -> Signature | None:
    """The signature of a file; None for other images, and for a file that cannot be read, whose reader says why."""
    file = file_of(image)
    return signature(file) if isinstance(file, Path) else None
