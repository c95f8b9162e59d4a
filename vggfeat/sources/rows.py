"""Read the rows of a list of images: .txt, .csv, .parquet."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from vggfeat.errors import DataError

SUFFIXES = (".txt", ".csv", ".parquet")


def is_list(name: str) -> bool:
    """Whether a file's name is that of a list."""
    return name.lower().endswith(SUFFIXES)


def rows(file: IO[bytes], name: str) -> Iterator[tuple[str, str | None]]:
    """(path, label) of each row of an open list; the suffix of its name decides the format. Raises DataError."""
    try:
        if name.lower().endswith(".parquet"):
            yield from _parquet(file, name)
        elif name.lower().endswith(".csv"):
            yield from _csv(_lines(file), name)
        else:
            yield from ((line, None) for raw in _lines(file) if (line := raw.rstrip("\r\n")).strip())
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: is not UTF-8 text; save it as UTF-8") from error
    except (csv.Error, pa.ArrowException, KeyError) as error:  # KeyError: two columns of the same name
        raise DataError(f"{name}: is damaged ({error})") from error


def count(file: Path) -> int:
    """About how many rows a list has."""
    if file.name.lower().endswith(".parquet"):
        return int(pq.read_metadata(file).num_rows)
    with file.open("rb") as lines:
        return sum(1 for line in lines if line.strip()) - file.name.lower().endswith(".csv")


def _lines(file: IO[bytes]) -> Iterator[str]:
    for n, line in enumerate(file):
        yield line.decode("utf-8-sig" if n == 0 else "utf-8")


def _csv(lines: Iterable[str], name: str) -> Iterator[tuple[str, str | None]]:
    table = csv.DictReader(lines)
    _need_path(table.fieldnames or (), name)
    for row in table:
        yield row["path"] or "", row.get("label") or None


def _parquet(file: Any, name: str) -> Iterator[tuple[str, str | None]]:
    with pq.ParquetFile(file) as table:
        _need_path(table.schema_arrow.names, name)
        columns = [column for column in ("path", "label") if column in table.schema_arrow.names]
        for batch in table.iter_batches(1024, columns=columns):
            paths, *labels = (batch.column(column).cast(pa.string()).to_pylist() for column in columns)
            for path, label in zip(paths, labels[0] if labels else [None] * len(paths), strict=True):
                yield path or "", label or None


def _need_path(columns: Iterable[str], name: str) -> None:
    if "path" not in columns:
        raise DataError(
            f"{name}: has no column 'path'; name the column of the image paths so (in a .csv, in the first line)"
        )
