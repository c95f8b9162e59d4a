"""The store: whole parts, a fingerprint that guards it, aggregation when it is read."""

import json
import os
import tracemalloc
from hashlib import blake2b

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from vggfeat.errors import StoreError, UsageError
from vggfeat.store import Store, load
from vggfeat.store.files import difference
from vggfeat.store.loading import Selection
from vggfeat.store.names import Names
from vggfeat.store.writing import Record, Writer

FINGERPRINT = {"net": "D", "layer": "fc7", "scales": [256, 384], "mean": (1.0, 2.0)}


def record(name, q256, q384, label="cat"):
    scales = {256: np.array(q256, np.float32), 384: np.array(q384, np.float32)}
    return Record(name, label, 640, 480, scales)


def write(path, *parts, fingerprint=FINGERPRINT, failures=None, **options):
    with Writer(path, fingerprint, **options) as writer:
        writer.failures.update(failures or {})
        for part in parts:
            writer.commit(part)
        writer.commit([])
    return path


@pytest.fixture
def store(tmp_path):
    first = [record("a.jpg", [3, 4], [0, 2]), record("b/ü 1.jpg", [1, 0], [1, 0], None)]
    return write(tmp_path / "s.vggfeat", first, [record("c.jpg", [0, 0], [0, 0])], failures={"x,\ny.jpg": "truncated"})


def test_rows_come_back_with_their_names_in_the_order_they_were_written(store):
    data = load(store, normalize="none")
    assert data.paths == ["a.jpg", "b/ü 1.jpg", "c.jpg"]
    assert data.labels == ["cat", None, "cat"]
    assert len(Store(store)) == 3
    assert data.X.dtype == np.float32


def test_aggregation_is_chosen_at_reading_time(store):
    assert load(store, agg="mean", normalize="none").X[0].tolist() == [1.5, 3]
    assert load(store, agg="max", normalize="none").X[0].tolist() == [3, 4]
    assert load(store, agg="stack", normalize="none").X[0].tolist() == [3, 4, 0, 2]
    assert load(store, scales=[256]).X[0].tolist() == pytest.approx([0.6, 0.8])  # 3, 4 over 5


def test_the_aggregation_named_at_the_extraction_is_the_default(tmp_path):
    path = write(tmp_path / "s", [record("a", [3, 4], [0, 2])], agg="stack")
    assert load(path).X.shape == (1, 4)


def test_the_aggregation_named_last_is_the_default(tmp_path):
    path = write(tmp_path / "s", [record("a", [3, 4], [0, 2])])
    before = Store(path).meta
    write(path, [record("b", [3, 4], [0, 2])], agg="stack")
    assert load(path).X.shape == (2, 4)
    assert Store(path).meta == before | {"agg": "stack"}


def test_any_tool_that_reads_parquet_reads_it(store):
    table = pq.read_table(store / "part-00000.parquet")
    assert table.column_names == [
        *("path", "label", "width", "height", "size", "changed_ns", "sha256"),
        *("q256", "q384"),
    ]
    assert table.to_pylist()[0] == {
        "path": "a.jpg", "label": "cat", "width": 640, "height": 480,
        "size": None, "changed_ns": None, "sha256": None, "q256": [3, 4], "q384": [0, 2],
    }  # fmt: skip
    assert str(table.schema.field("q256").type).startswith("fixed_size_list<")
    assert table.schema.field("q256").type.list_size == 2


def test_pandas_reads_it_as_the_readme_says(store):
    table = pd.read_parquet(store, ignore_prefixes=[".", "_", "meta", "failures"])
    assert table["path"].tolist() == load(store).paths
    assert table["q256"][0].tolist() == [3, 4]


def test_float16_is_stored_if_asked_and_read_as_float32(tmp_path):
    path = write(tmp_path / "s", [record("a", [0.1, 1], [0, 2])], dtype="float16")
    assert str(pq.read_table(path / "part-00000.parquet").schema.field("q256").type.value_type) == "halffloat"
    X = load(path, scales=[256], normalize="none").X
    assert X.dtype == np.float32
    assert X[0, 0] == np.float32(np.float16(0.1))


