"""The files in a store's folder: their names, and how each is read and written."""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vggfeat._util.files import replacing
from vggfeat._util.printable import hidden
from vggfeat.errors import StoreError
from vggfeat.store.identity import COLUMNS

FORMAT = "vggfeat-store/1"
DTYPES = {"float32": pa.float32(), "float16": pa.float16()}
# The values of these keys if a fingerprint lacks them.
ABSENT = {"exif": True, "allow_truncated": False, "lineage": "known"}
BATCH = 256  # rows that are read at once: 12 MB of three scales of fc7
ROW_GROUP = 1024

_PART = re.compile(r"part-(\d+)(?:-(\d+))?\.parquet")
_TYPES = {"path": pa.string(), "label": pa.string(), "width": pa.int32(), "height": pa.int32(), **COLUMNS}
_REASON = 500  # characters of a reason that are kept; some libraries give whole pages as theirs


@contextmanager
def writing(file: Path, owner: str = "") -> Iterator[Path]:
    """A temporary path that replaces `file` at the end, as `replacing` does. Raises StoreError."""
    try:
        with replacing(file, owner) as temporary:
            yield temporary
    except OSError as error:
        raise StoreError(
            f"{file}: cannot be written ({error.strerror}); "
            "what was written before is kept, run the same command again to continue"
        ) from error


def parts(store: Path) -> list[Path]:
    """The parts in the order of their rows: by number, then by the second number of those with the same first one."""
    found = ((_PART.fullmatch(file.name), file) for file in store.glob("part-*.parquet"))
    numbered = ((int(match[1]), int(match[2] or 1), file) for match, file in found if match)
    return [file for *_, file in sorted(numbered)]


def part_name(store: Path, number: int) -> str:
    """A free name: part-00007.parquet; if that exists, part-00007-2.parquet."""
    stem = name = f"part-{number:05d}"
    again = 1
    while (store / f"{name}.parquet").exists():
        again += 1
        name = f"{stem}-{again}"
    return f"{name}.parquet"


def next_number(store: Path) -> int:
    """One more than the number of the last part."""
    found = parts(store)
    return 1 + number_of(found[-1]) if found else 0


def number_of(part: Path) -> int:
    """7 for part-00007.parquet and part-00007-2.parquet."""
    return int(part.stem.split("-")[1])


def write_part(table: pa.Table, part: Path, owner: str = "") -> None:
    """Raises StoreError."""
    with writing(part, owner) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            use_dictionary=["path", "label"],
            row_group_size=ROW_GROUP,
            write_page_checksum=True,
        )


def read_part(part: Path, columns: Sequence[str] | None = None, size: int = BATCH) -> Iterator[pa.RecordBatch]:
    """The rows of a part, at most `size` at once. Raises StoreError if it is damaged or lacks a column."""
    with _undamaged(part), pq.ParquetFile(part, page_checksum_verification=True) as file:
        rows = 0
        stored = file.schema_arrow.names
        for column in columns or ():  # Arrow would leave it out
            if column not in stored and column not in COLUMNS:
                raise StoreError(f"{part}: has no column {column}; delete the store and extract it again")
        wanted = columns or [*stored[:4], *COLUMNS, *(name for name in stored[4:] if name not in COLUMNS)]
        for batch in file.iter_batches(size, columns=columns):
            _check_types(batch.schema)
            rows += batch.num_rows
            yield _with_identities(batch, wanted)
        if rows != file.metadata.num_rows:  # the checksums protect the pages, not the list of the pages
            raise ValueError(f"has {rows} rows, not {file.metadata.num_rows}")


def _with_identities(batch: pa.RecordBatch, wanted: Sequence[str]) -> pa.RecordBatch:
    """The wanted columns. size, changed_ns and sha256 are null if an earlier version wrote the part."""
    there = batch.schema.names
    arrays = [batch.column(c) if c in there else pa.nulls(batch.num_rows, COLUMNS[c]) for c in wanted]
    return pa.RecordBatch.from_arrays(arrays, list(wanted))


def part_rows(part: Path) -> int:
    """Raises StoreError."""
    with _undamaged(part):
        return int(pq.read_metadata(part).num_rows)


def part_schema(part: Path) -> pa.Schema:
    """Raises StoreError."""
    with _undamaged(part):
        return pq.read_schema(part)


def _check_types(schema: pa.Schema) -> None:
    for field in schema:
        right = field.type == _TYPES.get(field.name, field.type)
        if re.fullmatch(r"q\d+", field.name):
            right = pa.types.is_fixed_size_list(field.type) and field.type.value_type in DTYPES.values()
        if not right:
            raise ValueError(f"its column {field.name} is of type {field.type}")


@contextmanager
def _undamaged(part: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StoreError(f"{part}: not found; read the store again when no other process writes to it") from error
    except (OSError, pa.ArrowException, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StoreError(
            f"{part}: is damaged ({reason}); delete it and run the extraction again, which describes its images again"
        ) from error


def read_meta(store: Path) -> dict[str, Any]:
    """Read meta.json. Raises StoreError if it is missing, or does not belong to a store."""
    file = store / "meta.json"
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        what = "is no descriptor store, for it has no meta.json" if store.exists() else "no such store"
        raise StoreError(f"{store}: {what}; make one with vggfeat extract, or name another folder") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{file}: cannot be read ({error}); delete the store and extract it again") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise StoreError(f"{store}: is not a store of the format {FORMAT}; read it with another version of vggfeat")
    fingerprint = meta.get("fingerprint")
    if not isinstance(fingerprint, dict) or not isinstance(fingerprint.get("scales"), list):
        raise StoreError(f"{file}: has no fingerprint; delete the store and extract it again")
    return meta


def write_meta(store: Path, meta: Mapping[str, Any], owner: str = "") -> None:
    """Raises StoreError."""
    with writing(store / "meta.json", owner) as temporary:
        temporary.write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def check_fingerprint(store: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise StoreError for the first key whose values differ."""
    for key in sorted(stored.keys() | wanted.keys()):
        if stored.get(key) != wanted.get(key):
            made, asked = (values.get(key, ABSENT.get(key)) for values in (stored, wanted))
            raise StoreError(
                f"{store}: was made with {key} {made!r}, not {asked!r}; give the same options or name another store"
            )


def failure_lists(store: Path) -> list[Path]:
    """failures.csv, which need not exist, then the lists of processes that write together: failures-0of4.csv."""
    return [store / "failures.csv", *sorted(store.glob("failures-*of*.csv"))]


def read_failures(store: Path) -> dict[str, str]:
    """The failures of all lists, name -> reason. Raises StoreError if a list is damaged."""
    failures: dict[str, str] = {}
    # failures.csv is read last: other lists are deleted after their lines were added to it, so no line is missed.
    for file in reversed(failure_lists(store)):
        try:
            with file.open(newline="", encoding="utf-8") as lines:
                failures = {row["path"]: row["reason"] or "" for row in csv.DictReader(lines)} | failures
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise StoreError(f"{file}: is damaged ({error}); delete it, failed images are tried again") from error
    return failures


def write_failures(file: Path, failures: Mapping[str, str], owner: str = "") -> None:
    """Write a list of failures, sorted by name. Raises StoreError."""
    with (
        writing(file, owner) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as lines,
    ):
        rows = csv.writer(lines)
        rows.writerow(["path", "reason"])
        rows.writerows((path, hidden(reason)[:_REASON]) for path, reason in sorted(failures.items()))
