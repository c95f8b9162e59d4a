"""The places of a source: how they are divided, and which of their images are still to be described."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vggfeat._util.left_out import LeftOut
from vggfeat.engine.views import Region
from vggfeat.errors import ImageError
from vggfeat.extraction.identity import checksum, file_of, stamp
from vggfeat.sources.item import Fetched, Item
from vggfeat.store.identity import NEW, UNKNOWN, Identity, Row, Rows, content_mark, label_mark, stat_mark
from vggfeat.store.settling import News

Work = tuple[int, Item, tuple[str, ...]]  # an item at its place, and the layers whose stores lack it

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


CHANGED = "images that changed since they were described"
RELABELLED = "images with a new label"
TWICE = "images left out, because an earlier one has the same name"
UNIDENTIFIED = (
    "images described by an earlier version, which stored neither time nor checksum, so that changes are not "
    "noticed (extract into a new store to be sure)"
)
AGAIN = "images in memory that are described again, because it is not known whether they have changed"
NOT_COMPARED = "rows kept, although it is not known whether their images have changed"


@dataclass
class Findings:
    """What was found while a source was listed.

    remarks : what it leaves out, and how its images differ from the rows of the store. known : how many rows the store
    had when it was opened. listed : how many of these the source has. whole : whether it was listed to its end.
    """

    remarks: LeftOut = field(default_factory=LeftOut)
    known: int = 0
    listed: int = 0
    whole: bool = False


class Known:
    """What a store knows of the items of a source.

    rows : the existing rows; those of the items are marked as seen. failures : those of earlier runs. An archive or
    folder that has items now is removed from them; if it fails again, that comes after its items.
    note : called with the name and the News of an image whose row is kept. None if rows must not be changed: then
    images that have changed are counted, but not wanted.
    found : what was found so far; others may add to its remarks.
    """

    def __init__(
        self,
        rows: Rows,
        failures: dict[str, str] | None = None,
        note: Callable[[str, News], None] | None = None,
        found: Findings | None = None,
    ) -> None:
        self._rows = rows
        self._failures = failures if failures is not None else {}
        self._old = set(self._failures)
        self._note = note
        self.found = found or Findings()
        self.found.known = len(rows)

    def lacks(self, item: Item, mine: bool) -> bool:
        """See the next item of the source; whether it is mine, and has no row or has changed."""
        self._forget(item.path)
        row = self._see(item)
        return bool(mine and row and self._is_todo(row, item))

    def _see(self, item: Item) -> Row | None:
        """The row of an item, which is empty for a new item; None if the source listed its name before."""
        row = self._rows.see(item.path)
        if row.seen:
            self.found.remarks.add(TWICE, item.path)
            return None
        self.found.listed += row.part != NEW
        return row

    def _is_todo(self, row: Row, item: Item) -> bool:
        if row.part == NEW:
            return True
        identity = stamp(item.image)
        if reason := self._why_again(row, identity, item):
            self.found.remarks.add(reason, item.path)
            return self._note is not None
        relabelled = row.label != label_mark(item.label)
        if relabelled:
            self.found.remarks.add(RELABELLED, item.path)
        touched = bool(row.stat) and stat_mark(identity) not in (row.stat, 0)
        if self._note and (relabelled or touched):
            self._note(item.path, News(item.label, identity if touched else None))
        return False

    def _why_again(self, row: Row, identity: Identity, item: Item) -> str | None:
        """CHANGED or AGAIN if an item with a row must be described; if size or time differ, the checksum decides."""
        is_file = isinstance(file_of(item.image), Path | Fetched | ImageError)
        if identity == UNKNOWN and not is_file:
            return AGAIN
        if not row.stat and not row.content:
            self.found.remarks.add(UNIDENTIFIED, item.path)
            return None
        same = row.stat == stat_mark(identity) and not isinstance(item.image, Region)
        if identity == UNKNOWN or (same and identity[1:] == (None, None)):  # a size alone says little
            self.found.remarks.add(NOT_COMPARED, item.path)
            return None
        if same and identity.sha256 is None:
            return None
        try:
            sha256 = identity.sha256 or checksum(item.image)
        except Exception:  # whoever reads the image will say why
            return CHANGED
        return CHANGED if row.content != content_mark(identity._replace(sha256=sha256)) else None

    def forget_what_is_gone(self) -> None:
        """Remove the failures of files that the source no longer has, after it was listed to its end."""
        for path in self._old:
            self._failures.pop(path, None)

    def _forget(self, path: str) -> None:
        """Remove the failures of the archives and folders that contain an item."""
        self._old.discard(path)  # an item itself, whose result decides
        while self._old and "/" in path:
            path = path.rpartition("/")[0]
            if path in self._old:
                self._old.remove(path)
                self._failures.pop(path, None)


class Todo:
    """(place, item, layers) of the items that some stores lack, in the ranges of the i-th of n processes.

    stores : what the store of each layer knows; `layers` are those whose stores lack the item. skipped : how many items
    of this process no store lacks.
    """

    def __init__(
        self, items: Iterable[Item], stores: Mapping[str, Known], part_size: int, share: tuple[int, int] = (0, 1)
    ) -> None:
        self._items, self._stores, self._part_size, self._share = items, stores, part_size, share
        self.skipped = 0

    def __iter__(self) -> Iterator[Work]:
        i, n = self._share
        for place, item in enumerate(self._items):
            item, mine = _storable(item), place // self._part_size % n == i
            layers = tuple(layer for layer, known in self._stores.items() if known.lacks(item, mine))
            if layers:
                yield place, item, layers
            elif mine:
                self.skipped += 1
        for known in self._stores.values():
            known.found.whole = True


def _storable(item: Item) -> Item:
    """An item whose name and label Parquet accepts, and whose name is not longer than a path can be."""
    path = _unicode(item.path).replace("\0", "\\0")
    if len(path) > MAX_NAME:
        return Item(
            f"{path[:MAX_NAME]}...",
            ImageError(f"its name has {len(path):,} characters, more than {MAX_NAME:,}; shorten it"),
        )
    label = item.label if item.label is None else _unicode(item.label)
    return item if (path, label) == (item.path, item.label) else Item(path, item.image, label)


def _unicode(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
