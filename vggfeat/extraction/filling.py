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
from vggfeat.extraction.decoding import Decoded, Decoder
from vggfeat.extraction.places import Cut
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.sources import Item
from vggfeat.store import Parts, Record

PART_SECONDS = 120  # a part is also closed after this time, so that a kill never costs much more
AHEAD = 64  # results that may wait to be stored
GROUP = {"cpu": 16, "cuda": 1024}  # images among which batches are made: about a minute's work at most

GROUP_END, RANGE_END = object(), object()


def fill(
    parts: Parts,
    todo: Iterable[tuple[int, Item]],
    describer: Describer,
    settings: ExtractionSettings,
    show: Callable[[int], None],
) -> None:
    """Describe items at their places and write them, part by part; whatever ends this, what is described is written.

    show : called with how many more of them are done.

    Raises ImageError for an image that cannot be read, once it is listed, if the settings say so; StoreError.
    """
    cut = Cut(settings.part_size, GROUP[describer.engine.device.type])
    with (
        torch_settings(deterministic=settings.deterministic),
        Decoder(describer.prepare, settings.max_pixels, settings.workers) as decoder,
    ):
        results = Background(_results(decoder.decode(todo), describer, cut), AHEAD)
        waiting = _Waiting(parts, settings.on_error == "fail", show)
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
                    waiting.drop_broken_group()
                waiting.commit()
            raise


def _results(decoded: Iterable[Decoded], describer: Describer, cut: Cut) -> Iterator[Any]:
    """(place, Record) and failed Decoded; GROUP_END where a group is through, RANGE_END where a range is."""
    for _, of_range in groupby(decoded, lambda one: cut.range_of(one.place)):
        for _, group in groupby(of_range, lambda one: cut.group_of(one.place)):
            yield from _described(group, describer)
            yield GROUP_END
        yield RANGE_END


def _described(group: Iterable[Decoded], describer: Describer) -> Iterator[Any]:
    read: dict[int, tuple[Item, int, int]] = {}
    failed: list[Decoded] = []

    def readable() -> Iterator[tuple[int, Tensor]]:
        for one in group:
            if isinstance(one.image, ImageError):
                failed.append(one)
            else:
                read[one.place] = (one.item, one.image.shape[2], one.image.shape[1])
                yield one.place, one.image

    for place, (vectors,) in describer.stream(readable()):
        yield from failed
        failed.clear()
        item, width, height = read.pop(place)
        yield (
            place,
            Record(item.path, item.label, width, height, dict(zip(describer.spec.scales, vectors, strict=True))),
        )
    yield from failed


class _Waiting:
    """The results that wait to be written."""

    def __init__(self, parts: Parts, fail: bool, show: Callable[[int], None]) -> None:
        self._parts, self._fail, self._show = parts, fail, show
        self._records: list[tuple[int, Record]] = []
        self._whole = 0  # how many of them are of groups that are through
        self._began = time.monotonic()

    def take(self, result: Any) -> None:
        if result is GROUP_END or result is RANGE_END:
            self._whole = len(self._records)
            if result is RANGE_END or time.monotonic() - self._began > PART_SECONDS:
                self.commit()
            return
        self._show(1)
        if isinstance(result, Decoded):
            self._list(result.item.path, result.reason, result.error)
        elif reason := self._parts.unfit(result[1]):
            self._list(result[1].path, reason, ImageError(f"{result[1].path}: {reason}"))
        else:
            self._records.append(result)

    def _list(self, path: str, reason: str, error: ImageError) -> None:
        self._parts.failures[path] = reason
        if self._fail:
            raise error

    def drop_broken_group(self) -> None:
        del self._records[self._whole :]

    def commit(self) -> None:
        with uninterrupted():
            records = sorted(self._records, key=lambda pair: pair[0])
            self._parts.commit([record for _, record in records], records[0][0] if records else None)
            self._records.clear()
            self._whole = 0
        self._began = time.monotonic()
