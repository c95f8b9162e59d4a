"""Read columns of text from a Parquet file in bounded memory.

A few bytes of a file may stand for gigabytes: a compressed page, a long text of a dictionary that each row names, a
prefix that each row repeats. pyarrow has no limits for these, so the headers of the pages are read first.
"""

import io
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vggfeat.store.parts import MAX_FOOTER, check_footer_size

MAX_CELL = 2**17  # bytes of one text, as in Python's csv
MAX_PAGE = 2**27  # bytes of a page without compression; writers make pages of 1 MB
MAX_HEADER = 2**16  # bytes of the header of a page
MAX_NAMES = 2**17  # columns, or groups of rows
MAX_ROWS = 20  # for each byte of the file; equal rows take no space
ROWS = 1024  # how many are read at once
DELTA_BYTE_ARRAY = 7  # the encoding in which a text begins with a part of the one before it

Columns = list[list[str | None]]


def opened(file: IO[bytes]) -> pq.ParquetFile:
    """Read the footer. Raises pa.ArrowException, or ValueError if it is too long."""
    check_footer_size(file)
    file.seek(0)
    limits = {"thrift_string_size_limit": MAX_FOOTER, "thrift_container_size_limit": MAX_NAMES}
    return pq.ParquetFile(file, pre_buffer=False, buffer_size=2**20, **limits)


def texts(file: IO[bytes], table: pq.ParquetFile, columns: Sequence[str]) -> Iterator[Columns]:
    """The values of columns, some rows at a time. Raises pa.ArrowException, or ValueError if there are too many."""
    size, rows = file.seek(0, io.SEEK_END), 0
    for column in columns:
        if pa.types.is_nested(kind := table.schema_arrow.field(column).type):
            raise ValueError(f"the column {column} holds {kind}, not text")
    for group in range(table.num_row_groups):
        at_once = _check(file, table.metadata.row_group(group), group, columns)
        for batch in table.iter_batches(at_once, row_groups=[group], columns=columns):
            if (rows := rows + len(batch)) > MAX_ROWS * size:
                raise ValueError(f"it has more than {MAX_ROWS:,} rows for each of its bytes")
            yield [_texts(batch.column(column)) for column in columns]


def _texts(values: pa.Array) -> list[str | None]:
    text = values.cast(pa.string())
    _check_cells(text)
    found: list[str | None] = text.to_pylist()
    return found


def _check_cells(text: pa.Array) -> None:
    if (pc.max(pc.binary_length(text)).as_py() or 0) > MAX_CELL:
        raise ValueError(f"a cell has more than {MAX_CELL:,} bytes")


def _check(file: IO[bytes], group: Any, number: int, columns: Sequence[str]) -> int:
    """How many rows of a group may be read at once. Raises ValueError for pages or texts that are too long."""
    at_once = ROWS
    for place in range(group.num_columns):
        chunk = group.column(place)
        if chunk.path_in_schema not in columns:
            continue
        for page in _pages(file, chunk):
            size, header = page[2], page.get(5) or page.get(7) or page.get(8) or {}
            if max(size, page[3]) > min(MAX_PAGE, MAX_CELL * (1 + header.get(1, 0))) or min(size, page[3]) < 0:
                raise ValueError(f"a page of the column {chunk.path_in_schema} has {size:,} bytes")
            if page.get(7) and size > MAX_CELL:
                _check_dictionary(file, number, chunk.path_in_schema)
            if DELTA_BYTE_ARRAY in (header.get(2), header.get(4)):
                at_once = min(at_once, max(1, MAX_PAGE // size))
    return at_once


def _check_dictionary(file: IO[bytes], group: int, column: str) -> None:
    with pq.ParquetFile(file, read_dictionary=[column], pre_buffer=False, buffer_size=2**20) as table:
        for batch in table.iter_batches(1, row_groups=[group], columns=[column]):
            if isinstance(values := batch.column(column), pa.DictionaryArray):
                _check_cells(values.dictionary)
            return


def _pages(file: IO[bytes], chunk: Any) -> Iterator[dict[int, Any]]:
    """The headers of the pages of a column in a group of rows.

    The fields of Parquet's PageHeader by their numbers. 2 and 3: bytes without and with compression. 5, 7 and 8: the
    header of a data page, a dictionary, and a data page of version 2, in which 1 is the number of values.
    """
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < at:
        at = chunk.dictionary_page_offset
    end = at + chunk.total_compressed_size
    while at < end:
        file.seek(at)
        header = io.BytesIO(file.read(MAX_HEADER))
        page = _struct(header)
        yield page
        at += header.tell() + page[3]


def _struct(data: io.BytesIO) -> dict[int, Any]:
    """The fields of a structure in Thrift's compact protocol, by their numbers. Raises ValueError."""
    fields, number = dict[int, Any](), 0
    while head := _byte(data):
        number = number + (head >> 4) if head >> 4 else _whole(data)
        fields[number] = _value(data, head & 15)
    return fields


def _value(data: io.BytesIO, kind: int) -> Any:
    match kind:
        case 1 | 2:
            return kind == 1
        case 3:
            return _byte(data)
        case 4 | 5 | 6:
            return _whole(data)
        case 7:
            return data.read(8)
        case 8:
            return data.read(_unsigned(data))
        case 12:
            return _struct(data)
    raise ValueError("the header of a page is damaged")


def _byte(data: io.BytesIO) -> int:
    if not (byte := data.read(1)):
        raise ValueError("the header of a page is damaged")
    return byte[0]


def _unsigned(data: io.BytesIO) -> int:
    number, shift = 0, 0
    while (byte := _byte(data)) & 128:
        number, shift = number | (byte & 127) << shift, shift + 7
    return number | byte << shift


def _whole(data: io.BytesIO) -> int:
    zigzag = _unsigned(data)
    return zigzag >> 1 ^ -(zigzag & 1)
