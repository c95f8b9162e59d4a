"""Reading a store."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from vggfeat.errors import StoreError
from vggfeat.store import files
from vggfeat.store.parts import BATCH, ROW_GROUP, Footer, holds_lists, listed, opened


class Store:
    """A descriptor store, opened for reading.

    It shows the parts that exist when they are first asked for, even if other processes add parts later.

    Parameters
    ----------
    path : str or path
        The folder.

    Attributes
    ----------
    path : Path
        The folder.
    meta : dict
        The content of meta.json: format, versions, default aggregation and fingerprint.

    Raises
    ------
    StoreError
        If the folder is not a store. Methods and properties raise it if a part is damaged, lacks a column, or changed
        since the store was opened; the message names the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.meta = files.read_meta(self.path)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides the stored values: net, weights, layer, scales, rescaling, ..."""
        return self.meta["fingerprint"]

    @property
    def scales(self) -> tuple[int, ...]:
        """The stored scales Q: smallest image sides in pixels."""
        return tuple(self.fingerprint["scales"])

    @cached_property
    def parts(self) -> list[Path]:
        """The Parquet files, in the order of their rows."""
        return listed(self.path)

    @cached_property
    def sizes(self) -> list[int]:
        """The number of rows of each part."""
        return [footer.rows for footer in self.footers]

    @cached_property
    def footers(self) -> list[Footer]:
        """What the parts say of themselves."""
        found = [self._footer(part) for part in self.parts]
        for part, footer in zip(self.parts, found, strict=True):
            if footer.length != found[0].length:
                raise StoreError(
                    f"{part}: has vectors of {footer.length} values, and {self.parts[0].name} of {found[0].length}; "
                    "delete the wrong part and run the extraction again"
                )
        return found

    @property
    def length(self) -> int:
        """The number of values of a descriptor at one scale. Raises StoreError if the store holds lists of boxes."""
        if holds_lists(self.fingerprint):
            raise StoreError(
                f"{self.path}: holds boxes, not descriptors; read it with `vggfeat localize evaluate --runs`"
            )
        return self.footers[0].length

    def _footer(self, part: Path) -> Footer:
        with opened(part, self.fingerprint) as one:
            return one.footer

    @cached_property
    def paths(self) -> list[str]:
        """The names of all images, in the order of the rows."""
        return self.read(["path"])["path"].to_pylist()

    @property
    def failures(self) -> dict[str, str]:
        """The images that could not be described: name -> reason."""
        return files.read_failures(self.path)

    @property
    def settled(self) -> bool:
        """Whether all of several processes that wrote the store have ended and joined their lists of failures."""
        return not files.failure_lists(self.path)[1:] and not any(self.path.glob(".ended-*of*"))

    def __len__(self) -> int:
        """Number of rows, which is the number of described images."""
        return sum(self.sizes)

    def batches(
        self, columns: Sequence[str] | None = None, size: int = BATCH, part: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read the rows in order, a few at once, so that a store of any length takes little memory.

        Parameters
        ----------
        columns : sequence of str, optional
            Of path, label, width, height, q256, ... Default: all.
        size : int
            Rows of a batch at most.
        part : int, optional
            Index of the only part to read. Default: all parts.

        Yields
        ------
        pyarrow.RecordBatch

        Raises
        ------
        StoreError
            If a part is damaged, lacks a column, or changed since the store was opened.
        """
        for number in range(len(self.parts)) if part is None else [part]:
            file, rows = self.parts[number], 0
            with opened(file, self.fingerprint) as one:
                for batch in one.batches(columns, size):
                    rows += len(batch)
                    yield batch
            if rows != self.sizes[number]:
                raise StoreError(
                    f"{file}: was changed while the store was read; read it again when no other process writes to it"
                )

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read all rows at once.

        Parameters
        ----------
        columns : sequence of str, optional
            Of path, label, width, height, q256, ... Default: all.

        Returns
        -------
        pyarrow.Table

        Raises
        ------
        StoreError
            As `batches`, and if the store has no rows.
        """
        found = list(self.batches(columns, ROW_GROUP))
        if not found:
            raise StoreError(f"{self.path}: has no rows yet; run the extraction again to continue it")
        return pa.Table.from_batches(found)
