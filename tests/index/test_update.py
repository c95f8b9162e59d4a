"""An index follows its store: rows that are added, changed, removed or moved."""

import errno
import os
import shutil

import numpy as np
import pytest

from tests.kit.vector_stores import FINGERPRINT, clustered, named, unit_rows, write
from vggfeat.errors import StoreError
from vggfeat.index import Index, IndexSettings, build
from vggfeat.index.building import bring_up_to_date
from vggfeat.neighbours import nearest as exact_neighbours
from vggfeat.store import Store, load


def nearest(index, X):
    """The first neighbour of each vector: name and row."""
    return [(found[0].path, found[0].row) for found in index.search(X, k=1)]


def array(store, what):
    (file,) = (store / "_index").glob(f"{what}-*.bin")
    return file


@pytest.fixture
def store(tmp_path):
    return write(tmp_path / "s.vggfeat", unit_rows(30), named(30), number=10)


def test_rows_that_are_added_are_found_and_no_old_one_is_written_again(store, capsys):
    Index(store)
    file = array(store, "descriptors")
    before, place = file.read_bytes(), file.stat().st_ino
    write(store, unit_rows(5, seed=1), named(5, 30), number=20)
    index = Index(store)
    assert "5 rows added, 0 rows" in capsys.readouterr().err
    assert (file.stat().st_ino, file.read_bytes()[: len(before)]) == (place, before)
    assert nearest(index, unit_rows(5, seed=1)) == [(f"{n:04}.jpg", n) for n in range(30, 35)]
    assert nearest(index, unit_rows(30)[:2]) == [("0000.jpg", 0), ("0001.jpg", 1)]


def test_a_part_before_the_others_moves_their_rows(store):
    Index(store)
    write(store, unit_rows(5, seed=1), named(5, 90), number=0)
    index = Index(store)
    assert load(store).paths[0] == "0090.jpg"
    assert nearest(index, unit_rows(30)[:1]) == [("0000.jpg", 5)]
    assert nearest(index, unit_rows(5, seed=1)[:1]) == [("0090.jpg", 0)]


def test_the_old_row_of_a_changed_photo_is_never_found(store, capsys):
    Index(store)
    write(store, unit_rows(1, seed=1), ["0003.jpg"], number=20, content="new")
    index = Index(store)
    assert "1 rows added, 1 rows of photos that are gone or have changed" in capsys.readouterr().err
    assert len(index) == 30
    assert nearest(index, unit_rows(1, seed=1)) == [("0003.jpg", 29)]
    cosines = index.nearest(unit_rows(30)[3], 30).cosines
    assert cosines.max() < 0.99


def test_an_index_that_fits_is_left_as_it_is(store, capsys):
    Index(store)
    before = {file.name: file.stat().st_mtime_ns for file in (store / "_index").iterdir()}
    capsys.readouterr()
    Index(store)
    build(store)
    assert {file.name: file.stat().st_mtime_ns for file in (store / "_index").iterdir()} == before
    assert capsys.readouterr().err == ""


def test_the_graph_of_an_index_that_has_grown_is_that_of_a_new_one(store):
    Index(store).neighbours  # noqa: B018
    write(store, unit_rows(1, seed=1), ["0003.jpg"], number=20, content="new")
    write(store, unit_rows(12, seed=2), named(12, 60), number=0)
    grown = Index(store).neighbours
    anew = build(store, rebuild=True).neighbours
    np.testing.assert_allclose(grown.cosines, anew.cosines, atol=1e-6)
    assert (grown.rows == anew.rows).mean() > 0.98  # equal but for ties
    assert grown.rows.min() == 0
    assert grown.rows.max() == 41


def test_the_index_of_a_store_of_other_descriptors_is_refused(store, tmp_path):
    Index(store)
    other = write(tmp_path / "o", unit_rows(30), named(30), fingerprint=FINGERPRINT | {"net": "E"})
    shutil.copytree(store / "_index", other / "_index")
    with pytest.raises(StoreError, match=r"o/_index: is the index of another store \(net 'D', not 'E'\); build it"):
        Index(other)
    assert nearest(build(other, rebuild=True), unit_rows(30)[:1]) == [("0000.jpg", 0)]


def test_the_index_of_a_store_of_other_photos_is_made_anew(store, tmp_path):
    Index(store)
    other = write(tmp_path / "o", unit_rows(8, seed=3), named(8, 50))
    shutil.copytree(store / "_index", other / "_index")
    index = Index(other)
    assert len(index) == 8
    assert nearest(index, unit_rows(8, seed=3)) == [(f"{n + 50:04}.jpg", n) for n in range(8)]


def test_a_copied_store_keeps_its_index(store, tmp_path):
    Index(store)
    copy = shutil.copytree(store, tmp_path / "copy")
    os.utime(copy / "part-00010.parquet")
    before = array(copy, "descriptors").name
    assert nearest(Index(copy), unit_rows(30)[:1]) == [("0000.jpg", 0)]
    assert array(copy, "descriptors").name == before