def test_failures_survive_commas_and_newlines_in_names(store):
    assert Store(store).failures == {"x,\ny.jpg": "truncated"}
    assert (store / "failures.csv").read_text().splitlines()[0] == "path,reason"


def test_an_image_that_succeeds_later_leaves_the_failures(store):
    with Writer(store, FINGERPRINT) as writer:
        assert all(name in writer.rows for name in ("a.jpg", "b/ü 1.jpg", "c.jpg"))
        assert len(writer.rows) == 3
        writer.commit([record("x,\ny.jpg", [1, 1], [1, 1])])
    assert Store(store).failures == {}
    assert load(store).paths[-1] == "x,\ny.jpg"


@pytest.mark.parametrize(
    ("key", "value"), [("layer", "fc6"), ("scales", [256]), ("mean", (1.0, 2.5)), ("mirror", False)]
)
def test_adding_what_was_made_otherwise_is_refused_with_both_values(store, key, value):
    before = load(store).X
    stored = FINGERPRINT.get(key)
    with pytest.raises(StoreError, match=f"made with {key}") as caught:
        write(store, [record("d", [1, 1], [1, 1])], fingerprint={**FINGERPRINT, key: value})
    for shown in (json.loads(json.dumps(stored)), json.loads(json.dumps(value))):
        assert repr(shown) in str(caught.value)
    np.testing.assert_array_equal(load(store).X, before)


def test_another_dtype_is_another_fingerprint(store):
    with pytest.raises(StoreError, match="dtype 'float32', not 'float16'"):
        write(store, dtype="float16")


def test_two_writers_at_once_are_refused(store):
    with Writer(store, FINGERPRINT), pytest.raises(StoreError, match="another process is writing"):
        write(store)
    write(store, [record("d", [1, 1], [1, 1])])  # the lock is gone with its holder


def test_what_a_killed_writer_left_is_cleaned_up_and_not_read(store):
    """... under the names of this version, and of former ones."""
    for name in ("part-00002.parquet.tmp", ".part-00002.parquet.123.tmp", ".meta.json.123-abcd.tmp"):
        (store / name).write_bytes(b"PAR1 half a part")
    assert len(Store(store)) == 3
    write(store, [record("d", [1, 1], [1, 1])])
    assert not list(store.glob("*.tmp"))
    assert load(store).paths == ["a.jpg", "b/ü 1.jpg", "c.jpg", "d"]


def test_a_damaged_part_is_named(store):
    part = store / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"part-00001\.parquet: is damaged .* run the extraction again"):
        load(store)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "other/9"}', '{"format": "vggfeat-store/1"}'])
def test_a_meta_that_is_not_ours_is_refused(tmp_path, text):
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(StoreError, match=str(tmp_path)):
        load(tmp_path)


def test_a_part_without_its_columns_is_refused(store):
    table = pq.read_table(store / "part-00000.parquet")
    for part in store.glob("part-*"):
        pq.write_table(table.drop_columns(["q384"]), part)
    with pytest.raises(StoreError, match="has no column q384"):
        load(store)


def test_parts_are_in_the_order_of_their_numbers(store):
    for number in (99999, 100000):
        (store / f"part-{number}.parquet").write_bytes(b"")
    assert [part.stem for part in Store(store).parts][-2:] == ["part-99999", "part-100000"]


def test_a_folder_with_other_things_is_not_made_a_store(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"...")
    with pytest.raises(StoreError, match="other things in it"):
        write(tmp_path)


def test_no_store_no_rows_no_scale(tmp_path, store):
    with pytest.raises(StoreError, match=r"nowhere: no such store; make one with vggfeat extract"):
        load(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="no rows yet"):
        load(write(tmp_path / "empty"))
    with pytest.raises(StoreError, match="has no scale 512; its scales are 256,384"):
        load(store, scales=[512])
    with pytest.raises(UsageError, match="no aggregation 'median'"):
        load(store, agg="median")


