"""What lies in a store's folder: the names of its files, and how each is read and written."""

import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vggfeat.errors import StoreError

FORMAT = "vggfeat-store/1"
DTYPES = {"float32": pa.float32(), "float16": pa.float16()}
BATCH = 256  # rows that are read at once: 12 MB of three scales of fc7
ROW_GROUP = 1024

_PART = re.compile(r"part-(\d+)(?:-(\d+))?\.parquet")
_REASON = 500  # characters of a reason that are kept; some libraries put whole pages into theirs


def parts(store: Path) -> list[Path]:
    """The parts in the order of their rows: by number, and by the second number where two share the first."""
    found = ((_PART.fullmatch(file.name), file) for file in store.glob("part-*.parquet"))
    return [file for _, file in sorted((_numbers(match), file) for match, file in found if match)]


def _numbers(match: re.Match[str]) -> tuple[int, int]:
    return int(match[1]), int(match[2] or 1)


def part_name(store: Path, number: int) -> str:
    """A name that is free: part-00007.parquet; if there is one, part-00007-2.parquet."""
    name, again = f"part-{number:05d}", 1
    while (store / f"{name}{f'-{again}' if again > 1 else ''}.parquet").exists():
        again += 1
    return f"{name}{f'-{again}' if again > 1 else ''}.parquet"


def next_number(store: Path) -> int:
    """One more than that of the last part."""
    found = parts(store)
    return 1 + number_of(found[-1]) if found else 0


def number_of(part: Path) -> int:
    """7 for part-00007.parquet and part-00007-2.parquet."""
    return int(part.stem.split("-")[1])


def write_part(table: pa.Table, file: Path) -> None:
    pq.write_table(
        table,
        file,
        compression="zstd",
        use_dictionary=["path", "label"],
        row_group_size=ROW_GROUP,
        write_page_checksum=True,
    )


def part_batches(part: Path, columns: Sequence[str] | None = None, size: int = BATCH) -> Iterator[pa.RecordBatch]:
    """The rows of a part. Raises StoreError where the part is damaged or lacks a column."""
    with _undamaged(part), pq.ParquetFile(part, page_checksum_verification=True) as file:
        rows = 0
        for column in columns or ():  # Arrow would leave it out
            if column not in file.schema_arrow.names:
                raise StoreError(f"{part}: lacks the column {column}; extract the store anew")
        for batch in file.iter_batches(size, columns=columns):
            _check_types(batch.schema)
            rows += batch.num_rows
            yield batch
        if rows != file.metadata.num_rows:  # the checksums cover the pages, not the list of them
            raise ValueError(f"has {rows} rows, not {file.metadata.num_rows}")


def part_rows(part: Path) -> int:
    with _undamaged(part):
        return int(pq.read_metadata(part).num_rows)


def part_schema(part: Path) -> pa.Schema:
    with _undamaged(part):
        return pq.read_schema(part)


def _check_types(schema: pa.Schema) -> None:
    for field in schema:
        known = {"path": pa.string(), "label": pa.string(), "width": pa.int32(), "height": pa.int32()}
        right = field.type == known.get(field.name, field.type)
        if re.fullmatch(r"q\d+", field.name):
            right = pa.types.is_fixed_size_list(field.type) and field.type.value_type in DTYPES.values()
        if not right:
            raise ValueError(f"its column {field.name} is of type {field.type}")


@contextmanager
def _undamaged(part: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StoreError(f"{part}: is gone; read the store again when nobody writes to it") from error
    except (OSError, pa.ArrowException, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StoreError(
            f"{part}: is damaged ({reason}); delete it and run the extraction again, which describes its images anew"
        ) from error


def read_meta(store: Path) -> dict[str, Any]:
    """meta.json. Raises StoreError where it is missing or not ours."""
    try:
        meta = json.loads((store / "meta.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(f"{store}: is no descriptor store (it has no meta.json)") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{store / 'meta.json'}: can't be read ({error})") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise StoreError(f"{store}: is not a store of the format {FORMAT} that this version reads")
    fingerprint = meta.get("fingerprint")
    if not isinstance(fingerprint, dict) or not isinstance(fingerprint.get("scales"), list):
        raise StoreError(f"{store / 'meta.json'}: has no fingerprint; extract the store anew")
    return meta


def check_fingerprint(store: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key in sorted(stored.keys() | wanted.keys()):
        if stored.get(key) != wanted.get(key):
            raise StoreError(
                f"{store}: was made with {key} {stored.get(key)!r}, not {wanted.get(key)!r}; "
                "give the same options or name another store"
            )


def failure_lists(store: Path) -> list[Path]:
    """failures.csv, whether there or not, and those of single processes while several write: failures-0of4.csv."""
    return [store / "failures.csv", *sorted(store.glob("failures-*of*.csv"))]


def read_failures(store: Path) -> dict[str, str]:
    """name -> reason, of all lists. Raises StoreError where one is damaged."""
    failures: dict[str, str] = {}
    # failures.csv comes last: who puts the others into it deletes them afterwards, so that no line is missed.
    for file in reversed(failure_lists(store)):
        try:
            with file.open(newline="", encoding="utf-8") as lines:
                failures = {row["path"]: row["reason"] or "" for row in csv.DictReader(lines)} | failures
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise StoreError(f"{file}: is damaged ({error}); delete it, failed images are tried again") from error
    return failures


def write_failures(file: Path, failures: dict[str, str]) -> None:
    """The same as a file, sorted by name."""
    with file.open("w", newline="", encoding="utf-8", errors="backslashreplace") as lines:
        rows = csv.writer(lines)
        rows.writerow(["path", "reason"])
        rows.writerows((path, reason[:_REASON]) for path, reason in sorted(failures.items()))


def write_whole(file: Path, write: Callable[[Path], Any], owner: str = "") -> None:
    """A file that is there whole or not at all: written beside, synced, renamed. Raises StoreError.

    owner : tells apart the temporary files of processes that write at once.
    """
    temporary = file.with_name(f"{file.name}{owner}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.rename(file)
        folder = os.open(file.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        reason = os.strerror(error.errno) if error.errno else error  # Arrow's own text has more words
        raise StoreError(
            f"{file}: can't be written ({reason}); "
            "what was written before is kept, run the same command again to continue"
        ) from error
