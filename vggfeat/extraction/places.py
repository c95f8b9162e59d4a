"""The places of a source: how they are divided, and which of them have no row."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vggfeat.errors import ImageError
from vggfeat.sources.item import Item
from vggfeat.store.names import Names

MAX_NAME = 4096  # characters, as of a path on most systems


@dataclass(frozen=True)
class Division:
    """Places are divided into ranges of `part_size`, and these into groups of `group`."""

    part_size: int
    group: int

    def range_of(self, place: int) -> int:
        """Number of the range."""
        return place // self.part_size

    def group_of(self, place: int) -> int:
        """Number of the group within its range."""
        return place % self.part_size // self.group


class Todo:
    """(place, item) of the items that have no row yet, in the ranges of the i-th of n processes.

    names : names of the existing rows; the name of each item is added. failures : of earlier runs; an archive or folder
    that has items now is removed from them: it is no failure any more, or becomes one again after its items.
    skipped : how many items of this process had a row.
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
        self._old = set(self._failures)
        self.skipped = 0

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        i, n = self._share
        for place, item in enumerate(self._items):
            item = _storable(item)
            self._forget(item.path)
            new, mine = self._names.add(item.path), place // self._part_size % n == i
            if new and mine:
                yield place, item
            elif mine:
                self.skipped += 1

    def _forget(self, path: str) -> None:
        """Remove the failures of the archives and folders that contain an item."""
        self._old.discard(path)  # an item itself, whose result decides
        while self._old and "/" in path:
            path = path.rpartition("/")[0]
            if path in self._old:
                self._old.remove(path)
                self._failures.pop(path, None)


def _storable(item: Item) -> Item:
    """An item whose name Parquet accepts, and is not longer than a path can be."""
    path = item.path.encode(errors="backslashreplace").decode().replace("\0", "\\0")
    if len(path) > MAX_NAME:
        return Item(f"{path[:MAX_NAME]}...", ImageError(f"its name has {len(path):,} characters"))
    return item if path == item.path else Item(path, item.image, item.label)
