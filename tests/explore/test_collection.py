"""What the explorer computes: the map, twins, doubtful labels; and what it keeps of them."""

import sys
from hashlib import sha256

import numpy as np
import pytest

from tests.kit.explorers import photo_store, record, write_store
from vggfeat.errors import StoreError, UsageError
from vggfeat.explore.collection import read_collection
from vggfeat.explore.embedding import fitted, pca, tsne
from vggfeat.explore.findings import Doubt, find_doubts, find_twins
from vggfeat.explore.folder import Folder
from vggfeat.explore.layout import Layout
from vggfeat.index import Index, IndexSettings, build
from vggfeat.index.building import bring_up_to_date
from vggfeat.neighbours import Neighbours, TwinThreshold, nearest
from vggfeat.store import Store, load
from vggfeat.store.identity import Identity
from vggfeat.store.writing import Record, Writer


def blobs(each=30, n=4):
    rng = np.random.default_rng(0)
    X = np.repeat(np.eye(n, 16), each, axis=0) + rng.normal(scale=0.1, size=(n * each, 16))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def test_the_rows_are_those_of_the_store_in_another_order(tmp_path):
    path = photo_store(tmp_path)
    found, stored = read_collection(path), load(path)
    order = [stored.paths.index(name) for name in found.names]
    assert sorted(order) == list(range(30)) != order
    assert np.array_equal(found.X, stored.X[order])
    assert found.labels == [stored.labels[row] for row in order]
    assert [name.split("/")[0] for name in found.names] == found.labels
    assert all(identity.sha256 for identity in found.identities)


def test_of_too_many_rows_a_sample_is_taken_and_counted(tmp_path, capsys):
    found = read_collection(photo_store(tmp_path), most=20)
    assert (len(found), found.total, len(set(found.names))) == (20, 30, 20)
    assert "20 of 30 rows are shown, chosen at random" in capsys.readouterr().err


def test_a_store_without_rows_is_refused(tmp_path):
    with pytest.raises(StoreError, match="has no rows yet"):
        read_collection(write_store(tmp_path / "s.vggfeat", [], tmp_path))


