"""From decoded images to the parts of a store."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from typing import Any

from torch import Tensor

from vggfeat._util.torch_settings import torch_settings
from vggfeat.descriptors import Describer
from vggfeat.errors import ImageError
from vggfeat.extraction.background import Background, uninterrupted
from vggfeat.extraction.decoding import Decoded, Decoder, Failure
from vggfeat.extraction.places import Division
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.sources.item import Item
from vggfeat.store.identity import Identity
from vggfeat.store.writing import PartWriter, Record

PART_SECONDS = 120.0  # after which a part is closed early, so that a kill costs little work
AHEAD = 64  # results that may wait to be stored
GROUP = {"cpu": 16, "cuda": 1024}  # images among which batches are made: about a minute of work at most

GROUP_END, RANGE_END = object(), object()


def fill(
    writer: PartWriter,
    todo: Iterable[tuple[int, Item]],
    describer: Describer,
    settings: ExtractionSettings,
    show: Callable[[int], None],
    part_seconds: float = PART_SECONDS,
    memory: int | None = None,
) -> None:
    """Describe items at their places and write them in parts. Finished descriptors are written however this ends.

    show : called with the number of further items that are done. part_seconds : after which a part is closed early, at
    the end of a group. memory : see `Decoder`.

    Raises ImageError for an image that cannot be read, after it was listed, if the settings say so; StoreError.
    """
    division = Division(settings.part_size, GROUP[describer.engine.device.type])
    with (
        torch_settings(deterministic=settings.deterministic),
        Decoder(describer, settings, memory) as decoder,
    ):
        results = Background(_results(decoder.decode(todo), describer, division), AHEAD)
        waiting = _Waiting(writer, settings.on_error == "fail", show, part_seconds)
        try:
            for result in results:
                waiting.take(result)
            show(0)
            waiting.commit()
        except BaseException as error:
            with uninterrupted():
                for result in results.stop(wait=not isinstance(error, KeyboardInterrupt)):
                    with suppress(ImageError):
                        waiting.take(result)
                if settings.deterministic:
                    waiting.drop_unfinished_group()
                waiting.commit()
            raise


def _results(decoded: Iterable[Decoded], describer: Describer, division: Division) -> Iterator[Any]:
    """(place, Record), and Decoded for failures; GROUP_END after each group, RANGE_END after each range."""
    for _, of_range in groupby(decoded, lambda one: division.range_of(one.place)):
        for _, group in groupby(of_range, lambda one: division.group_of(one.place)):
            yield from _described(group, describer)
            yield GROUP_END
        yield RANGE_END


def _described(group: Iterable[Decoded], describer: Describer) -> Iterator[Any]:
    read: dict[int, tuple[str, str | None, int, int, Identity]] = {}
    failed: list[Decoded] = []

    def readable() -> Iterator[tuple[int, Tensor]]:
        for one in group:
            if isinstance(one.image, Failure):
                failed.append(one)
            else:
                read[one.place] = (one.path, one.label, one.image.shape[2], one.image.shape[1], one.identity)
                yield one.place, one.image

    for place, (vectors,) in describer.stream(readable()):
        yield from failed
        failed.clear()
        path, label, width, height, identity = read.pop(place)
        scales = dict(zip(describer.spec.scales, vectors, strict=True))
        yield place, Record(path, label, width, height, scales, identity)
    yield from failed


class _Waiting:
    """The results that wait to be written."""

    def __init__(self, writer: PartWriter, fail: bool, show: Callable[[int], None], part_seconds: float) -> None:
        self._writer, self._fail, self._show, self._part_seconds = writer, fail, show, part_seconds
        self._records: list[tuple[int, Record]] = []
        self._finished = 0  # how many of them belong to finished groups
        self._began = time.monotonic()

    def take(self, result: Any) -> None:
        """Raises ImageError for a failure, if the settings say so."""
        if result is GROUP_END or result is RANGE_END:
            self._finished = len(self._records)
            if result is RANGE_END or time.monotonic() - self._began > self._part_seconds:
                self.commit()
            return
        self._show(1)
        if isinstance(result, Decoded):
            assert isinstance(result.image, Failure)
            self._list(result.path, result.image.reason, result.image.error)
        elif reason := self._writer.why_not(result[1]):
            self._list(result[1].path, reason, ImageError(f"{result[1].path}: {reason}"))
        else:
            self._records.append(result)

    def _list(self, path: str, reason: str, error: ImageError) -> None:
        self._writer.fail(path, reason)
        if self._fail:
            raise error

    def drop_unfinished_group(self) -> None:
        """So that its images are described again in the same batches."""
        del self._records[self._finished :]

    def commit(self) -> None:
        """Write a part of what waits."""
        with uninterrupted():
            records = sorted(self._records, key=lambda pair: pair[0])
            self._writer.commit([record for _, record in records], records[0][0] if records else None)
            self._records.clear()
            self._finished = 0
        self._began = time.monotonic()
