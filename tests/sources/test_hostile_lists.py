"""Lists, patterns and Parquet files that stand for more than there is: one line, in bounded memory."""

import random
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.kit.image_sources import listed, names, put
from vggfeat import sources
from vggfeat.errors import DataError
from vggfeat.sources import LeftOut

PEAK = """
import resource, sys
from vggfeat import sources, errors
import vggfeat.sources.parquet
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 2**31, held + 2**31))
before = peak()
for source in sys.argv[1:]:
    found = 0
    try:
        for item in sources.items(source): found += 1
        said = 'ended'
    except errors.DataError as error: said = str(error)
    print(found, peak() - before, said)
"""


def peaks_of(*files) -> list[tuple[int, int, str]]:
    """Items, MiB of memory beyond those of the imports so far, and what ended each list, in one child process."""
    command = [sys.executable, "-c", PEAK, *map(str, files)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    lines = [line.split(" ", 2) for line in ran.stdout.splitlines()]
    return [(int(found), int(more), said) for found, more, said in lines]


def parquet(path, values, **options):
    pq.write_table(pa.table({"path": values}), path, **{"compression": "zstd", **options})
    return path


def one_text(length: int, rows: int) -> pa.Array:
    """Rows that all point to one text."""
    return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array(["x" * length]))


def test_a_line_without_end_is_not_read_to_its_end(tmp_path):
    files = [tmp_path / name for name in ("l.txt", "l.csv", "l.tsv")]
    for file in files:
        with file.open("wb") as opened:
            opened.write(b"path\nlabel.jpg\n")
            opened.truncate(2**32)  # 4 GiB of zeros, of which the disk has none
    for found, more, said in peaks_of(*files):
        assert "is damaged (line" in said
        assert more < 60
        assert found <= 2


def test_a_row_of_lines_without_end_is_not_read_to_its_end(tmp_path):
    """Each line break is in quotes, and each cell is short."""
    with (tmp_path / "l.csv").open("wb") as file:
        file.write(b"path,x\na.jpg,b\n" + b'"\n",' * 2**20)
    with pytest.raises(DataError, match=r"l\.csv: is damaged \(line \d+: a row has over 1,048,576 bytes\); save"):
        names(tmp_path / "l.csv")


def test_a_header_of_many_columns_is_said_in_short(tmp_path):
    with pytest.raises(DataError, match=r"has no column 'path', only 'n', 'n'.*, \.\.\.; rename") as error:
        names(put(tmp_path / "l.csv", b"n," * 10_000 + b"\n"))
    assert len(str(error.value)) < 2000 + len(str(tmp_path))


def long_texts() -> pa.Array:
    return pa.array(["x" * 10**6] * 300)


HUGE = {
    "a dictionary of one long text": (lambda: one_text(50 * 2**20, 3000), {"dictionary_pagesize_limit": 2**30}),
    "a long text that rows share": (lambda: one_text(10**6, 3000), {"dictionary_pagesize_limit": 2**30}),
    "long texts": (long_texts, {"use_dictionary": False, "data_page_size": 2**30}),
    "texts that begin with the one before them": (
        long_texts,
        {"use_dictionary": False, "column_encoding": {"path": "DELTA_BYTE_ARRAY"}},
    ),
    "version 2": (long_texts, {"use_dictionary": False, "data_page_version": "2.0"}),
}


def test_a_parquet_file_of_few_bytes_takes_little_memory(tmp_path):
    files = [parquet(tmp_path / f"{n}.parquet", make(), **options) for n, (make, options) in enumerate(HUGE.values())]
    assert all(file.stat().st_size < 100_000 for file in files)
    for (found, more, said), case in zip(peaks_of(*files), HUGE, strict=True):
        assert found == 0, case
        assert ".parquet: is damaged (" in said, case
        assert more < 700, case


