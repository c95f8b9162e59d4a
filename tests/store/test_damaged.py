"""Damaged, foreign and odd files in a store: always the right rows, or one line that names the file."""

import json
import os
import resource
import shutil
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.kit import thrift
from tests.kit.damaged_stores import FINGERPRINT, make, outcomes, rows_of
from vggfeat.bench.benchmarks import BENCHMARKS
from vggfeat.bench.described import in_stores
from vggfeat.bench.settings import BenchmarkSettings
from vggfeat.errors import StoreError
from vggfeat.store import Store, export, load
from vggfeat.store.identity import Identity
from vggfeat.store.settling import News
from vggfeat.store.writing import Record, Writer


def record(name, label="cat", dim=6):
    vector = np.arange(dim, dtype=np.float32)
    return Record(name, label, 640, 480, {256: vector, 384: vector}, Identity(1, 2, "00" * 32))


@pytest.fixture
def store(tmp_path):
    return make(tmp_path / "s")


@pytest.mark.parametrize("count", [96, pytest.param(12_000, marks=pytest.mark.slow)])
def test_whatever_is_damaged_the_rows_are_right_or_one_line_says_what_is_wrong(count):
    found = outcomes(count, seed=count)
    assert {what.partition(": ")[2] for what in found} == {"right rows", "one line"}, found


def write_again(part, table):
    """A part as another program may write it."""
    pq.write_table(table.replace_schema_metadata(pq.read_schema(part).metadata), part)


def with_column(table, name, values, kind=None):
    at = table.column_names.index(name)
    return table.set_column(at, name, pa.array(values, kind or table.schema.field(at).type))


HEX = "0" * 64
TEXTS = pa.array([b"a", b"b", b"\xff", b"c", b"d"]).cast(pa.binary()).view(pa.string())
WRONG = [
    ("path", ["a", None, "b", "c", "d"], "its column path lacks a value"),
    ("path", TEXTS, "UTF8|UTF-8"),
    ("width", [1, 2, 0, 3, 4], "its column width has a value below 1"),
    ("height", [1, 2, None, 3, 4], "its column height lacks a value"),
    ("size", [1, 2, -5, None, 4], "its column size has a value below 0"),
    ("sha256", [HEX, HEX, "z" * 64, None, HEX], "its column sha256 has a value that is no checksum"),
    ("q256", [[0.0] * 6] * 4 + [[0.0, float("nan"), 0, 0, 0, 0]], "its column q256 has a value that is not finite"),
    ("q256", [[0.0] * 6] * 4 + [[float("-inf")] * 6], "its column q256 has a value that is not finite"),
    ("q256", [[0.0] * 6] * 4 + [None], "its column q256 lacks a value"),
    ("q256", [[0.0] * 6] * 4 + [[0.0, None, 0, 0, 0, 0]], "its column q256 has a value that is not finite"),
]


@pytest.mark.parametrize(("column", "values", "said"), WRONG)
def test_values_that_no_store_holds_are_named(store, column, values, said):
    part = store / "part-00005.parquet"
    write_again(part, with_column(pq.read_table(part), column, values))
    with pytest.raises(StoreError, match=rf"part-00005\.parquet: is damaged \(.*({said})"):
        load(store) if column == "path" else Store(store).read()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            pa.list_(pa.float32(), 7),
            r"part-00005\.parquet: has vectors of 6 and 7 values|is damaged \(has vectors of 6",
        ),
        (pa.list_(pa.float32()), "its column q256 is of type list"),
        (pa.list_(pa.int32(), 6), "its column q256 is of type fixed_size_list"),
        (pa.list_(pa.float32(), 0), "has vectors of 0 and 6 values|part-00005"),
    ],
)
def test_vectors_of_another_type_or_length_are_named(store, kind, said):
    part = store / "part-00005.parquet"
    length = getattr(kind, "list_size", 6)
    write_again(part, with_column(pq.read_table(part), "q256", [[1] * length] * 5, kind))
    with pytest.raises(StoreError, match=said):
        load(store)


