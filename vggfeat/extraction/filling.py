"""From decoded images to the parts of a store."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from typing import Any, NamedTuple

from torch import Tensor

from vggfeat._util.torch_settings import torch_settings
from vggfeat.descriptors import Describer
from vggfeat.errors import ImageError
from vggfeat.extraction.background import Background, uninterrupted
from vggfeat.extraction.decoding import Decoded, Decoder, Failure
from vggfeat.extraction.places import Division, Work
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.sources.item import Item
from vggfeat.store.identity import Identity
from vggfeat.store.writing import PartWriter, Record

PART_SECONDS = 120.0  # after which a part is closed early, so that a kill costs little work
AHEAD = 64  # results that may wait to be stored

GROUP_END, RANGE_END = object(), object()


def fill(
    writers: Mapping[str, PartWriter],
    todo: Iterable[Work],
    describer: Describer,
    settings: ExtractionSettings,
    show: Callable[[int], None],
    part_seconds: float = PART_SECONDS,
    memory: int | None = None,
) -> None:
    """Describe items at their places and write them in parts. Finished descriptors are written however this ends.

    writers : one for each layer. show : called with the number of further items that are done. part_seconds : after
    which a part is closed early, at the end of a group. memory : see `Decoder`.

    Raises ImageError for an image that cannot be read, after it was listed, if the settings say so; StoreError.
    """
    division = Division(settings.part_size, describer.engine.machine.tuning.group)
    with (
        torch_settings(deterministic=settings.deterministic),
        Decoder(describer, settings, memory) as decoder,
    ):
        results = Background(_results(_decoded(decoder, todo), describer, division), AHEAD)
        waiting = _Waiting(writers, settings.on_error == "fail", show, part_seconds)
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


class _Image(NamedTuple):
    """A decoded image, and the layers whose stores lack it."""

    decoded: Decoded
    layers: tuple[str, ...]


class _Result(NamedTuple):
    """The record of an image for each layer whose store lacks it."""

    place: int
    records: dict[str, Record]


def _decoded(decoder: Decoder, todo: Iterable[Work]) -> Iterator[_Image]:
    wanted: dict[int, tuple[str, ...]] = {}  # by the images that are ahead of the net

    def items() -> Iterator[tuple[int, Item]]:
        for place, item, layers in todo:
            wanted[place] = layers
            yield place, item

    for one in decoder.decode(items()):
        yield _Image(one, wanted.pop(one.place))


def _results(images: Iterable[_Image], describer: Describer, division: Division) -> Iterator[Any]:
    """_Result, and _Image for failures; GROUP_END after each group, RANGE_END after each range.

    Within a group, images in a row that lack the same layers go through the net together.
    """
    for _, of_range in groupby(images, lambda one: division.range_of(one.decoded.place)):
        for _, group in groupby(of_range, lambda one: division.group_of(one.decoded.place)):
            for layers, alike in groupby(group, lambda one: one.layers):
                yield from _described(alike, layers, describer)
            yield GROUP_END
        yield RANGE_END


def _described(images: Iterable[_Image], layers: tuple[str, ...], describer: Describer) -> Iterator[Any]:
    read: dict[int, tuple[str, str | None, int, int, Identity]] = {}
    failed: list[_Image] = []

    def readable() -> Iterator[tuple[int, Tensor]]:
        for image in images:
            one = image.decoded
            if isinstance(one.image, Failure):
                failed.append(image)
            else:
                read[one.place] = (one.path, one.label, one.image.shape[2], one.image.shape[1], one.identity)
                yield one.place, one.image

    for place, values in describer.stream(readable(), layers):
        yield from failed
        failed.clear()
        path, label, width, height, identity = read.pop(place)
        scales = [dict(zip(describer.spec.scales, of_layer, strict=True)) for of_layer in values]
        records = [Record(path, label, width, height, vectors, identity) for vectors in scales]
        yield _Result(place, dict(zip(layers, records, strict=True)))
    yield from failed


class _Waiting:
    """The results that wait to be written, with their places, for each layer."""

    def __init__(
        self, writers: Mapping[str, PartWriter], fail: bool, show: Callable[[int], None], part_seconds: float
    ) -> None:
        self._writers, self._fail, self._show, self._part_seconds = writers, fail, show, part_seconds
        self._records: dict[str, list[tuple[int, Record]]] = {layer: [] for layer in writers}
        self._finished = dict.fromkeys(writers, 0)  # how many of them belong to finished groups
        self._began = time.monotonic()

    def take(self, result: Any) -> None:
        """Raises ImageError for a failure, if the settings say so."""
        if result is GROUP_END or result is RANGE_END:
            self._finished = {layer: len(records) for layer, records in self._records.items()}
            if result is RANGE_END or time.monotonic() - self._began > self._part_seconds:
                self.commit()
            return
        self._show(1)
        if isinstance(result, _Image):
            failure = result.decoded.image
            assert isinstance(failure, Failure)
            self._list(result.layers, result.decoded.path, failure.reason, failure.error)
            return
        for layer, record in result.records.items():
            if reason := self._writers[layer].why_not(record):
                self._list((layer,), record.path, reason, ImageError(f"{record.path}: {reason}"))
            else:
                self._records[layer].append((result.place, record))

    def _list(self, layers: Iterable[str], path: str, reason: str, error: ImageError) -> None:
        for layer in layers:
            self._writers[layer].fail(path, reason)
        if self._fail:
            raise error

    def drop_unfinished_group(self) -> None:
        """So that its images are described again in the same batches."""
        for layer, records in self._records.items():
            del records[self._finished[layer] :]

    def commit(self) -> None:
        """Write a part of what waits, in each store."""
        with uninterrupted():
            for layer, records in self._records.items():
                records.sort(key=lambda pair: pair[0])
                self._writers[layer].commit([record for _, record in records], records[0][0] if records else None)
                records.clear()
            self._finished = dict.fromkeys(self._writers, 0)
        self._began = time.monotonic()
