"""The parts of a store: how they are named, written, and checked while they are read."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vggfeat._util.json_files import parse_json
from vggfeat._util.printable import reason_of
from vggfeat._util.regular_files import open_regular
from vggfeat.errors import StoreError
from vggfeat.store.files import difference, writing
from vggfeat.store.identity import COLUMNS

DTYPES = {"float32": pa.float32(), "float16": pa.float16()}
BATCH = 256  # rows that are read at once: 12 MB of three scales of fc7
ROW_GROUP = 1024
MAX_FOOTER = 2**26  # bytes
MAX_GROUPS = 2**16  # row groups, and entries of any list in a footer
MAX_LENGTH = 2**17  # values of a vector
MAX_LIST = 2**20  # values of a list
MAX_TEXT = 2**14  # characters of a name or label
SLACK = 2**20  # bytes that a row group may need besides its values

UNSIGNED = "parts written by an earlier version, which do not say by which settings they were made"

_FINGERPRINT = b"vggfeat.fingerprint"
_FILE = re.compile(r"part-(\d+)(?:-(\d+))?\.parquet")
_FIRST = {"path": pa.string(), "label": pa.string(), "width": pa.int32(), "height": pa.int32()}
_TYPES = _FIRST | COLUMNS
_LEAST = {"width": 1, "height": 1, "size": 0}
_MAY_LACK = {"label", *COLUMNS}  # columns whose values may be null
_SHA256 = "^[0-9a-f]{64}$"
_REPAIR = "delete it and run the extraction again, which describes its images again"


def holds_lists(fingerprint: Mapping[str, Any]) -> bool:
    """Whether the columns q256, ... hold lists of any length, of rows with the numbers that `row` names."""
    return "row" in fingerprint


def listed(store: Path) -> list[Path]:
    """The parts in the order of their rows: by number, then by the second number of those with the same first one."""
    found = ((_FILE.fullmatch(file.name), file) for file in store.glob("part-*.parquet"))
    numbered = ((int(match[1]), int(match[2] or 1), file) for match, file in found if match)
    return [file for *_, file in sorted(numbered)]


def free_name(store: Path, number: int) -> str:
    """A free name: part-00007.parquet; if that exists, part-00007-2.parquet."""
    stem = name = f"part-{number:05d}"
    again = 1
    while (store / f"{name}.parquet").exists():
        again += 1
        name = f"{stem}-{again}"
    return f"{name}.parquet"


def next_number(store: Path) -> int:
    """One more than the number of the last part."""
    found = listed(store)
    return 1 + number_of(found[-1]) if found else 0


def number_of(part: Path) -> int:
    """7 for part-00007.parquet and part-00007-2.parquet."""
    return int(part.stem.split("-")[1])


def signed(table: pa.Table, fingerprint: Mapping[str, Any]) -> pa.Table:
    """The table of a part that says by which settings it was made."""
    return table.replace_schema_metadata({_FINGERPRINT: json.dumps(fingerprint)})


def write(table: pa.Table, part: Path, owner: str = "") -> None:
    """Raises StoreError."""
    with writing(part, owner) as temporary, temporary.open("wb") as file:  # Arrow itself takes only names in UTF-8
        pq.write_table(
            table,
            file,
            compression="zstd",
            use_dictionary=["path", "label"],
            row_group_size=ROW_GROUP,
            write_page_checksum=True,
        )


@contextmanager
def opened(part: Path, fingerprint: Mapping[str, Any]) -> Iterator["Part"]:
    """Open a part of the store with this fingerprint. Raises StoreError if it is damaged, or of another store."""
    with ExitStack() as stack:
        with _undamaged(part):
            with open_regular(part) as file:
                check_footer_size(file)
            one = Part(part, stack.enter_context(pa.OSFile(os.fsencode(part))), fingerprint)  # any name, not only UTF-8
        yield one


class Footer(NamedTuple):
    """What a part says of itself.

    rows : how many. length : of the vectors; 0 for lists, of any length. signed : whether the part says by which
    settings it was made; those of earlier versions do not.
    """

    rows: int
    length: int
    signed: bool


class Part:
    """An open part. Its footer is checked before data are read."""

    def __init__(self, path: Path, file: pa.NativeFile, fingerprint: Mapping[str, Any]) -> None:
        self.path = path
        self._file = pq.ParquetFile(
            file,
            page_checksum_verification=True,
            thrift_string_size_limit=MAX_FOOTER,
            thrift_container_size_limit=MAX_GROUPS,
        )
        vectors, self._lists = [f"q{q}" for q in fingerprint["scales"]], holds_lists(fingerprint)
        self._columns = [*_FIRST, *COLUMNS, *vectors]
        schema = self._file.schema_arrow
        self._fields = dict(zip(schema.names, schema.types, strict=True))
        if len(self._fields) < len(schema):
            raise ValueError("has a column twice")
        self._said = (self._file.metadata.metadata or {}).get(_FINGERPRINT)
        self._check_fingerprint(fingerprint)
        self._check_columns()
        lengths = {self._fields[column].list_size for column in vectors} if not self._lists else {0}
        if len(lengths) > 1 or not (self._lists or 1 <= max(lengths) <= MAX_LENGTH):
            raise ValueError(f"has vectors of {' and '.join(map(str, sorted(lengths)))} values")
        self.footer = Footer(self._file.metadata.num_rows, lengths.pop(), self._said is not None)
        self._check_row_groups()

    def batches(self, columns: Sequence[str] | None = None, size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """The rows, at most `size` at once; size, changed_ns and sha256 are null if an earlier version wrote the part.

        Raises StoreError if they are damaged, or a column does not exist.
        """
        wanted = columns or self._columns
        for column in wanted:
            if column not in self._columns:
                raise StoreError(f"{self.path}: has no column {column}; take one of {', '.join(self._columns)}")
        rows = 0
        with _undamaged(self.path):
            for batch in self._file.iter_batches(size, columns=[c for c in wanted if c in self._fields]):
                _check_values(batch)
                rows += batch.num_rows
                yield self._complete(batch, wanted)
            if rows != self.footer.rows:  # the checksums protect the pages, not the list of the pages
                raise ValueError(f"has {rows} rows, not {self.footer.rows}")

    def table(self) -> pa.Table:
        """All rows and columns, with the fingerprint if the part has one."""
        table = pa.Table.from_batches(list(self.batches()))
        return table.replace_schema_metadata(None if self._said is None else {_FINGERPRINT: self._said})

    def _check_fingerprint(self, fingerprint: Mapping[str, Any]) -> None:
        said = fingerprint if self._said is None else parse_json(self._said, dict[str, Any])
        if found := difference(said, fingerprint):
            key, made, asked = found
            raise StoreError(f"{self.path}: was made with {key} {made}, but its store with {asked}; move it elsewhere")

    def _check_columns(self) -> None:
        for column in self._columns:
            kind, right = self._fields.get(column), _TYPES.get(column)
            if kind is None and column not in COLUMNS:
                raise ValueError(f"has no column {column}")
            form = pa.ListType if self._lists else pa.FixedSizeListType
            vectors = right is None and isinstance(kind, form) and kind.value_type in DTYPES.values()
            if not vectors and kind not in (right, None):
                raise ValueError(f"its column {column} is of type {kind}")

    def _check_row_groups(self) -> None:
        """What the footer says of the bytes of a row group must fit its rows, before memory is taken for them."""
        about, total = self._file.metadata, 0  # not its columns: Arrow ends the process if one is damaged
        scales = len(self._columns) - len(_TYPES)
        most = 3 * 4 * MAX_TEXT + 2 * 4 * (MAX_LIST if self._lists else self.footer.length) * scales
        for i in range(about.num_row_groups):
            group = about.row_group(i)
            rows, size = group.num_rows, group.total_byte_size
            if rows < 0 or not 0 <= size <= SLACK + most * rows:
                raise ValueError(f"has {rows} rows in {size} bytes")
            total += rows
        if total != self.footer.rows:
            raise ValueError(f"has {self.footer.rows} rows in groups of {total}")

    def _complete(self, batch: pa.RecordBatch, wanted: Sequence[str]) -> pa.RecordBatch:
        there = batch.schema.names
        arrays = [batch.column(c) if c in there else pa.nulls(batch.num_rows, COLUMNS[c]) for c in wanted]
        return pa.RecordBatch.from_arrays(arrays, list(wanted))


def check_footer_size(file: IO[bytes]) -> None:
    """Raise ValueError if the footer of a Parquet file is too long: it is read at once."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 8))
    size = int.from_bytes(file.read(4), "little")
    if size > MAX_FOOTER:
        raise ValueError(f"has a footer of {size} bytes")


