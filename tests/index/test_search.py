"""Search among the rows of a store, against scikit-learn."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import NearestNeighbors

import vggfeat
from tests.kit.foreign_files import torchvision_net
from tests.kit.vector_stores import FINGERPRINT, clustered, named, unit_rows, write
from vggfeat.errors import StoreError, UsageError, WeightsError
from vggfeat.index import Index, build
from vggfeat.index.tuning import exact
from vggfeat.store.writing import Record, Writer


def truth(X, Q, k):
    return NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(X).kneighbors(Q)[1]


@pytest.fixture
def store(tmp_path):
    return write(tmp_path / "s.vggfeat", unit_rows(50), named(50))


def test_the_nearest_rows_are_those_of_scikit_learn(store):
    Q = unit_rows(20, seed=1)
    np.testing.assert_array_equal(Index(store).nearest(Q, 7).rows, truth(unit_rows(50), Q, 7))


def test_a_match_has_name_label_similarity_and_row(store):
    best, second = Index(store).search(3 * unit_rows(50)[20], k=2)  # of any norm
    assert best[:2] == ("0020.jpg", "cat")
    assert best.row == 20
    assert best.similarity == pytest.approx(1, abs=3e-5)
    assert second.similarity == pytest.approx(np.sort(unit_rows(50) @ unit_rows(50)[20])[-2], abs=3e-5)


def test_several_queries_give_several_lists_and_too_large_a_k_gives_all_rows(store):
    found = Index(store).search(unit_rows(2, seed=1), k=99)
    assert [sorted(match.row for match in one) for one in found] == [list(range(50))] * 2


def test_the_scales_are_aggregated_as_the_settings_say(tmp_path):
    with Writer(tmp_path / "s", FINGERPRINT | {"scales": [256, 384]}, agg="mean") as writer:
        vectors = [([4, 0], [0, 3]), ([0, 1], [0, 1])]
        writer.commit(
            [
                Record(f"{n}", None, 9, 9, {256: np.array(a, "f4"), 384: np.array(b, "f4")})
                for n, (a, b) in enumerate(vectors)
            ]
        )
    assert Index(tmp_path / "s").descriptors([0])[0] == pytest.approx([0.8, 0.6], abs=2e-5)
    assert build(tmp_path / "s", agg="stack").descriptors([0])[0] == pytest.approx([0.8, 0, 0, 0.6], abs=2e-5)
    assert Index(tmp_path / "s").settings.agg == "stack"


def test_a_photo_of_the_store_is_not_its_own_neighbour(store):
    index = Index(store)
    expected = truth(unit_rows(50), unit_rows(50), 21)[:, 1:]
    np.testing.assert_array_equal(index.neighbours.rows, expected[:, :15])
    np.testing.assert_array_equal(index.nearest(store, 20).rows, expected)
    assert [match.row for match in index.search(store, 2)[7]] == expected[7, :2].tolist()


def test_the_rows_of_another_store_are_searched_for(store, tmp_path):
    other = write(tmp_path / "q.vggfeat", unit_rows(5, seed=1), named(5))
    np.testing.assert_array_equal(Index(store).nearest(other, 3).rows, truth(unit_rows(50), unit_rows(5, seed=1), 3))


def test_a_store_that_was_made_otherwise_is_refused(store, tmp_path):
    other = write(tmp_path / "q.vggfeat", unit_rows(5), named(5), fingerprint=FINGERPRINT | {"layer": "fc6"})
    with pytest.raises(StoreError, match=r"q.vggfeat: was made with layer 'fc6', and .*s.vggfeat has 'fc7'"):
        Index(store).search(other)


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [
        (np.zeros(16, np.float32), 0, "k must be 1 or more, not 0"),
        (np.zeros(5, np.float32), 1, r"shape \(5,\); this index has descriptors of 16 values"),
        (np.full(16, np.nan, np.float32), 1, "a value that is not finite"),
    ],
)
def test_queries_that_do_not_fit(store, query, k, message):
    with pytest.raises(UsageError, match=message):
        Index(store).search(query, k)


@pytest.mark.parametrize(
    ("option", "value"), [("goal", 1.5), ("exact_rows", -1), ("agg", "sum"), ("normalize", "none")]
)
def test_settings_that_are_invalid(store, option, value):
    with pytest.raises(UsageError, match=r"goal must|exact_rows must|no aggregation|no normalisation"):
        build(store, **{option: value})


def test_a_store_without_rows_and_no_store(tmp_path):
    with Writer(tmp_path / "s", FINGERPRINT):
        pass
    with pytest.raises(StoreError, match="has no rows yet"):
        Index(tmp_path / "s")
    with pytest.raises(StoreError, match="no such store"):
        Index(tmp_path / "t")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A store of four photos, and their folder."""
    folder = tmp_path_factory.mktemp("photos")
    for n in range(4):
        pixels = np.random.default_rng(n).integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((80, 60), Image.Resampling.BICUBIC).save(folder / f"{n}.png")
    store = folder.parent / "photos.vggfeat"
    vggfeat.extract(folder, store, weights="slim", layer="pool5", scales=(64,))
    return folder, store