def test_the_page_sizes_of_parquet_are_read_from_the_pages(tmp_path):
    """What the footer says of a column is what the writer of the file likes to say."""
    from vggfeat.sources.parquet import _pages, opened

    values = pa.array([f"{i:05}.jpg" for i in range(5_000)])
    for options in ({}, {"use_dictionary": False}, {"data_page_version": "2.0"}, {"data_page_size": 1000}):
        file = parquet(tmp_path / "l.parquet", values, row_group_size=1700, compression="snappy", **options)
        with file.open("rb") as opened_file, opened(opened_file) as table:
            for number in range(table.num_row_groups):
                chunk = table.metadata.row_group(number).column(0)
                pages = list(_pages(opened_file, chunk))
                data = [page for page in pages if 5 in page or 8 in page]
                assert sum((page.get(5) or page[8])[1] for page in data) == chunk.num_values
                assert (7 in pages[0]) == chunk.has_dictionary_page
                assert sum(page[2] for page in pages) < chunk.total_uncompressed_size  # which has the headers, too
        assert names(file) == values.to_pylist()


@pytest.mark.parametrize("values", [pa.nulls(300_000, pa.string()), one_text(5, 300_000)])
def test_equal_rows_without_end_are_not_read_to_their_end(tmp_path, values):
    file = parquet(tmp_path / "l.parquet", values)
    with pytest.raises(DataError, match="more than 20 rows for each of its bytes"):
        for n, _ in enumerate(sources.items(file)):
            assert n <= 20 * file.stat().st_size


def test_rows_without_a_path_are_counted(tmp_path):
    table = pa.table({"path": ["a.jpg", None, ""], "label": ["x", "y", None]})
    pq.write_table(table, tmp_path / "l.parquet")
    left_out = LeftOut()
    assert [item.path for item in sources.items(tmp_path / "l.parquet", left_out)] == ["a.jpg"]
    assert left_out.count("rows without a path") == 2


@pytest.mark.parametrize(
    "text",
    ["{0..99999999999999}.jpg", "{0..9999}{0..9999}.jpg", "{a,b}" * 40, "{0..99}/" * 30, "{0.." + "9" * 3000 + "}"],
)
def test_braces_that_stand_for_too_many_names_are_refused_at_once(tmp_path, text):
    for source in (f"{tmp_path}/{text}", f"memory://{text}"):
        with pytest.raises(DataError, match="the braces give more than 1,000,000 names; write"):
            next(sources.items(source))


def test_braces_of_one_word_each_are_read_however_many(tmp_path):
    put(tmp_path / ("a" * 200), b"")
    assert names(f"{tmp_path}/{'{a}' * 200}") == ["a" * 200]


def lists(seed: int) -> tuple[str, bytes]:
    """A list, some bytes of which are changed."""
    draw = random.Random(seed)
    kind = draw.choice(["txt", "csv", "tsv", "parquet"])
    if kind == "parquet":
        sink = pa.BufferOutputStream()
        columns = {"path": [f"{i}.jpg" for i in range(40)], "label": draw.choice([["a"] * 40, list(range(40))])}
        options = {"compression": draw.choice(["snappy", "zstd", "none"]), "use_dictionary": draw.random() < 0.5}
        pq.write_table(pa.table(columns), sink, data_page_version=draw.choice(["1.0", "2.0"]), **options)
        data = bytearray(sink.getvalue().to_pybytes())
    else:
        cells = [
            "a.jpg",
            "b c.png",
            '"x',
            '""',
            ",",
            ";",
            "\t",
            "file:///etc/x.jpg",
            "zip://a::file://b",
            "é",
            "\0",
            "\r",
        ]
        lines = ["".join(draw.choices(cells, k=draw.randint(0, 5))) for _ in range(30)]
        data = bytearray("\n".join(["path,label" if kind != "txt" else "1.jpg", *lines]).encode())
    for _ in range(draw.randint(0, 12)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return f"l.{kind}", bytes(data)


def fuzz(folder, seeds):
    for seed in seeds:
        name, data = lists(seed)
        try:
            found = listed(put(folder / name, data))
        except DataError as error:
            assert len(str(error).splitlines()) == 1, seed
            assert name in str(error), seed
        else:
            assert len(found) <= 400, seed


def test_damaged_lists_are_rows_or_one_line(tmp_path):
    fuzz(tmp_path, range(300))


@pytest.mark.slow
def test_many_damaged_lists_are_rows_or_one_line(tmp_path):
    fuzz(tmp_path, range(300, 50_000))
