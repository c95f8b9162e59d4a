"""The explorer on a model: which labels it doubts, what it confuses, and whether its store is still there."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.kit.explorers import record, serving, write_store
from tests.kit.trained import FACTS, content
from vggfeat.errors import ModelError, StoreError
from vggfeat.explore import ExploreSettings
from vggfeat.explore.collection import read_collection
from vggfeat.explore.findings import Doubt
from vggfeat.explore.predictions import predictions_of
from vggfeat.explore.serving import desk_of
from vggfeat.model.file import write
from vggfeat.model.stores import store_of


def test_the_least_probable_label_is_the_first_doubt(trained):
    collection = read_collection(trained.held_out.store)
    found = predictions_of(trained, "m", collection).doubts()
    names = [collection.names[doubt.row] for doubt in found]
    assert names == ["red/0.jpg", "red/1.jpg"]
    powers = np.exp(np.array([0.5, -1, 0]) / 0.5)
    blue, _, red = 100 * powers / powers.sum()
    assert found[1] == Doubt(collection.names.index("red/1.jpg"), 0, f"{blue:.0f} %, its own label {red:.0f} %")


def test_confusions_are_counted_and_know_their_photos(trained):
    collection = read_collection(trained.held_out.store)
    again = replace(trained.held_out, margins=np.roll(trained.held_out.margins, 1, axis=1))
    predictions = predictions_of(replace(trained, held_out=again), "m", collection)
    place = {name: number for number, name in enumerate(predictions.classes)}
    found = {
        (one.given, one.predicted): [collection.names[row] for row in one.rows] for one in predictions.confusions()
    }
    assert {pair: sorted(rows) for pair, rows in found.items()} == {
        (place["blue"], place["green"]): ["blue/0.jpg", "blue/1.jpg"],
        (place["green"], place["red"]): ["green/0.jpg", "green/1.jpg"],
        (place["red"], place["green"]): ["red/1.jpg"],
    }
    assert len(predictions.confusions()[-1].rows) == 1
    same = replace(trained.held_out, labels=trained.held_out.margins.argmax(axis=1))
    assert predictions_of(replace(trained, held_out=same), "m", collection).confusions() == []


def test_photos_that_did_not_train_are_not_doubted_and_decided_labels_count(tmp_path):
    """The photo of an unknown class did not train; the one of the class pink was decided to be red."""
    rows = [record(f"{name}/0.jpg", name, np.ones(8, np.float32)) for name in ("pink", "blue", "other")]
    store = write_store(tmp_path / "s.vggfeat", rows, tmp_path, **FACTS)
    model = content(store, ["pink/0.jpg", "blue/0.jpg"], [[1, 0, 0], [1, 0, 0]], labels=[2, 0])
    collection = read_collection(store)
    predictions = predictions_of(model, "m", collection)
    assert predictions.classes == ["blue", "other", "pink", "green", "red"]
    assert [(collection.names[one.row], predictions.classes[one.label]) for one in predictions.doubts()] == [
        ("pink/0.jpg", "blue")
    ]


def test_the_page_of_a_model_has_its_doubts_and_confusions(trained, tmp_path):
    pytest.importorskip("starlette", reason="needs starlette")
    write(trained, tmp_path / "m.vggmodel")
    desk = desk_of(tmp_path / "m.vggmodel", ExploreSettings())
    with serving(desk) as site:
        assert json.loads(site("state").data)["name"] == "m.vggmodel"
        labels, doubts = json.loads(site("labels").data), json.loads(site("doubts").data)
        assert [(one["name"], labels[one["other"]]) for one in doubts["rows"]] == [
            ("red/0.jpg", "green"),
            ("red/1.jpg", "blue"),
        ]
        assert "had not learnt from the photo" in doubts["how"]
        confusions = json.loads(site("confusions").data)
        assert {(labels[one["given"]], labels[one["predicted"]]) for one in confusions} == {
            ("red", "green"),
            ("red", "blue"),
        }
        assert json.loads(site("twins").data) is None  # the photos are not compared yet


def test_the_store_is_found_where_it_was_or_beside_the_model(trained, tmp_path):
    file, store = tmp_path / "models" / "m.vggmodel", tmp_path / "s.vggfeat"
    file.parent.mkdir()
    assert store_of(trained, file).path == store
    store.rename(file.parent / "s.vggfeat")
    assert store_of(trained, file).path == file.parent / "s.vggfeat"
    (file.parent / "s.vggfeat").rename(tmp_path / "other.vggfeat")
    with pytest.raises(
        ModelError, match=r"m\.vggmodel: its store .*s\.vggfeat is not found; put the store beside the model"
    ):
        store_of(trained, file)


def test_a_store_that_has_changed_is_refused(trained, tmp_path):
    file = tmp_path / "m.vggmodel"
    held = trained.held_out
    more = replace(trained, held_out=replace(held, paths=(*held.paths, "gone.jpg"), sha256=(*held.sha256, "")))
    with pytest.raises(ModelError, match=r"1 of 7 photos that trained the model are gone or others, such as gone\.jpg"):
        store_of(more, file)
    other = replace(trained, held_out=replace(held, sha256=("1" * 64, *held.sha256[1:])))
    with pytest.raises(ModelError, match=r"has changed; 1 of 6 photos .* train it again with vggfeat fit"):
        store_of(other, file)
    with pytest.raises(StoreError, match=r"s\.vggfeat: was made with layer 'pool5', and .*m\.vggmodel needs 'pool4'"):
        store_of(replace(trained, fingerprint={**trained.fingerprint, "layer": "pool4"}), file)


def test_a_store_that_has_grown_is_shown(trained, tmp_path):
    Image.new("RGB", (80, 60)).save(tmp_path / "new.jpg")
    rows = [record("new.jpg", "red", np.ones(8, np.float32), tmp_path / "new.jpg")]
    write_store(tmp_path / "s.vggfeat", rows, tmp_path / "photos", **FACTS)
    assert len(store_of(trained, tmp_path / "m.vggmodel")) == 7


def test_a_model_without_photos_says_what_to_do(trained, tmp_path):
    with pytest.raises(
        ModelError, match=r"does not have the photos that trained it.*train it again.*or explore a store"
    ):
        store_of(replace(trained, held_out=None), tmp_path / "m.vggmodel")