def test_fusion_matches_rows_by_name_not_by_place(tmp_path):
    one = write(tmp_path / "D", [record("a", [2, 0], [2, 0]), record("b", [0, 5], [0, 5])])
    two = write(tmp_path / "E", [record("b", [7, 0], [7, 0]), record("a", [0, 3], [0, 3])])
    data = load([one, two])
    half = 0.5**0.5
    assert data.paths == ["a", "b"]
    np.testing.assert_allclose(data.X, [[half, 0, 0, half], [0, half, half, 0]], rtol=1e-6)


def test_fusion_of_different_images_is_refused(tmp_path):
    one = write(tmp_path / "D", [record("a", [2, 0], [2, 0])])
    two = write(tmp_path / "E", [record("b", [7, 0], [7, 0])])
    with pytest.raises(StoreError, match="same images"):
        load([one, two])


@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_no_bit_of_a_part_changes_unnoticed(store, step):
    """Single bits of a part flipped, one at a time: reading it gives the same rows, or says that it cannot."""
    part = store / "part-00000.parquet"
    good, rows = part.read_bytes(), Store(store).read()
    noticed = 0
    for bit in range(0, 8 * len(good), step):
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        part.write_bytes(bytes(data))
        try:
            assert Store(store).read(rows.column_names).equals(rows), f"bit {bit}"
        except StoreError:
            noticed += 1
    assert noticed > 3 * len(good) / step


def test_a_part_that_another_process_adds_meanwhile_is_not_mixed_in(tmp_path):
    """Between the names and the vectors: the rows stay those of their names."""
    path = tmp_path / "s"
    for place in (0, 20):
        with Writer(path, FINGERPRINT, share=(0, 2)) as writer:
            writer.commit([record(f"{place + i}", [place + i, 1], [1, 1]) for i in range(3)], place)
    selection = Selection(path, agg="stack", normalize="none")
    with Writer(path, FINGERPRINT, share=(1, 2)) as writer:
        writer.commit([record(f"{10 + i}", [10 + i, 1], [1, 1]) for i in range(3)], 10)
    X = np.zeros(selection.shape, np.float32)
    selection.fill(X)
    assert selection.paths == ["0", "1", "2", "20", "21", "22"]
    assert X[:, 0].tolist() == [0, 1, 2, 20, 21, 22]
    assert len(load(path).paths) == 9


def test_a_part_that_is_changed_or_gone_meanwhile_is_named(store):
    selection = Selection(store, normalize="none")
    X = np.zeros(selection.shape, np.float32)
    first, second = Store(store).parts
    second.write_bytes(first.read_bytes())  # two rows in place of one
    with pytest.raises(StoreError, match=r"part-00001\.parquet: was changed while the store was read"):
        selection.fill(X)
    second.unlink()
    with pytest.raises(StoreError, match=r"part-00001\.parquet: not found; read the store again"):
        selection.fill(X)


def test_processes_of_another_launch_have_not_ended_this_one(tmp_path):
    """Rank 0 ended once, in a launch in which rank 1 was killed. In the next launch rank 1 is the first to end."""

    def ends(rank, launch):
        with Writer(tmp_path / "s", FINGERPRINT, share=(rank, 2), launch=launch) as writer:
            writer.commit([record(f"{launch}{rank}", [1, 1], [1, 1])], 10 * rank)
        return writer.settled

    assert [ends(0, "a"), ends(1, "b"), ends(0, "b")] == [False, False, True]
    assert Store(tmp_path / "s").settled


def test_the_last_of_several_leaves_what_others_write_alone(tmp_path):
    path = tmp_path / "s"
    with Writer(path, FINGERPRINT, share=(0, 2)):
        pass
    with Writer(path, FINGERPRINT, share=(1, 2)) as writer:
        for rank in range(2):
            for name in (f"part-00000.parquet.{rank}of2.tmp", f".part-00000.parquet.{rank}of2.tmp"):
                (path / name).write_bytes(b"half")
    assert writer.settled
    kept = {".part-00000.parquet.0of2.tmp", "part-00000.parquet.0of2.tmp"}
    assert {file.name for file in path.glob("*.tmp")} == kept


