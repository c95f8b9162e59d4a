"""The places of a source: how they are dealt out, and which of them lack a row."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vggfeat.errors import ImageError
from vggfeat.sources import Item
from vggfeat.store.names import Names

MAX_NAME = 4096  # characters, as of a path on most systems


@dataclass(frozen=True)
class Cut:
    """How places are cut: into ranges of `part_size`, these into groups."""

    part_size: int
    group: int

    def range_of(self, place: int) -> int:
        return place // self.part_size

    def group_of(self, place: int) -> int:
        return place % self.part_size // self.group


class Todo:
    """(place, item) of those items that have no row yet, in the ranges of the i-th of n processes.

    names : of the rows that are there; each item's is added. failures : of earlier runs; what has items now, an
    archive or a folder, is taken out: it is no failure any more, or becomes one again behind them. skipped : how many
    of this process's items had a row.
    """

    def __init__(
        self,
        items: Iterable[Item],
        names: Names,
        part_size: int,
        share: tuple[int, int] = (0, 1),
        failures: dict[str, str] | None = None,
    ) -> None:
        self._items, self._names, self._part_size, self._share = items, names, part_size, share
        self._failures = failures if failures is not None else {}
        self._stale = set(self._failures)
        self.skipped = 0

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        i, n = self._share
        for place, item in enumerate(self._items):
            item = _storable(item)
            self._mend(item.path)
            new, mine = self._names.add(item.path), place // self._part_size % n == i
            if new and mine:
                yield place, item
            elif mine:
                self.skipped += 1

    def _mend(self, path: str) -> None:
        self._stale.discard(path)  # an item of its own, whose result decides
        while self._stale and "/" in path:
            path = path.rpartition("/")[0]
            if path in self._stale:
                self._stale.remove(path)
                self._failures.pop(path, None)


def _storable(item: Item) -> Item:
    """An item whose name Parquet takes, and no name longer than a path can be."""
    path = item.path.encode(errors="backslashreplace").decode().replace("\0", "\\0")
    if len(path) > MAX_NAME:
        return Item(f"{path[:MAX_NAME]}...", ImageError(f"its name has {len(path):,} characters"))
    return item if path == item.path else Item(path, item.image, item.label)
