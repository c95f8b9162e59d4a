"""Reading and decoding images ahead of the net, in threads that use processes; time and memory are limited."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vggfeat import images
from vggfeat._util.files import Signature, signature
from vggfeat._util.processes import cores
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, ImageError, VggfeatError
from vggfeat.extraction.budget import Budget, share_of_memory
from vggfeat.extraction.children import Children, Defect, Read
from vggfeat.extraction.decoder_process import too_large
from vggfeat.extraction.environment import processes_here
from vggfeat.extraction.identity import file_of, read_identity, size_of, stamp
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.reading import NO_MEMORY, opened
from vggfeat.sources.item import Fetched, Item, Unanswered
from vggfeat.sources.remote import Remote
from vggfeat.store.identity import UNKNOWN, Identity

AHEAD = 4  # images for each worker
FETCHES = 16  # files from addresses at the same time, which take time and no processor
LOST = 32  # files in a row that a source listed but does not deliver: then it is down
DEFECT = "a defect of vggfeat"  # begins the reason of an image that met one


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an image has no row. It holds neither the image nor a traceback, which would keep its bytes in memory.

    reason : without the name of the file. error : the same as an error, with the name.
    """

    reason: str
    error: ImageError


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image of a source at its place, uint8 (3, H, W), or why it cannot be read.

    path, label : of its Item. identity : of the bytes that were read.
    """

    place: int
    path: str
    label: str | None
    image: Tensor | Failure
    identity: Identity = UNKNOWN


class Decoder:
    """Threads that have images decoded in processes; further threads fetch images from addresses first.

    memory : bytes that all images ahead of the net may take; see `Budget`. Default: a share of what is free.
    """

    def __init__(self, describer: Describer, settings: ExtractionSettings, memory: int | None = None) -> None:
        workers = settings.workers or max(1, cores() // processes_here())
        self._describer, self._settings, self._ahead = describer, settings, AHEAD * workers
        self._options = {"exif": describer.spec.exif, "allow_truncated": describer.spec.allow_truncated}
        self._budget = Budget(share_of_memory(processes_here()) if memory is None else memory, workers)
        self._children = Children(settings.image_seconds)
        self._unanswered = 0
        self._near, self._far = ThreadPoolExecutor(workers, "decode"), ThreadPoolExecutor(FETCHES, "fetch")

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *error: object) -> None:
        for pool in (self._near, self._far):
            pool.shutdown(wait=False, cancel_futures=True)
        self._children.end()
        self._budget.end()

    def decode(self, items: Iterable[tuple[int, Item]]) -> Iterator[Decoded]:
        """Decode items with their places, in order. Raises DataError if a source is down."""
        pending: deque[Future[Decoded]] = deque()
        for number, (place, item) in enumerate(items):
            pool, ahead = self._near, self._ahead
            if getattr(item.image, "far", False):
                pool, ahead = self._far, max(self._ahead, FETCHES)
            if isinstance(item.image, bytes):
                self._budget.note(number, len(item.image))
            pending.append(pool.submit(self._read, number, place, item))
            del item  # it may hold the bytes of its file
            while len(pending) > ahead or (pending and self._budget.used > self._budget.total):
                yield self._taken(pending.popleft())
        while pending:
            yield self._taken(pending.popleft())

    def _taken(self, future: Future[Decoded]) -> Decoded:
        try:
            decoded = future.result()
        finally:
            self._budget.taken()
        error = decoded.image.error if isinstance(decoded.image, Failure) else None
        self._unanswered = self._unanswered + 1 if isinstance(error, Unanswered) else 0
        if self._unanswered == LOST:
            raise DataError(
                f"{error}; the {LOST - 1} files before it could not be read either: is the source down? "
                "finished descriptors are kept, run the same command again to continue"
            ) from error
        return decoded

    def _read(self, number: int, place: int, item: Item) -> Decoded:
        """Any error of an image becomes its failure. Raises only errors of the run."""
        try:
            image, identity = self._image(number, item.image)
            self._budget.note(number, image.nbytes)
            return Decoded(place, item.path, item.label, image, identity)
        except ImageError as error:
            failure = _failure(item, error)
        except VggfeatError:
            raise
        except MemoryError:
            failure = _failure(item, ImageError(NO_MEMORY))
        except Exception as error:
            what = str(error) if isinstance(error, Defect) else f"{type(error).__name__}: {error}"
            failure = _failure(item, ImageError(f"{DEFECT} ({what}), please report it"))
        self._budget.note(number, 0)
        return Decoded(place, item.path, item.label, failure)

    def _image(self, number: int, image: Any) -> tuple[Tensor, Identity]:
        """The pixels of an image, uint8 (3, H, W), and the identity of what was read. Raises ImageError."""
        if isinstance(image, ImageError):
            raise image
        source = self._describer.view.source(image)
        if isinstance(source, Fetched):
            source = self._fetched(number, source)
        elif size := size_of(source):
            self._budget.hold(number, self._checked(size))
        with self._budget.turn(number):
            before = _signature(source)
            if isinstance(file_of(source), Path | bytes | bytearray | memoryview):
                read = self._from_file(number, source)
                pixels, identity = read.pixels, read_identity(image, read.size, read.sha256)
            else:
                pixels, identity = self._in_memory(number, source), stamp(image)
            tensor = self._describer.prepared(pixels, image)
            if _signature(source) != before:
                raise ImageError(f"{image}: changed while it was read; run the extraction again")
        return tensor, identity

    def _fetched(self, number: int, image: Fetched) -> bytes:
        declared = self._checked(size_of(image) or 0)
        self._budget.hold(number, declared)
        if isinstance(image, Remote):  # its size may be unknown, or not true
            data = image.fetch(self._settings.max_bytes, lambda size: self._budget.hold(number, max(size, declared)))
        else:
            data = image.fetch()
        self._budget.note(number, self._checked(len(data)))
        return data

    def _checked(self, size: int) -> int:
        if size > self._settings.max_bytes:
            raise ImageError(too_large(size, self._settings.max_bytes))
        return size

    def _from_file(self, number: int, source: Any) -> Read:
        """Read a path, or the bytes of a file, in another process."""
        content = None if isinstance(source, str | PathLike) else bytes(source)
        request: dict[str, Any] = {
            "max_pixels": self._settings.max_pixels,
            "max_bytes": self._settings.max_bytes,
            "options": self._options,
        }
        if content is None:
            request["path"] = fspath(source)
        here = len(content or b"")
        with self._children.one() as child:
            return child.decode(request, content, lambda memory: self._budget.hold(number, memory + here))

    def _in_memory(self, number: int, source: Any) -> np.ndarray:
        if isinstance(source, np.ndarray | Tensor):
            return images.read(source, self._settings.max_pixels)
        with opened(source, self._settings.max_pixels) as image:
            self._budget.hold(number, image.memory)
            return image.pixels(**self._options)


def _failure(item: Item, error: ImageError) -> Failure:
    """The failure without the error's traceback."""
    name = str(item.image) if isinstance(file_of(item.image), Path | Fetched) else ""
    text, kind = str(error), Unanswered if item.is_unanswered(error) else ImageError
    reason = re.sub(r"^image of \d+ bytes: ", "", text.removeprefix(f"{name}: "))
    return Failure(reason, kind(text if name and text != reason else f"{item.path}: {reason}"))


def _signature(image: Any) -> Signature | None:
    """The signature of a file; None for other images, and for a file that cannot be read, whose reader says why."""
    file = file_of(image)
    return signature(file) if isinstance(file, Path) else None
