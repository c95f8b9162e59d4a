"""Read the rows of a list of images.

.txt             one path per line, as a whole; or as Caffe's lists, a path, a blank and the number of a class
.csv .tsv        the columns `path` and `label`, separated by commas, semicolons or tabs
.parquet         the columns `path` and `label`
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from vggfeat._util.left_out import LeftOut
from vggfeat.errors import DataError
from vggfeat.formats import has_image_suffix
from vggfeat.sources import labels

SEPARATED = (".csv", ".tsv")
SUFFIXES = (".txt", ".parquet", *SEPARATED)
NOT_READ = "columns of the list that are not read (if one has the labels, rename it to label)"
MORE_CELLS = "rows with more cells than the first line; the others are not read (put text with commas in quotes)"
NO_PATH = "rows without a path"

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
            yield from _csv(_lines(file, name), name, left_out)
        else:
            lines = (raw.rstrip("\r\n") for raw in _lines(file, name))
            yield from (_line(line, is_file) for line in lines if line.strip())
    except (csv.Error, pa.ArrowException, KeyError) as error:  # KeyError: two columns of the same name
        raise DataError(f"{name}: is damaged ({error})") from error


def count(file: Path) -> int:
    """About how many rows a list has."""
    if file.name.lower().endswith(".parquet"):
        return int(pq.read_metadata(file).num_rows)
    with file.open("rb") as lines:
        return sum(1 for line in lines if line.strip()) - file.name.lower().endswith(SEPARATED)


def _lines(file: IO[bytes], name: str) -> Iterator[str]:
    for n, line in enumerate(file):
        try:
            text = line.decode("utf-8-sig" if n == 0 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{name}: line {n + 1} is not UTF-8 text; save the list as UTF-8") from error
        yield text


def _line(line: str, is_file: Callable[[str], bool]) -> Row:
    """A name may end in a blank and a number. So a number is a label only if what stands before it is an image."""
    line = line if is_file(line) else line.strip()
    found = re.fullmatch(r"(.*\S)[ \t]+(-?\d+)\s*", line)
    if found and (has_image_suffix(found[1]) or is_file(found[1])) and not is_file(line):
        return found[1], labels.of_text(found[2])
    return line, None


def _csv(lines: Iterator[str], name: str, left_out: LeftOut) -> Iterator[Row]:
    first = next((line for line in lines if line.strip()), "")
    heads = {separator: next(_cells([first], separator), []) for separator in ",;\t"}
    separator = max(heads, key=lambda separator: ("path" in _known(heads[separator]), len(heads[separator])))
    path, label = _columns(heads[separator], name, left_out)
    for row in _cells(lines, separator):
        cells = dict(enumerate(row))  # a row may be too short
        if len(row) > len(heads[separator]):
            left_out.add(MORE_CELLS, cells[path])
        if cells.get(path, "").strip():
            yield cells[path], labels.of_text(cells.get(label, ""))
        elif any(row):
            left_out.add(NO_PATH, separator.join(row))


def _cells(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def _parquet(file: Any, name: str, left_out: LeftOut) -> Iterator[Row]:
    with pq.ParquetFile(file) as table:
        names = table.schema_arrow.names
        columns = [names[place] for place in _columns(names, name, left_out) if place >= 0]
        for batch in table.iter_batches(1024, columns=columns):
            paths, *found = (batch.column(column).cast(pa.string()).to_pylist() for column in columns)
            for path, label in zip(paths, found[0] if found else [None] * len(paths), strict=True):
                yield path or "", labels.of_text(label)


def _columns(names: Sequence[str], name: str, left_out: LeftOut) -> tuple[int, int]:
    """The places of the columns `path` and `label`; -1 if there is no `label`. Raises DataError."""
    known = _known(names)
    if "path" not in known:
        raise DataError(
            f"{name}: has no column 'path', only {', '.join(map(repr, names)) or 'an empty line'}; "
            "rename the column of the image paths to path, and that of the labels to label"
        )
    others = [column for column, text in zip(names, known, strict=True) if text != "path"]
    if others and "label" not in known:
        left_out.add(NOT_READ, others[0], count=len(others))
    return known.index("path"), known.index("label") if "label" in known else -1


def _known(names: Sequence[str]) -> list[str]:
    """Names of columns without blanks around them, in lower case."""
    return [name.strip().lower() for name in names]