def test_other_settings_make_it_anew(store, capsys):
    Index(store)
    build(store, goal=0.9)
    assert "was made with other settings" in capsys.readouterr().err
    assert Index(store).settings.goal == 0.9


def test_an_index_of_the_earlier_format_is_made_anew_with_its_settings(store, capsys):
    build(store, goal=0.9)
    file = store / "_index" / "index.json"
    file.write_text(file.read_text().replace("vggfeat-index/2", "vggfeat-index/1"))
    capsys.readouterr()
    assert nearest(Index(store), unit_rows(30)[:1]) == [("0000.jpg", 0)]
    said = "_index: was made by an earlier version, and is made anew"
    assert capsys.readouterr().err.count(said) == 1
    assert Index(store).settings.goal == 0.9
    assert capsys.readouterr().err == ""


def test_what_a_killed_process_has_left_is_overwritten(store):
    Index(store)
    with array(store, "descriptors").open("ab") as file:
        file.write(b"\x7f" * 1001)
    (store / "_index" / "keys-99.bin").write_bytes(b"left")
    write(store, unit_rows(5, seed=1), named(5, 30), number=20)
    assert nearest(Index(store), unit_rows(5, seed=1)[4:]) == [("0034.jpg", 34)]
    assert not (store / "_index" / "keys-99.bin").exists()


def test_a_full_disk_leaves_the_index_as_it_was(store, monkeypatch):
    Index(store)
    before = array(store, "descriptors").read_bytes()
    write(store, unit_rows(5, seed=1), named(5, 30), number=20)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(StoreError, match=r"descriptors-1.bin: cannot be written \(No space left on device\)"):
            Index(store)
    assert array(store, "descriptors").read_bytes() == before
    assert len(Index(store)) == 35


def test_a_store_of_an_earlier_version_without_checksums(tmp_path):
    from vggfeat.store.writing import Record, Writer

    with Writer(tmp_path / "s", FINGERPRINT) as writer:
        writer.commit([Record(f"{n}", None, 9, 9, {256: x}) for n, x in enumerate(unit_rows(6))])
    index = Index(tmp_path / "s")
    assert [match.row for match, *_ in index.search(unit_rows(6), k=1)] == list(range(6))
    assert len(Index(tmp_path / "s")) == 6


def test_lists_take_up_new_rows_and_forget_old_ones(tmp_path):
    pytest.importorskip("faiss", reason="needs faiss: pip install 'vggfeat[index]'")
    X = clustered(700)
    store = write(tmp_path / "s", X[:600], named(600))
    build(store, exact_rows=100)
    centres = array(store, "centres").read_bytes()
    write(store, X[600:], named(100, 600), number=5)
    write(store, clustered(1, seed=7), ["0003.jpg"], number=9, content="new")
    index = Index(store)
    assert array(store, "centres").read_bytes() == centres
    assert nearest(index, X[600:]) == [(f"{n:04}.jpg", n - 1) for n in range(600, 700)]  # row 3 is gone
    assert nearest(index, clustered(1, seed=7)) == [("0003.jpg", 699)]
    assert index.search(X[3], k=1)[0].similarity < 0.999


def test_an_index_that_was_made_for_its_graph_gets_its_lists_later(tmp_path):
    pytest.importorskip("faiss", reason="needs faiss: pip install 'vggfeat[index]'")
    store = write(tmp_path / "s", clustered(200), named(200))
    bring_up_to_date(Store(store), IndexSettings(exact_rows=100), lists=False, with_graph=True)
    kept = {what: array(store, what).read_bytes() for what in ("descriptors", "neighbours", "cosines")}
    index = Index(store)
    assert index.recall is not None
    np.testing.assert_array_equal(index.neighbours.rows, exact_neighbours(clustered(200), 15).rows)
    assert {what: array(store, what).read_bytes() for what in kept} == kept


def test_an_index_that_has_become_small_is_searched_exactly(tmp_path):
    pytest.importorskip("faiss", reason="needs faiss: pip install 'vggfeat[index]'")
    store = write(tmp_path / "s", clustered(90), named(90), number=1)
    write(store, clustered(90, seed=1), named(90, 90), number=2)
    assert build(store, exact_rows=100).recall is not None
    (store / "part-00002.parquet").unlink()
    write(store, clustered(5, seed=2), named(5, 200), number=3)
    index = Index(store)
    assert index.recall is None
    assert nearest(index, clustered(5, seed=2)) == [(f"{n:04}.jpg", n - 110) for n in range(200, 205)]


def test_lists_are_proposed_anew_when_the_index_has_doubled(tmp_path, capsys):
    pytest.importorskip("faiss", reason="needs faiss: pip install 'vggfeat[index]'")
    store = write(tmp_path / "s", clustered(200), named(200))
    build(store, exact_rows=100)
    assert "--rebuild" not in capsys.readouterr().err
    write(store, clustered(200, seed=1), named(200, 200), number=5)
    Index(store)
    assert "has 400 rows, and its lists were chosen for 200; build it again with --rebuild" in capsys.readouterr().err