def test_a_photo_finds_itself(photos):
    folder, store = photos
    index = vggfeat.Index(store)
    best = index.search(folder / "2.png", k=1)[0]
    assert (best.path, round(best.similarity, 3)) == ("2.png", 1)
    assert [one[0].path for one in index.search([folder / "1.png", folder / "3.png"])] == ["1.png", "3.png"]


def test_other_weights_than_those_of_the_store_are_refused(photos, tmp_path):
    _, store = photos
    meta = json.loads((store / "meta.json").read_text())
    other = write(tmp_path / "s", unit_rows(3, 96), named(3), fingerprint={**meta["fingerprint"], "scales": [256]})
    made = json.loads((other / "meta.json").read_text())
    (other / "meta.json").write_text(json.dumps(made | {"weights": "mine.safetensors"}))
    with pytest.raises(WeightsError, match=r"the weights mine\.safetensors .*; name the file mine\.safetensors with"):
        Index(other).search(np.zeros((9, 9, 3), np.uint8))
    changed = meta["fingerprint"] | {"scales": [256], "weights_sha256": "ab" * 32}
    other = write(tmp_path / "t", unit_rows(3, 96), named(3), fingerprint=changed)
    (other / "meta.json").write_text(json.dumps(json.loads((other / "meta.json").read_text()) | {"weights": "slim"}))
    with pytest.raises(WeightsError, match=r"weights slim .*abababababab…\), not .*has another slim: make it again"):
        Index(other).search(np.zeros((9, 9, 3), np.uint8))


def test_a_store_of_a_given_lineage_is_searched_by_the_same_lineage(photos, tmp_path, monkeypatch):
    """Converted with another lineage the same file has another checksum."""
    folder, _ = photos
    monkeypatch.chdir(tmp_path)
    torch.save(torchvision_net("A").state_dict(), "w.pth")
    vggfeat.extract(folder, "w.vggfeat", weights="w.pth", lineage="oxford", layer="pool5", scales=(32,))
    best = Index("w.vggfeat", weights="w.pth", lineage="oxford").search(folder / "2.png", k=1)
    assert [(match.path, round(match.similarity, 3)) for match in best] == [("2.png", 1)]
    with pytest.raises(WeightsError, match=r"not with w\.pth .*, and its --lineage if one was given"):
        Index("w.vggfeat", weights="w.pth", lineage="torchvision").search(folder / "2.png")


def test_many_rows_are_searched_in_pieces(tmp_path):
    X, Q = clustered(70), clustered(3, seed=1)
    found = exact(X, np.arange(10, 70), Q, 4, values=7 * 32)  # seven rows at once
    np.testing.assert_array_equal(found.rows, 10 + truth(X[10:], Q, 4))