def test_the_map_keeps_neighbours_together():
    X = blobs()
    *_, (share, places) = tsne(pca(X), nearest(X, 15))
    assert share == 1
    near = nearest_places(fitted(places), 5)
    assert (near // 30 == np.arange(len(X))[:, None] // 30).mean() > 0.95


def nearest_places(places, k):
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    return np.argsort(distances, axis=1)[:, 1 : k + 1]


def test_parts_of_the_graph_without_a_link_do_not_drift_apart():
    X = np.concatenate([blobs(n=2), -blobs(n=2)])
    graph = nearest(X, 15)
    assert len({row // 30 for row in graph.rows[0]}) == 1
    *_, (_, places) = tsne(pca(X), graph)
    assert fitted(places).std(axis=0).min() > 0.1


def test_places_are_moved_and_scaled_alike_on_both_axes():
    assert fitted(np.array([[10.0, 5], [14, 5], [12, 7]])).tolist() == [[0, 0.25], [1, 0.25], [0.5, 0.75]]
    assert fitted(np.zeros((2, 2))).tolist() == [[0.5, 0.5]] * 2


def test_the_first_places_are_the_principal_components():
    X = np.random.default_rng(0).normal(size=(50, 6)) * [1, 9, 1, 4, 1, 1]
    centred = X - X.mean(axis=0)
    expected = centred @ np.linalg.svd(centred)[2][:2].T
    found = pca(X) - pca(X).mean(axis=0)
    assert np.abs(found) == pytest.approx(np.abs(expected), abs=1e-8)


@pytest.mark.parametrize("shape", [(1, 4), (2, 4), (3, 1)])
def test_tiny_collections_have_a_map(shape):
    assert np.isfinite(pca(np.ones(shape, np.float32))).all()


def test_a_map_is_kept_and_belongs_to_its_rows(tmp_path):
    collection = read_collection(photo_store(tmp_path))
    first = Layout(collection, Folder(collection.store.path, collection.digest))
    first.start().join()
    assert (first.stage, first.share) == ("done", 1)
    graph = changed_at(collection.store.path / "_index")
    again = Layout(collection, Folder(collection.store.path, collection.digest))
    assert np.array_equal(again.places, first.places)
    again.start().join()
    assert np.array_equal(again.graph.rows, first.graph.rows)
    assert changed_at(collection.store.path / "_index") == graph
    assert Folder(collection.store.path, "0" * 64).array("map", np.float32, 30, 2) is None


def changed_at(folder):
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}


def is_exact(collection, graph):
    """Whether a graph is that of the rows of a collection, but for the rounding of the index."""
    exact = nearest(collection.X, 15)
    return np.array_equal(graph.rows, exact.rows) and graph.cosines == pytest.approx(exact.cosines, abs=1e-4)


def test_the_graph_is_that_of_the_index_in_the_order_of_the_page(tmp_path):
    collection = read_collection(photo_store(tmp_path))
    assert is_exact(collection, collection.graph())
    kept = Index(collection.store.path).neighbours
    assert np.array_equal(collection.order[collection.graph().rows], kept.rows[collection.order])
    assert not (collection.store.path / "_explore").exists()


def test_the_graph_grows_with_the_store(tmp_path):
    path = photo_store(tmp_path)
    read_collection(path).graph()
    more = [record(f"more/{n}.jpg", "more", vector) for n, vector in enumerate(-blobs()[:40:4, :8])]
    with Writer(path, {"scales": [64]}) as writer:
        writer.commit(more, 5)
    collection = read_collection(path)
    assert len(collection) == 40
    assert is_exact(collection, collection.graph())


def test_the_page_compares_as_the_index_does(tmp_path):
    path = write_store(tmp_path / "s.vggfeat", several_scales(30), tmp_path, scales=[64, 128])
    build(path, agg="stack")
    collection = read_collection(path)
    assert collection.X.shape == (30, 16)
    assert is_exact(collection, collection.graph())


def several_scales(n):
    rng = np.random.default_rng(0)
    return [
        Record(f"{i}", None, 80, 60, {q: rng.random(8, np.float32) for q in (64, 128)}, Identity()) for i in range(n)
    ]


def test_a_graph_that_is_not_of_these_rows_is_not_used(tmp_path, capsys):
    path = photo_store(tmp_path)
    sample, whole = read_collection(path, most=20), read_collection(path)
    assert is_exact(sample, sample.graph())
    assert not (path / "_index").exists()
    with Writer(path, {"scales": [64]}) as writer:
        writer.commit([record("new.jpg", None, np.ones(8, np.float32))], 5)
    Index(path)
    assert is_exact(whole, whole.graph())
    assert "was changed while" in capsys.readouterr().err


def started(collection):
    layout = Layout(collection, Folder(collection.store.path, collection.digest))
    layout.start().join()
    return layout


def test_the_graph_of_a_sample_is_kept_and_belongs_to_its_rows(tmp_path):
    path = photo_store(tmp_path)
    sample = read_collection(path, most=20)
    assert is_exact(sample, started(sample).graph)
    assert not (path / "_index").exists()
    folder = Folder(path, sample.digest)
    folder.keep_array("rows", np.full((20, 15), 7, np.int64))
    assert (started(sample).graph.rows == 7).all()  # it is read, and not computed again
    other = read_collection(path, most=19)
    assert is_exact(other, started(other).graph)


@pytest.mark.parametrize(("name", "value"), [("rows", 20), ("rows", -1), ("cosines", 2), ("cosines", np.nan)])
def test_a_damaged_graph_of_a_sample_is_made_again(tmp_path, name, value):
    sample = read_collection(photo_store(tmp_path), most=20)
    started(sample)
    kind = np.int64 if name == "rows" else np.float32
    Folder(sample.store.path, sample.digest).keep_array(name, np.full((20, 15), value, kind))
    assert is_exact(sample, started(sample).graph)


def test_a_graph_that_cannot_be_kept_costs_one_line(tmp_path, capsys):
    path = photo_store(tmp_path)
    (path / "_index").write_text("")
    collection = read_collection(path)
    assert is_exact(collection, collection.graph())
    assert capsys.readouterr().err.count("_index: cannot be written") == 1


def test_more_photos_than_an_index_compares_need_no_faiss(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "faiss", None)
    path = photo_store(tmp_path)
    bring_up_to_date(Store(path), IndexSettings(exact_rows=10), lists=False)
    with pytest.raises(UsageError, match="needs faiss"):
        Index(path)
    collection = read_collection(path)
    assert is_exact(collection, collection.graph())
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damage", [b"", b"\xff" * 240, b"0" * 241])
def test_a_damaged_map_is_made_again(tmp_path, damage):
    collection = read_collection(photo_store(tmp_path))
    folder = Folder(collection.store.path, collection.digest)
    folder.keep_array("map", np.zeros((30, 2), np.float32))
    (folder.path / "map.bin").write_bytes(damage)
    assert np.isfinite(Layout(collection, folder).places).all()
    assert Layout(collection, folder).places.std() > 0


@pytest.mark.parametrize("row", [-2, 30, 2**40])
def test_a_graph_with_rows_that_do_not_exist_is_computed_again(tmp_path, row, capsys):
    collection = read_collection(photo_store(tmp_path))
    collection.graph()
    (file,) = (collection.store.path / "_index").glob("neighbours-*.bin")
    state = collection.store.path / "_index" / "index.json"
    before = sha256(file.read_bytes()).hexdigest()
    file.write_bytes(np.full((30, 15), row, np.int64).tobytes())
    state.write_text(state.read_text().replace(before, sha256(file.read_bytes()).hexdigest()))
    assert is_exact(collection, collection.graph())
    assert "has a graph that is damaged; build it again" in capsys.readouterr().err


def test_a_store_that_cannot_be_written_costs_one_line(tmp_path, capsys):
    (tmp_path / "_explore").write_text("")
    folder = Folder(tmp_path, "0" * 64)
    folder.keep_array("map", np.zeros(2))
    folder.keep_array("rows", np.zeros(2))
    assert capsys.readouterr().err.count("cannot be written") == 1


@pytest.mark.parametrize("link", ["", "0" * 32, f"{'0' * 32}/map.bin"])
def test_links_in_a_store_are_neither_read_nor_written(tmp_path, link, capsys):
    """A store from elsewhere may have a link in place of its folder _explore, of one in it, or of a file."""
    elsewhere = tmp_path / "elsewhere"
    place = tmp_path / "store" / "_explore" / link
    place.parent.mkdir(parents=True)
    file = elsewhere / f"{'0' * 32}/map.bin"[len(link) :].lstrip("/")  # where the link leads to
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(16))
    place.symlink_to(elsewhere)
    folder = Folder(tmp_path / "store", "0" * 64)
    assert folder.array("map", np.float32, 2, 2) is None
    folder.keep_array("map", np.ones((2, 2), np.float32))
    assert "link" in capsys.readouterr().err
    assert file.read_bytes() == bytes(16)


def test_twins_are_found_in_the_graph():
    graph = Neighbours(
        np.array([[1, 2], [0, 2], [3, 0], [2, 1], [0, 1]]),
        np.array([[0.99, 0.2], [0.99, 0.3], [0.98, 0.2], [0.98, 0.3], [0.5, 0.4]], np.float32),
    )
    found = find_twins(graph)
    assert found.threshold.value == 0.975  # of fewer than 8 photos
    assert found.groups == [[0, 1], [2, 3]]
    assert found.cosines == [pytest.approx([0.99, 0.99]), pytest.approx([0.98, 0.98])]


def test_a_label_is_doubtful_if_more_neighbours_have_another_one():
    """Row 0 has label 0; of its neighbours 1 and 2 have label 1, 3 has label 0, and 4 is its twin with label 0."""
    classes = np.array([0, 1, 1, 0, 0, -1])
    graph = Neighbours(
        np.array([[4, 1, 2, 3], [2, 0, 3, 5], [1, 0, 3, 5], [0, 4, 5, 1], [0, 3, 5, 1], [0, 1, 2, 3]]),
        np.array(
            [[0.99, 0.5, 0.4, 0.3], [0.5] * 4, [0.5] * 4, [0.5] * 4, [0.99, 0.5, 0.4, 0.3], [0.5] * 4], np.float32
        ),
    )
    found = find_doubts(graph, classes, TwinThreshold(0.975, ""))
    assert [doubt.row for doubt in found] == [0, 1, 2]
    assert found[0] == Doubt(row=0, label=1, why="2 of 3 neighbours")


def test_a_store_of_one_photo_has_neither_twins_nor_doubts(tmp_path):
    path = write_store(tmp_path / "s.vggfeat", [record("a.jpg", "a", np.ones(4, np.float32))], tmp_path)
    collection = read_collection(path)
    layout = Layout(collection, Folder(path, collection.digest))
    layout.start().join()
    twins = find_twins(layout.graph)
    assert twins.groups == []
    assert find_doubts(layout.graph, collection.classes_of_rows, twins.threshold) == []
