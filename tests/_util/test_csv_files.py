"""CSV files from outside: bounded, checked row by row, and refused in one line."""

import os
import random
import tracemalloc

import pytest

from tests.kit.damage import mangled
from vggfeat._util.csv_files import finite, per_cent, read_csv, read_table, whole

COLUMNS = {"step": whole, "loss": finite, "name": str}


def table(tmp_path, content, **options):
    file = tmp_path / "t.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_table(file, COLUMNS, **options))


def test_rows_with_their_types(tmp_path):
    rows = table(tmp_path, 'step,loss,name\r\n0,1.5,"a, ""b"""\r\n\r\n12,-2e3,ä\r\n')
    assert rows == [{"step": 0, "loss": 1.5, "name": 'a, "b"'}, {"step": 12, "loss": -2000.0, "name": "ä"}]
    assert table(tmp_path, "") == table(tmp_path, "step,loss,name\n") == []


def test_other_columns_and_another_order_are_read(tmp_path):
    assert table(tmp_path, "\ufeffname,later,loss,step\nx,y,1,2\n") == [{"step": 2, "loss": 1.0, "name": "x"}]


def test_optional_columns_may_be_missing_or_empty(tmp_path):
    more = {"share": per_cent}
    assert table(tmp_path, "step,loss,name\n1,2,x\n", optional=more)[0]["share"] is None
    rows = table(tmp_path, "share,step,loss,name\n,1,2,x\n50,2,2,x\n", optional=more)
    assert [row["share"] for row in rows] == [None, 50]
    with pytest.raises(ValueError, match=r"row 1: '101' is not in 0\.\.100 per cent"):
        table(tmp_path, "step,loss,name,share\n1,2,x,101\n", optional=more)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("step,loss\n1,2\n", "its columns are not step,loss,name"),
        ("step,name,loss,name\n1,a,2,b\n", "it has the column name twice"),
        ("step,loss,name\n1,2\n", "row 1 has 2 values for 3 columns"),
        ("step,loss,name\n1,2,a\n1,2,a,b\n", "row 2 has 4 values for 3 columns"),
        ("step,loss,name\n-1,2,a\n", "row 1: '-1' is not a whole number"),
        ("step,loss,name\n9007199254740993,2,a\n", "row 1: '9007199254740993' is not a whole number"),
        ("step,loss,name\n1,nan,a\n", "row 1: 'nan' is not a finite number"),
        ("step,loss,name\n1,1e999,a\n", "row 1: '1e999' is not a finite number"),
        ("step,loss,name\n" + "9" * 5000 + ",1,a\n", "row 1: '9{50}' is not a whole number"),
        (b"step,loss,name\n1,2,\xff\n", "not UTF-8 text"),
        ("step,loss,name\n1,2," + "a" * 200_000 + "\n", "line 2: field larger than field limit"),
        ("step,loss,name\n" + "1,2,a\n" * 200, "more than 1,000 bytes"),
    ],
)
def test_other_content_is_refused(tmp_path, content, says):
    with pytest.raises(ValueError, match=says) as refused:
        table(tmp_path, content, max_bytes=1000 if "1,000" in says else 2**20)
    assert "\n" not in str(refused.value)


def test_a_file_without_line_breaks_takes_little_memory(tmp_path):
    tracemalloc.start()
    try:
        file = tmp_path / "t.csv"
        with file.open("wb") as opened:
            opened.truncate(2**25)
        with pytest.raises(ValueError, match="line 1: "):
            list(read_csv(file))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_pipes_and_missing_files_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        list(read_csv(tmp_path / "pipe"))
    with pytest.raises(FileNotFoundError):
        list(read_csv(tmp_path / "none"))


def test_per_cent():
    assert (per_cent("0"), per_cent("100"), per_cent("12.5")) == (0, 100, 12.5)
    for text in ("-0.1", "100.1", "nan", "x"):
        with pytest.raises(ValueError, match="is not"):
            per_cent(text)


def fuzz(tmp_path, tries):
    whole_file, draw, refused = b'step,loss,name\n0,1.5,"a, b"\n1,2.5,"c ""d"""\n2,0.5,\xc3\xa4\n', random.Random(5), 0
    for _ in range(tries):
        try:
            rows = table(tmp_path, mangled(whole_file, draw))
        except ValueError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert all(isinstance(row["step"], int) and isinstance(row["loss"], float) for row in rows)
    return refused


def test_damaged_files_give_rows_of_the_right_types_or_one_line(tmp_path):
    assert fuzz(tmp_path, 300) > 100


@pytest.mark.slow
def test_many_damaged_files_give_rows_of_the_right_types_or_one_line(tmp_path):
    assert fuzz(tmp_path, 30_000) > 10_000
