"""A store as it is read."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from vggfeat.errors import StoreError
from vggfeat.store import files


class Store:
    """A store on disk, for reading: the parts that are there when it is first asked for them, whoever adds others
    meanwhile. Raises StoreError where there is none.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.meta = files.read_meta(self.path)

    @property
    def fingerprint(self) -> dict[str, Any]:
        return self.meta["fingerprint"]

    @property
    def scales(self) -> tuple[int, ...]:
        return tuple(self.fingerprint["scales"])

    @cached_property
    def parts(self) -> list[Path]:
        return files.parts(self.path)

    @cached_property
    def sizes(self) -> list[int]:
        """How many rows each part has."""
        return [files.part_rows(part) for part in self.parts]

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
        return sum(self.sizes)

    def batches(self, columns: Sequence[str] | None = None, size: int = files.BATCH) -> Iterator[pa.RecordBatch]:
        """The rows in order, at most `size` at once: a store of any length in little memory.

        Raises StoreError, naming the part, where one is damaged or lacks a column.
        """
        for number in range(len(self.parts)):
            yield from self.part_batches(number, columns, size)

    def part_batches(
        self, number: int, columns: Sequence[str] | None = None, size: int = files.BATCH
    ) -> Iterator[pa.RecordBatch]:
        """The rows of one of the parts; raises as `batches` does, and where it isn't the part any more that it was."""
        part, rows = self.parts[number], 0
        for batch in files.part_batches(part, columns, size):
            rows += len(batch)
            yield batch
        if rows != self.sizes[number]:
            raise StoreError(f"{part}: was changed while the store was read; read it again when nobody writes to it")

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows as an Arrow table; raises as `batches` does, and where there are no rows."""
        found = list(self.batches(columns, files.ROW_GROUP))
        if not found:
            raise StoreError(f"{self.path}: has no rows yet; run the extraction again to continue it")
        return pa.Table.from_batches(found)