def _check_values(batch: pa.RecordBatch) -> None:
    """Raises ValueError for what a store never holds; Arrow checks neither texts nor lengths while it reads."""
    batch.validate(full=True)
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        if values.null_count and name not in _MAY_LACK:
            raise ValueError(f"its column {name} lacks a value")
        if pa.types.is_fixed_size_list(values.type) or pa.types.is_list(values.type):
            flat = values.flatten()
            if flat.null_count or pc.all(pc.is_finite(flat)).as_py() is False:  # None for no values
                raise ValueError(f"its column {name} has a value that is not finite")
        elif name in _LEAST and pc.any(pc.less(values, _LEAST[name])).as_py():
            raise ValueError(f"its column {name} has a value below {_LEAST[name]}")
        elif name == "sha256" and pc.all(pc.match_substring_regex(values, _SHA256)).as_py() is False:
            raise ValueError("its column sha256 has a value that is no checksum")


@contextmanager
def _undamaged(part: Path) -> Iterator[None]:
    """Whatever Arrow raises for a file of the wrong content becomes a StoreError that names the part."""
    try:
        yield
    except StoreError:
        raise
    except FileNotFoundError as error:
        raise StoreError(f"{part}: not found; read the store again when no other process writes to it") from error
    except MemoryError as error:
        raise StoreError(f"{part}: is damaged, or needs more memory than is free; free memory, or {_REPAIR}") from error
    except Exception as error:
        reason = reason_of(error)
        if isinstance(error, OSError) and error.errno:
            raise StoreError(f"{part}: cannot be read ({reason}); make it readable, or {_REPAIR}") from error
        raise StoreError(f"{part}: is damaged ({reason}); {_REPAIR}") from error