def test_a_part_whose_vectors_are_longer_than_those_of_the_others_is_named(store):
    with Writer(store, FINGERPRINT, source="photos") as writer:
        writer.commit([record("long", dim=9)], 20)
    with pytest.raises(StoreError, match=r"part-00020.parquet: has vectors of 9 values, and part-00000.parquet of 6"):
        load(store)


@pytest.mark.parametrize(
    ("rows", "everywhere"), [(10**12, True), (10**12, False), (-1, True), (-1, False), (2**62, True), (4, False)]
)
def test_no_memory_is_taken_for_rows_that_a_footer_only_claims(store, rows, everywhere):
    """In the footer: field 3 is the number of rows, of the file and of each row group; 5 of a column its values."""
    part = store / "part-00005.parquet"
    tree = thrift.footer(part.read_bytes())
    for number, _, value in tree:
        if number == 4 and everywhere:
            for group in value[1]:
                for field in group:
                    field[2] = rows if field[0] == 3 else field[2]
    next(field for field in tree if field[0] == 3)[2] = rows
    part.write_bytes(thrift.with_footer(part.read_bytes(), tree))
    before = pa.total_allocated_bytes()
    with pytest.raises(StoreError, match=r"part-00005\.parquet: is damaged"):
        Store(store).read()
    assert pa.total_allocated_bytes() - before < 2**20


