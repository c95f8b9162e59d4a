"""A store as it is read."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from vggfeat.errors import StoreError
from vggfeat.store import files


class Store:
    """A store on disk, for reading. Raises StoreError where there is none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.meta = files.read_meta(self.path)

    @property
    def fingerprint(self) -> dict[str, Any]:
        return self.meta["fingerprint"]

    @property
    def scales(self) -> tuple[int, ...]:
        return tuple(self.fingerprint["scales"])

    @property
    def parts(self) -> list[Path]:
        return files.parts(self.path)

    @cached_property
    def paths(self) -> list[str]:
        """The names of all rows, in the order of the rows."""
        return self.read(["path"])["path"].to_pylist()

    @property
    def failures(self) -> dict[str, str]:
        """Name -> reason of each image that could not be described."""
        return files.read_failures(self.path)

    @property
    def settled(self) -> bool:
        """Whether all of several processes that made it have ended, and their lists of failures are one."""
        return not files.failure_lists(self.path)[1:] and not any(self.path.glob(".ended-*of*"))

    def __len__(self) -> int:
        return sum(map(files.part_rows, self.parts))

    def batches(self, columns: Sequence[str] | None = None, size: int = files.BATCH) -> Iterator[pa.RecordBatch]:
        """The rows in order, at most `size` at once: a store of any length in little memory.

        Raises StoreError, naming the part, where one is damaged or lacks a column.
        """
        for part in self.parts:
            yield from files.part_batches(part, columns, size)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows as an Arrow table; raises as `batches` does, and where there are no rows."""
        found = list(self.batches(columns, files.ROW_GROUP))
        if not found:
            raise StoreError(f"{self.path}: has no rows yet; run the extraction again to continue it")
        return pa.Table.from_batches(found)