def test_parts_are_named_by_place_and_never_overwritten(tmp_path):
    with Writer(tmp_path / "s", FINGERPRINT) as writer:
        for number, name in ((70, "d"), (5, "a"), (5, "b"), (None, "e"), (5, "c")):
            writer.commit([record(name, [1, 1], [1, 1])], number)
    names = [part.name for part in Store(tmp_path / "s").parts]
    assert names == [f"part-{n}.parquet" for n in ("00005", "00005-2", "00005-3", "00070", "00071")]
    assert load(tmp_path / "s").paths == ["a", "b", "c", "d", "e"]


def test_rows_that_stand_twice_are_dropped_by_the_next_writer(tmp_path):
    rows = {name: record(name, [i, 1], [1, i]) for i, name in enumerate("abcd")}
    path = write(tmp_path / "s", [rows["a"], rows["b"]], [rows["b"], rows["c"]], [rows["c"]], [rows["d"]])
    assert load(path).paths == ["a", "b", "b", "c", "c", "d"]
    before = load(path).X
    write(path)
    assert load(path).paths == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(load(path).X, before[[0, 1, 3, 5]])
    assert len(Store(path).parts) == 3


def test_failures_of_several_processes_become_one_list(tmp_path):
    path = write(tmp_path / "s", failures={"old": "gone", "mended": "was broken"})
    for rank in range(3):
        with Writer(path, FINGERPRINT, share=(rank, 3)) as writer:
            writer.failures[f"bad {rank}"] = "broken"
            writer.commit([record("mended" if rank else "a", [1, 1], [1, 1])] if rank < 2 else [])
        assert Store(path).failures.keys() >= {"old", *(f"bad {r}" for r in range(rank + 1))}  # at any time
        assert writer.settled == Store(path).settled == (rank == 2)
    assert Store(path).failures.keys() == {"old", "bad 0", "bad 1", "bad 2"}
    assert sorted(p.name for p in path.glob("*.csv")) == ["failures.csv"]


def test_failures_that_are_damaged_are_named(store):
    (store / "failures.csv").write_bytes(b"path,reason\n\xff,x\n")
    with pytest.raises(StoreError, match=r"failures\.csv: is damaged .* tried again"):
        write(store)


def test_names_are_a_set():
    """Also across packing: against Python's own set, with digests that end in zeros among them."""
    rng, packed, known = np.random.default_rng(0), Names(unpacked=50), set()
    for name in map(str, rng.integers(0, 3000, 6000)):
        assert (name in packed) == (name in known)
        assert packed.add(name) == (name not in known)
        known.add(name)
    assert len(packed) == len(known)
    assert sum(blake2b(name.encode(), digest_size=16).digest().endswith(b"\0") for name in known) > 3
    assert all(name in packed for name in known)
    assert "3000" not in packed


def many(path, n=500, dim=64, seed=0, order=None):
    """A store of n rows in parts of 60."""
    X = np.random.default_rng(seed).random((n, 2, dim), np.float32)
    records = [record(f"{i:04}.jpg", X[i, 0], X[i, 1], str(i % 7)) for i in (range(n) if order is None else order)]
    return write(path, *(records[start : start + 60] for start in range(0, n, 60)))


SOME = [slice(3, 400, 7), slice(None, None, -1), [499, 0, 61, 61, -2], np.arange(500) % 3 == 0, [], np.array([59, 60])]


@pytest.mark.parametrize("rows", SOME)
def test_some_rows(tmp_path, rows):
    path = many(tmp_path / "s")
    whole, some = load(path, agg="stack"), load(path, agg="stack", rows=rows)
    chosen = np.arange(500)[np.array(rows, int) if isinstance(rows, list) else rows]
    np.testing.assert_array_equal(some.X, whole.X[chosen])
    assert some.paths == [whole.paths[i] for i in chosen]
    assert some.labels == [whole.labels[i] for i in chosen]