def test_a_footer_that_claims_gigabytes_is_not_read(store):
    part = store / "part-00005.parquet"
    with part.open("r+b") as file:
        file.truncate(2**33)  # without blocks on the disk
        file.seek(-8, os.SEEK_END)
        file.write((2**32 - 9).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(StoreError, match=r"part-00005\.parquet: is damaged \(has a footer of 4294967287 bytes\)"):
        load(store)


def test_a_row_group_that_needs_more_memory_than_its_rows_is_refused(tmp_path):
    """A label of 100 MB takes 10 KB in the file."""
    path = make(tmp_path / "s")
    part = path / "part-00000.parquet"
    table = with_column(pq.read_table(part), "label", ["x" * 10**8, "b", "c", "d", "e"])
    pq.write_table(table.replace_schema_metadata(pq.read_schema(part).metadata), part, compression="zstd")
    assert part.stat().st_size < 10**6
    with pytest.raises(StoreError, match=r"part-00000\.parquet: is damaged \(has 5 rows in [0-9]+ bytes\)"):
        load(path)


def test_a_part_of_other_weights_is_refused_wherever_it_is_read(store, tmp_path):
    """... and named, with both values."""
    other = make(tmp_path / "other", 100, weights_sha256="cd" * 32)
    shutil.copy(other / "part-00010.parquet", store / "part-00010-2.parquet")
    said = rf"part-00010-2\.parquet: was made with weights_sha256 '{'cd' * 32}', but its store with '{'ab' * 32}'; move"
    for read in (load, len_of, lambda path: export(path, tmp_path / "x.npy"), open_to_write):
        with pytest.raises(StoreError, match=said):
            read(store)
    (store / "part-00010-2.parquet").unlink()
    assert len(load(store).X) == 15


def len_of(store):
    return len(Store(store))


def open_to_write(store):
    with Writer(store, FINGERPRINT, source="photos"):
        pass


def unsigned(part):
    """A part as an earlier version wrote it."""
    pq.write_table(pq.read_table(part).replace_schema_metadata(None), part)


def test_parts_of_an_earlier_version_are_read_and_said_to_be_without_settings(store, capsys):
    good = rows_of(store)
    for part in ("part-00000.parquet", "part-00010.parquet"):
        unsigned(store / part)
    assert rows_of(store) == good
    load(store)
    what = "parts written by an earlier version, which do not say by which settings they were made"
    assert capsys.readouterr().err == f"{store}: {what}: 2, such as part-00000.parquet\n"
    with Writer(store, FINGERPRINT, source="photos") as writer:
        assert writer.remarks.lines() == [f"{what}: 2, such as part-00000.parquet"]


def test_a_part_that_is_written_again_says_what_it_said(store):
    part = store / "part-00005.parquet"
    said = pq.read_schema(part).metadata
    assert json.loads(said[b"vggfeat.fingerprint"]) == Store(store).fingerprint
    with Writer(store, FINGERPRINT, source="photos") as writer:
        writer.note("006.jpg", News("dog", None))
        writer.fail("005.jpg", "broken now")
    assert pq.read_schema(part).metadata == said
    assert pq.read_table(part)["label"].to_pylist() == ["dog", "cat", "cat", "cat"]
    unsigned(part)
    with Writer(store, FINGERPRINT, source="photos") as writer:
        writer.fail("006.jpg", "broken now")
    assert pq.read_table(part)["path"].to_pylist() == ["007.jpg", "008.jpg", "009.jpg"]
    assert b"vggfeat.fingerprint" not in (pq.read_schema(part).metadata or {})


def test_a_part_that_stands_twice_is_said_and_removed_by_the_next_run(store, capsys):
    good = rows_of(store)
    shutil.copy(store / "part-00005.parquet", store / "part-00010-2.parquet")
    load(store)
    assert "rows of images that have another row, which the same extraction removes: 5, such as" in (
        capsys.readouterr().err
    )
    with Writer(store, FINGERPRINT, source="photos") as writer:
        assert writer.remarks.lines() == [
            "rows that the store had twice, of which one stays: 5, such as part-00010-2.parquet"
        ]
    assert (rows_of(store), len(Store(store))) == (good, 15)


def test_a_store_that_is_replaced_during_a_run_is_noticed_and_nothing_is_lost(store, tmp_path):
    good, other = rows_of(store), make(tmp_path / "other", 100)
    of_other = rows_of(other)
    said = "the folder or its .lock was replaced or removed during this run"
    with pytest.raises(StoreError, match=said), Writer(store, FINGERPRINT, source="photos") as writer:
        writer.commit([record("new")], 20)
        writer.fail("000.jpg", "broken now")
        store.rename(tmp_path / "moved")
        other.rename(store)
        writer.commit([record("newer")], 30)
    assert rows_of(store) == of_other
    assert rows_of(tmp_path / "moved").keys() == good.keys() | {"new"}
    assert "000.jpg" not in Store(store).failures


@pytest.mark.parametrize("removed", ["folder", "lock", "lock, with a new one"])
def test_a_store_that_is_removed_during_a_run_is_noticed(store, removed):
    said = "the folder or its .lock was replaced or removed during this run"
    with pytest.raises(StoreError, match=said), Writer(store, FINGERPRINT, source="photos"):
        if removed == "folder":
            shutil.rmtree(store)
        else:
            (store / ".lock").rename(store / ".old")
            if "new" in removed:
                (store / ".lock").touch()
    assert store.exists() == (removed != "folder")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingerprint": {}}, "missing required field 'scales'"),
        ({"fingerprint": {"scales": []}}, "Expected 'array' of length >= 1"),
        ({"fingerprint": {"scales": ["256"]}}, "Expected 'int', got 'str'"),
        ({"fingerprint": {"scales": [256, 256]}}, "has a scale twice"),
        ({"fingerprint": {"scales": [10**30]}}, "at 'fingerprint.scales"),
        ({"fingerprint": {"scales": [256], "layer": 7}}, "Expected 'str', got 'int'"),
        ({"agg": "median"}, "Invalid enum value 'median'"),
        ({"source": 3}, "at 'source"),
        ({"deep": json.loads("[" * 50 + "]" * 50)}, "nested too deeply"),
    ],
)
def test_the_values_of_meta_json_are_checked(store, change, said):
    file = store / "meta.json"
    meta = json.loads(file.read_text()) | change
    file.write_text(json.dumps(meta))
    with pytest.raises(StoreError, match=f"meta.json: cannot be read .*{said}"):
        load(store)


