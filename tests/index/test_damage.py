"""Damaged and hostile files of an index."""

import json
import sys

import numpy as np
import pytest

from tests.kit.vector_stores import clustered, named, unit_rows, write
from vggfeat.errors import StoreError, UsageError
from vggfeat.index import Index, build
from vggfeat.index.fixed import row_type


@pytest.fixture
def store(tmp_path):
    return write(tmp_path / "s.vggfeat", clustered(300), named(300))


def array(store, what):
    (file,) = (store / "_index").glob(f"{what}-*.bin")
    return file


def use(store):
    index = Index(store)
    index.search(clustered(3, seed=1))
    index.neighbours  # noqa: B018


@pytest.mark.parametrize(
    "what", ["places", "neighbours", "cosines", "mean", "projection", "centres", "codes", "lists", "keys"]
)
def test_a_changed_array_is_refused_by_name(store, what):
    pytest.importorskip("faiss", reason="needs faiss: pip install 'vggfeat[index]'")
    build(store, exact_rows=100)
    use(store)
    file = array(store, what)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    if what == "keys":  # which are read only if the store has changed
        write(store, unit_rows(1, 32), named(1, 900), number=9)
    with pytest.raises(StoreError, match=rf"{file.name}: is damaged .*index build --rebuild"):
        use(store)
    build(store, rebuild=True)
    use(store)


def test_descriptors_that_are_no_unit_vectors_are_refused(store):
    use(store)
    file = array(store, "descriptors")
    for step in (np.nan, np.inf, 9):
        rows = np.ones(300, row_type(32))
        rows["step"] = step
        file.write_bytes(rows.tobytes())
        with pytest.raises(StoreError, match="_index: holds descriptors that are damaged"):
            Index(store).search(clustered(1)[0])


def test_descriptors_that_are_cut_are_refused(store):
    use(store)
    file = array(store, "descriptors")
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(StoreError, match=r"descriptors-1.bin: is damaged"):
        Index(store).search(clustered(1)[0])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rows", 2**60),
        ("dim", 10**9),
        ("k", -1),
        ("format", "vggfeat-index/9"),
        ("goal", 7),
        ("files", {"keys": ["../../../etc/passwd", ""]}),
        ("parts", "none"),
    ],
)
def test_an_index_json_with_impossible_values_is_refused(store, key, value):
    use(store)
    file = store / "_index" / "index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(StoreError, match=r"index.json: cannot be read \(.*index build --rebuild"):
        use(store)


def test_more_rows_than_the_arrays_have_are_refused(store):
    use(store)
    file = store / "_index" / "index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rows": 10**9}))
    with pytest.raises(StoreError, match=r"places-\d+.bin: is damaged"):
        use(store)


def test_a_link_in_the_place_of_the_descriptors_is_not_written_to(store, tmp_path):
    use(store)
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    array(store, "descriptors").unlink()
    (store / "_index" / "descriptors-1.bin").symlink_to(target)
    write(store, unit_rows(1, 32), named(1, 900), number=9)
    with pytest.raises(StoreError, match=r"descriptors-1.bin: cannot be written"):
        Index(store)
    assert target.read_bytes() == b"precious"


def test_a_file_in_the_place_of_the_folder(store):
    (store / "_index").write_text("")
    with pytest.raises(StoreError, match="_index: cannot be written"):
        Index(store)


def test_without_faiss_a_small_index_works_and_a_large_one_names_the_extra(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    use(store)
    with pytest.raises(UsageError, match=r"needs faiss: pip install 'vggfeat\[index\]'"):
        build(store, exact_rows=100)
    assert Index(store).settings.exact_rows == 20_000  # the index that there was is kept
