"""Read the rows of a list of images.

.txt             one path per line, as a whole; or as Caffe's lists, a path, a blank and the number of a class
.csv .tsv        the columns `path` and `label`, separated by commas, semicolons or tabs
.parquet         the columns `path` and `label`
"""

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

import pyarrow as pa

from vggfeat._util.left_out import LeftOut
from vggfeat._util.printable import reason_of
from vggfeat._util.regular_files import open_regular
from vggfeat.errors import DataError
from vggfeat.formats import has_image_suffix
from vggfeat.sources import labels, parquet

SEPARATED = (".csv", ".tsv")
SUFFIXES = (".txt", ".parquet", *SEPARATED)
NOT_READ = "columns of the list that are not read (if one has the labels, rename it to label)"
MORE_CELLS = "rows with more cells than the first line; the others are not read (put text with commas in quotes)"
NO_PATH = "rows without a path"

MAX_ROW = 2**20  # bytes of a row; a path has 4,096 at most
MAX_SHOWN = 40  # names of columns in a message, and characters of each

Row = tuple[str, str | None]  # path, label


def is_list(name: str) -> bool:
    """Whether a file's name is that of a list."""
    return name.lower().endswith(SUFFIXES)


def rows(file: IO[bytes], name: str, left_out: LeftOut, is_file: Callable[[str], bool]) -> Iterator[Row]:
    """(path, label) of each row of an open list; the suffix of its name decides the format.

    is_file : whether a path of the list is a file; False if that is not known. Raises DataError.
    """
    try:
        if name.lower().endswith(".parquet"):
            yield from _parquet(file, name, left_out)
        elif name.lower().endswith(SEPARATED):
            yield from _csv(_Lines(file, name), name, left_out)
        else:
            yield from _txt(_Lines(file, name, is_file), is_file)
    except MemoryError as error:
        raise DataError(f"{name}: there is not enough memory to read it; save it as .csv") from error
    except (csv.Error, pa.ArrowException, ValueError, LookupError, ArithmeticError, RecursionError, OSError) as error:
        if getattr(error, "errno", None):  # of the disk; pyarrow says OSError of damaged bytes, too
            raise
        raise DataError(f"{name}: is damaged ({reason_of(error)}); save it again") from error


def count(file: Path) -> int:
    """About how many rows a list has."""
    with open_regular(file) as opened:
        if file.name.lower().endswith(".parquet"):
            return int(parquet.opened(opened).metadata.num_rows)
        lines = iter(partial(opened.readline, MAX_ROW), b"")
        return sum(1 for line in lines if line.strip()) - file.name.lower().endswith(SEPARATED)


class _Lines:
    """The lines of a list as text.

    is_file : a line that is not UTF-8 is taken if it is the name of a file. Raises DataError for a row that is too
    long, or not UTF-8.
    """

    def __init__(self, file: IO[bytes], name: str, is_file: Callable[[str], bool] = lambda _: False) -> None:
        self._file, self._name, self._is_file = file, name, is_file
        self._number, self._row = 0, 0

    def row_ends(self) -> None:
        """Call this after each row, which may have several lines."""
        self._row = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_ROW + 1)
        self._number += 1
        self._row += len(line)
        if not line:
            raise StopIteration
        if self._row > MAX_ROW:
            raise DataError(
                f"{self._name}: is damaged (line {self._number}: a row has over {MAX_ROW:,} bytes); save it again"
            )
        try:
            return line.decode("utf-8-sig" if self._number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            if self._is_file((text := os.fsdecode(line)).rstrip("\r\n")):
                return text
            raise DataError(f"{self._name}: line {self._number} is not UTF-8 text; save the list as UTF-8") from error


def _txt(lines: _Lines, is_file: Callable[[str], bool]) -> Iterator[Row]:
    for line in lines:
        lines.row_ends()
        if line.strip():
            yield _line(line.rstrip("\r\n"), is_file)


def _line(line: str, is_file: Callable[[str], bool]) -> Row:
    """A name may end in a blank and a number. So a number is a label only if what stands before it is an image."""
    line = line if is_file(line) else line.strip()
    found = re.fullmatch(r"(.*\S)[ \t]+(-?\d+)\s*", line)
    if found and (has_image_suffix(found[1]) or is_file(found[1])) and not is_file(line):
        return found[1], labels.of_text(found[2])
    return line, None


def _csv(lines: _Lines, name: str, left_out: LeftOut) -> Iterator[Row]:
    first = next((line for line in lines if line.strip()), "")
    heads = {separator: next(_cells([first], separator), []) for separator in ",;\t"}
    separator = max(heads, key=lambda separator: ("path" in _known(heads[separator]), len(heads[separator])))
    path, label = _columns(heads[separator], name, left_out)
    for row in _cells(lines, separator):
        lines.row_ends()
        cells = dict(enumerate(row))  # a row may be too short
        if len(row) > len(heads[separator]):
            left_out.add(MORE_CELLS, cells[path])
        if cells.get(path, "").strip():
            yield cells[path], labels.of_text(cells.get(label, ""))
        elif any(row):
            left_out.add(NO_PATH, separator.join(row))


def _cells(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def _parquet(file: IO[bytes], name: str, left_out: LeftOut) -> Iterator[Row]:
    with parquet.opened(file) as table:
        names = table.schema_arrow.names
        columns = [names[place] for place in _columns(names, name, left_out) if place >= 0]
        for paths, *found in parquet.texts(file, table, columns):
            for path, label in zip(paths, found[0] if found else [None] * len(paths), strict=True):
                if path:
                    yield path, labels.of_text(label)
                else:
                    left_out.add(NO_PATH, label or "")


def _columns(names: Sequence[str], name: str, left_out: LeftOut) -> tuple[int, int]:
    """The places of the columns `path` and `label`; -1 if there is no `label`. Raises DataError."""
    known = _known(names)
    if "path" not in known:
        raise DataError(
            f"{name}: has no column 'path', only {_few(names) or 'an empty line'}; "
            "rename the column of the image paths to path, and that of the labels to label"
        )
    others = [column for column, text in zip(names, known, strict=True) if text != "path"]
    if others and "label" not in known:
        left_out.add(NOT_READ, others[0], count=len(others))
    return known.index("path"), known.index("label") if "label" in known else -1


def _few(names: Sequence[str]) -> str:
    shown = [repr(name[:MAX_SHOWN]) for name in names[:MAX_SHOWN]]
    return ", ".join([*shown, "..."] if len(names) > MAX_SHOWN else shown)


def _known(names: Sequence[str]) -> list[str]:
    """Names of columns without blanks around them, in lower case."""
    return [name.strip().lower() for name in names]
