"""The extraction engine: source -> decode -> same-size batches -> net -> store.

The places of a source are cut into ranges of `part_size`, these into groups. Batches are made within groups, never
across them, so that the bits of a row don't depend on where a run began, nor on which process described it; a part is
named by the place of its first row, so that the order of the rows doesn't either. Hence a run can be killed at any
moment and continued by the same command, and several processes can share a source without knowing of each other.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, groupby
from pathlib import Path
from threading import Thread
from typing import Any, Literal

from torch import Tensor

from vggfeat import sources
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, ImageError, UsageError
from vggfeat.extract.background import Background, uninterrupted
from vggfeat.extract.decoding import Decoded, Decoder
from vggfeat.extract.settings import deterministic_algorithms
from vggfeat.images import MAX_PIXELS
from vggfeat.progress import progress
from vggfeat.sources import Item
from vggfeat.store import Record, Store, Writer
from vggfeat.store.names import Names

__all__ = ["PART_SIZE", "Item", "default_out", "extract"]

PART_SIZE = 1000
PART_SECONDS = 120  # a part is also closed after this time, so that a kill never costs much more
GROUP = {"cpu": 16, "cuda": 1024}  # images among which batches are made: about a minute's work at most
AHEAD = 64  # results that may wait to be stored
MAX_NAME = 4096  # characters, as of a path on most systems

GROUP_END, RANGE_END = object(), object()


def extract(
    source: str | Path | Sequence[Item] = ".",
    out: str | Path | None = None,
    *,
    on_error: Literal["skip", "fail"] = "skip",
    part_size: int = PART_SIZE,
    dtype: Literal["float32", "float16"] = "float32",
    max_pixels: int = MAX_PIXELS,
    workers: int | None = None,
    deterministic: bool = False,
    share: tuple[int, int] = (0, 1),
    describer: Describer | None = None,
    **options: Any,
) -> Store:
    """Describe all images of a source into a store, or continue where a killed run stopped.

    source : a folder (every file below it that isn't hidden; label: its first folder), a .txt, .csv or .parquet list
        (column `path`, and `label` if any), a tar of images, a glob, one image, each here or at an address such as
        s3://bucket/photos (see vggfeat.sources); or a list of Items.
    out : the store; None: the source's name with the suffix .vggfeat, in the current folder.
    on_error : what an image that can't be read does: "skip" lists it in failures.csv, "fail" ends the run.
    part_size : images in a Parquet part. dtype : of the stored vectors.
    max_pixels : of an image as it is read; one that has more is a failure.
    workers : threads that decode, beside the net; None: one a processor.
    deterministic : the same bits in each run on the same machine, with the same number of threads, even after an
        interrupt: only algorithms that promise so, and of a group that is interrupted nothing is kept. Without it a
        kill or several processes change no bit on a CPU, and rows described after an interrupt may differ by
        rounding: by less than 1e-6 in a descriptor of norm 1, in float32.
    share : (i, n): this is the i-th of n processes that call this with the same arguments to make one store; each
        describes every n-th range of `part_size` images.
    describer, or options : see Describer. A store holds one net; extract D and E apart and load both.

    Rows stand in the order of the source, but for those that were added or repaired later, or interrupted: they come
    behind the images before them. Images in the store already are not read again, failed ones are tried again.
    An interrupt (KeyboardInterrupt) is raised at once; what is described is stored.

    Raises DataError where there is nothing to describe, StoreError, WeightsError, UsageError; ImageError with
    on_error="fail".
    """
    _check(on_error, part_size, max_pixels, share)
    items = _items(source)
    out = Path(out) if out is not None else default_out(source)
    describer = describer or Describer(**options)
    if len(describer.nets) > 1:
        raise UsageError("a store holds one net: extract each net into its own store and load them together")
    weights, fingerprint = describer.nets[0].weights.name, describer.fingerprint()[0]
    cut = _Cut(part_size, GROUP[describer.device.type], share)
    with (
        Writer(out, fingerprint, agg=describer.agg, weights=weights, dtype=dtype, share=share) as writer,
        deterministic_algorithms(deterministic),
        progress(_known(source), "describing", disable=share[0] > 0) as bar,
        Decoder(describer, max_pixels, workers) as decoder,
    ):
        _count(source, bar, share[1])
        todo = _Todo(items, writer.names, cut)
        results = Background(_results(decoder.decode(todo), describer, cut), AHEAD)
        _Filling(writer, todo, bar, on_error == "fail").fill(results, keep_broken_group=not deterministic)
    store = Store(out)
    if writer.settled and not store.parts:
        name = source if isinstance(source, str | Path) else "the list"
        raise DataError(f"{name}: none of its {todo.seen} files could be read as an image; see {out}/failures.csv")
    return store


def default_out(source: str | Path | Sequence[Item]) -> Path:
    """photos/ -> photos.vggfeat in the current folder."""
    if not isinstance(source, str | Path):
        raise UsageError("name the store: extract(items, out=...)")
    return Path(f"{sources.name_of(source)}.vggfeat")


def _check(on_error: str, part_size: int, max_pixels: int, share: tuple[int, int]) -> None:
    if on_error not in ("skip", "fail"):
        raise UsageError(f"on_error is skip or fail, not {on_error!r}")
    if part_size < 1:
        raise UsageError(f"part_size must be at least 1, not {part_size}")
    if not 1 <= max_pixels <= 2 * MAX_PIXELS:
        raise UsageError(f"max_pixels must be from 1 to {2 * MAX_PIXELS:,}, not {max_pixels:,}")
    if not 0 <= share[0] < share[1]:
        raise UsageError(f"share is (i, n) with i from 0 to n - 1, not {share}")


def _items(source: str | Path | Sequence[Item]) -> Iterator[Item]:
    """The images of a source. Raises DataError, before anything else is begun, where there are none."""
    if not isinstance(source, str | Path):
        source = list(source)
        if len({item.path for item in source}) < len(source):
            raise UsageError("two items have the same path; a row can't share its name")
        return iter(source)
    items = sources.items(source)
    first = next(items, None)
    if first is None:
        raise DataError(f"{source}: has no files to describe")
    return chain([first], items)


def _known(source: str | Path | Sequence[Item]) -> int | None:
    return None if isinstance(source, str | Path) else len(source)


def _count(source: str | Path | Sequence[Item], bar: Any, world: int) -> None:
    """Tell the progress bar how many images there are, once that is known; describing doesn't wait for it."""

    def count() -> None:
        with suppress(Exception):  # it is only shown
            if isinstance(source, str | Path) and (total := sources.count(source)):
                bar.total = -(-total // world)

    Thread(target=count, name="count", daemon=True).start()


class _Cut:
    """How the places of a source are dealt out."""

    def __init__(self, part_size: int, group: int, share: tuple[int, int]) -> None:
        self.part_size, self._group, (self._i, self._n) = part_size, group, share

    def range_of(self, place: int) -> int:
        return place // self.part_size

    def group_of(self, place: int) -> int:
        return place % self.part_size // self._group

    def mine(self, place: int) -> bool:
        return self.range_of(place) % self._n == self._i


class _Todo:
    """(place, item) of those items that have no row yet, and are this process's. Counts them while it goes."""

    def __init__(self, items: Iterable[Item], names: Names, cut: _Cut) -> None:
        self._items, self._names, self._cut = items, names, cut
        self.seen = self.skipped = 0

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        for place, item in enumerate(self._items):
            self.seen += 1
            item = _storable(item)
            new, mine = self._names.add(item.path), self._cut.mine(place)
            if new and mine:
                yield place, item
            elif mine:
                self.skipped += 1


def _storable(item: Item) -> Item:
    """An item whose name Parquet takes, and no name longer than a path can be."""
    path = item.path.encode(errors="backslashreplace").decode().replace("\0", "\\0")
    if len(path) > MAX_NAME:
        return Item(f"{path[:MAX_NAME]}...", ImageError(f"its name has {len(path):,} characters"))
    return item if path == item.path else Item(path, item.image, item.label)


def _results(decoded: Iterable[Decoded], describer: Describer, cut: _Cut) -> Iterator[Any]:
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
        yield place, Record(item.path, item.label, width, height, dict(zip(describer.scales, vectors, strict=True)))
    yield from failed


class _Filling:
    """Takes results and writes them, part by part; whatever ends the run, what is described is written."""

    def __init__(self, writer: Writer, todo: _Todo, bar: Any, fail: bool) -> None:
        self._writer, self._todo, self._bar, self._fail = writer, todo, bar, fail
        self._records: list[tuple[int, Record]] = []
        self._whole = 0  # how many of them are of groups that are through
        self._skipped = 0
        self._began = time.monotonic()

    def fill(self, results: Background[Any], keep_broken_group: bool) -> None:
        try:
            for result in results:
                self._take(result)
            self._show(0)
            self._commit()
        except BaseException as error:
            with uninterrupted():
                for result in results.stop(wait=not isinstance(error, KeyboardInterrupt)):
                    with suppress(ImageError):
                        self._take(result)
                if not keep_broken_group:
                    del self._records[self._whole :]
                self._commit()
            raise

    def _take(self, result: Any) -> None:
        if result is GROUP_END or result is RANGE_END:
            self._whole = len(self._records)
            if result is RANGE_END or time.monotonic() - self._began > PART_SECONDS:
                self._commit()
            return
        self._show(1)
        if not isinstance(result, Decoded):
            self._records.append(result)
            return
        self._writer.failures[result.item.path] = result.reason
        if self._fail:
            raise result.error

    def _show(self, done: int) -> None:
        skipped = self._todo.skipped
        self._bar.update(done + skipped - self._skipped)
        self._skipped = skipped

    def _commit(self) -> None:
        with uninterrupted():
            records = sorted(self._records, key=lambda pair: pair[0])
            self._writer.commit([record for _, record in records], records[0][0] if records else None)
            self._records.clear()
            self._whole = 0
        self._began = time.monotonic()