def test_rows_that_are_not_there(tmp_path):
    path = many(tmp_path / "s", 20)
    for rows in ([20], [0.5], np.ones(3, bool), ["a"]):
        with pytest.raises(UsageError, match="rows of a store of 20"):
            load(path, rows=rows)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rows": [[0, 1], [1, 2]]}, "rows of a store of 3: give a slice, a list of numbers or a mask"),
        ({"rows": [[0, 1], [1]]}, "rows of a store of 3"),
        ({"rows": slice(None, None, 0)}, "slice step cannot be zero"),
        ({"rows": slice(0, 1.5)}, "rows of a store of 3"),
        ({"scales": 256}, "scales must be whole numbers"),
        ({"scales": [256.5]}, "scales must be whole numbers"),
        ({"scales": [256, 256]}, "a scale is given twice: 256,256"),
    ],
)
def test_invalid_rows_and_scales(store, options, said):
    with pytest.raises(UsageError, match=said):
        load(store, **options)


def test_scales_may_be_an_array_or_a_generator(store):
    expected = load(store, scales=[384, 256], agg="stack").X
    for scales in (np.array([384, 256]), (q for q in (384, 256))):
        assert np.array_equal(load(store, scales=scales, agg="stack").X, expected)


def test_a_mapped_matrix_without_room_on_the_disk_is_an_error_and_no_crash(store, tmp_path, monkeypatch):
    """A write to a map without room behind it would end the process with SIGBUS."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        load(store, mmap=tmp_path / "x.npy")
    assert not list(tmp_path.glob("*x.npy*"))


def test_parts_without_wanted_rows_are_not_read(tmp_path):
    path = many(tmp_path / "s")
    part = path / "part-00000.parquet"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        load(path, rows=[0])
    assert load(path, rows=[60, 499]).X.shape == (2, 64)


@pytest.mark.parametrize("normalize", ["l2", "per-scale", "none"])
@pytest.mark.parametrize("n", [500, 0])
def test_a_mapped_matrix_is_the_same_and_a_npy_file(tmp_path, normalize, n):
    other = np.random.default_rng(1).permutation(500)
    stores = [many(tmp_path / "D"), many(tmp_path / "E", seed=1, order=other)]
    whole = load(stores, agg="max", normalize=normalize, rows=slice(n))
    mapped = load(stores, agg="max", normalize=normalize, rows=slice(n), mmap=tmp_path / "x.npy")
    assert isinstance(mapped.X, np.memmap) == (n > 0)
    np.testing.assert_array_equal(mapped.X, whole.X)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), whole.X)
    assert not list(tmp_path.glob("*.tmp"))
    if n:
        E = load(stores[1], agg="max", normalize=normalize)
        row = load(stores[0], agg="max", normalize=normalize).X[17], E.X[E.paths.index("0017.jpg")]
        fused = np.concatenate(row) / (1 if normalize == "none" else 2**0.5)
        np.testing.assert_allclose(whole.X[17], fused, rtol=1e-6)


def test_batches_are_the_rows_in_order(tmp_path):
    path = many(tmp_path / "s")
    batches = list(Store(path).batches(["path"], size=25))
    assert max(map(len, batches)) <= 25
    assert [name for batch in batches for name in batch["path"].to_pylist()] == Store(path).paths


def test_a_store_is_mapped_and_walked_in_little_memory(tmp_path):
    """A matrix of 16 MB in a small fraction of that; numpy and Arrow count what they hold."""
    import pyarrow as pa

    path = many(tmp_path / "s", 4000, 1024)
    held = pa.total_allocated_bytes()
    tracemalloc.start()
    load(path, mmap=tmp_path / "x.npy")
    for _ in Store(path).batches(size=64):
        assert pa.total_allocated_bytes() - held < 4e6
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.load(tmp_path / "x.npy", mmap_mode="r").nbytes == 4000 * 1024 * 4
    assert peak < 7e6


def test_other_weights_are_named_before_their_preprocessing():
    one = {"preprocessing": {"range": 1.0}, "scales": [64], "weights_sha256": "ab"}
    assert difference(one, one) is None
    assert difference(one, {**one, "preprocessing": {"range": 255.0}, "weights_sha256": "cd"})[0] == "weights_sha256"
    assert difference(one, {**one, "preprocessing": {"range": 255.0}})[0] == "preprocessing"
