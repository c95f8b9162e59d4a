"""The store: whole parts, a fingerprint that guards, aggregation when it is read."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from vggfeat.errors import StoreError, UsageError
from vggfeat.store import Record, Store, Writer, load

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


def test_any_tool_that_reads_parquet_reads_it(store):
    table = pq.read_table(store / "part-00000.parquet")
    assert table.column_names == ["path", "label", "width", "height", "q256", "q384"]
    assert table.to_pylist()[0] == {
        "path": "a.jpg", "label": "cat", "width": 640, "height": 480, "q256": [3, 4], "q384": [0, 2]
    }  # fmt: skip
    assert str(table.schema.field("q256").type).startswith("fixed_size_list<")
    assert table.schema.field("q256").type.list_size == 2


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
        assert writer.done == {"a.jpg", "b/ü 1.jpg", "c.jpg"}
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
    (store / "part-00002.parquet.tmp").write_bytes(b"PAR1 half a part")
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
    with pytest.raises(StoreError, match="lack the column q384"):
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
    with pytest.raises(StoreError, match=r"no descriptor store"):
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
