"""CSV files from outside: of a bounded size, and checked row by row before they are used."""

import csv
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vggfeat._util.regular_files import open_regular

MAX_BYTES = 2**26  # of a file
MAX_LINE = 2**20  # characters that are read at once: a file may have no line breaks
MOST = 2**53  # the largest whole number

Columns = Mapping[str, Callable[[str], Any]]  # the name of each column -> what makes a value of its text


def read_csv(file: Path, max_bytes: int = MAX_BYTES) -> Iterator[list[str]]:
    """The rows of a CSV file in UTF-8, without empty ones.

    Raises OSError if the file cannot be read; ValueError, with one line that says what is wrong, if it is too large or
    is not CSV in UTF-8.
    """
    with open_regular(file) as opened, io.TextIOWrapper(opened, "utf-8-sig", newline="") as lines:
        if os.fstat(opened.fileno()).st_size > max_bytes:
            raise ValueError(f"more than {max_bytes:,} bytes")
        yield from parse_csv(iter(partial(lines.readline, MAX_LINE), ""))


def parse_csv(lines: Iterable[str]) -> Iterator[list[str]]:
    """The rows of CSV text, as `read_csv`. Raises ValueError."""
    reader = csv.reader(lines)
    try:
        yield from (row for row in reader if row)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None


def read_table(
    file: Path, columns: Columns, max_bytes: int = MAX_BYTES, optional: Columns = MappingProxyType({})
) -> Iterator[dict[str, Any]]:
    """The rows of a CSV file that begins with the names of its columns. Columns that are not wanted are left out.

    optional : columns that may be missing, or have no text in some rows; their value is None then.

    Raises as `read_csv`; ValueError also if a column is missing, or a value is not what its column must have.
    """
    rows = read_csv(file, max_bytes)
    names = next(rows, list(columns))
    if not columns.keys() <= set(names):
        raise ValueError(f"its columns are not {','.join(columns)}")
    if twice := [name for name in (*columns, *optional) if names.count(name) > 1]:
        raise ValueError(f"it has the column {twice[0]} twice")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} values for {len(names)} columns")
        texts = dict(zip(names, row, strict=True))
        try:
            known = {name: value_of(texts[name]) for name, value_of in columns.items()}
            more = {name: value_of(text) if (text := texts.get(name)) else None for name, value_of in optional.items()}
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from None
        yield known | more


def whole(text: str) -> int:
    """A whole number, 0 or more. Raises ValueError."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= MOST):
        raise ValueError(f"{text[:50]!r} is not a whole number")
    return int(text)


def finite(text: str) -> float:
    """A finite number. Raises ValueError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text[:50]!r} is not a finite number")
    return value


def per_cent(text: str) -> float:
    """A finite number in 0..100. Raises ValueError."""
    value = finite(text)
    if not 0 <= value <= 100:
        raise ValueError(f"{text[:50]!r} is not in 0..100 per cent")
    return value