@pytest.mark.parametrize("key", ["mirror", "pooling", "precision", "net", "weights_sha256", "weights"])
def test_a_benchmark_names_what_meta_json_does_not_say(tmp_path, key):
    store = make(tmp_path / "s", mirror=True, pooling="floor", precision="float32")
    file = store / "meta.json"
    meta = json.loads(file.read_text()) | {"weights": "w.pth"}
    assert in_stores(BENCHMARKS["folder"], BenchmarkSettings(), [Store(store)]).spec.layer == "fc7"
    (meta if key in meta else meta["fingerprint"]).pop(key)
    file.write_text(json.dumps(meta))
    with pytest.raises(StoreError, match=f"meta.json: does not say {key}; extract the store again"):
        in_stores(BENCHMARKS["folder"], BenchmarkSettings(), [Store(store)])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"name,reason\na,b\n",
        b"path,reason\na\n",
        b"path,reason\na,b,c\n",
        b'path,reason\n"a,b\n',
        b"path,reason\n" + b"x" * 10**6,
        b'path,reason\n"' + b"x\n" * 10**6 + b'",y\n',
    ],
)
def test_a_list_of_failures_is_read_line_by_line_within_bounds(store, content):
    (store / "failures.csv").write_bytes(content)
    with pytest.raises(StoreError, match=r"failures\.csv: is damaged .* failed images are tried again"):
        Store(store).failures  # noqa: B018


def test_a_list_of_failures_without_end_is_not_read(store):
    with (store / "failures.csv").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(StoreError, match=r"failures\.csv: is damaged \(has more than 1,073,741,824 bytes\)"):
        Store(store).failures  # noqa: B018


def test_each_file_is_whole_or_absent_when_the_disk_is_full(store):
    """Files of a limited size, as a full disk allows: every limit up to the size of all."""
    good, failed, limits = rows_of(store), Store(store).failures, resource.getrlimit(resource.RLIMIT_FSIZE)
    refused = 0
    for limit in range(0, 9_000, 375):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
            with Writer(store, FINGERPRINT, source="photos", agg="max" if limit % 750 else "mean") as writer:
                writer.fail(f"bad {limit}", "x" * 300)
                writer.commit([record(f"new {limit}")])
        except StoreError as error:
            refused += 1
            assert "cannot be written (File too large)" in str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        found = rows_of(store)
        assert {name: found.get(name) for name in good} == good
        assert failed.items() <= Store(store).failures.items()
        assert not list(store.glob("*.tmp"))
    assert 5 < refused < 24


ODD = ["new\nline", "what?", "a#b", "x::y", "file:y", "%41", "*[a]{b}", "-rf", os.fsdecode(b"caf\xe9"), "a" * 255]


@pytest.mark.parametrize("name", ODD)
def test_any_name_of_a_folder_is_a_name_of_a_store(tmp_path, name):
    store = make(tmp_path / name)
    good = rows_of(make(tmp_path / "plain"))
    assert rows_of(store) == good
    shutil.copy(store / "part-00005.parquet", store / "part-00005-2.parquet")
    open_to_write(store)  # writes a part again
    assert len(load(f"{store}/").paths) == 15
    assert len(load(store, mmap=tmp_path / "x.npy").X) == 15


def test_a_link_to_a_folder_is_a_store(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    make(tmp_path / "link")
    assert rows_of(tmp_path / "real") == rows_of(tmp_path / "link")


def test_names_and_labels_of_rows(tmp_path):
    """Names that look alike are different names; a label that is longer than a page is refused."""
    names = ["", "new\nline", "é", unicodedata.normalize("NFD", "é"), "a\u200bb", "ab", "x" * 4000]
    with Writer(tmp_path / "s", FINGERPRINT) as writer:
        writer.commit([record(name, name) for name in names])
        assert "its label has 1,000,000 characters" in writer.why_not(record("a", "x" * 10**6))
        assert "its name has 1,000,000 characters" in writer.why_not(record("x" * 10**6))
        assert writer.why_not(record("a", None)) == ""
    data = load(tmp_path / "s")
    assert data.paths == data.labels == names
    with Writer(tmp_path / "s", FINGERPRINT) as writer:
        assert all(name in writer.rows for name in names)
        assert len(writer.rows) == len(names)
