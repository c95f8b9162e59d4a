"""From a folder, a list or a store to a model."""

import shutil

import numpy as np
import pytest
from tests.kit.training_photos import COLOURS, photo

import vggfeat
from vggfeat.errors import DataError, ModelError, StoreError, UsageError
from vggfeat.model.samples import drawn, samples_of_store
from vggfeat.store import Store


@pytest.fixture
def store_of(pool5, tmp_path):
    """Describes photos, given as name -> colour, into a store."""

    def make(photos):
        for seed, (name, colour) in enumerate(photos.items()):
            photo(tmp_path / "photos" / name, COLOURS[colour], seed)
        out = tmp_path / "photos.vggfeat"
        return vggfeat.extract(tmp_path / "photos", out, weights=pool5, layer="pool5", scales=(32,), workers=1).path

    return make


def test_a_folder_gives_a_model_that_tells_its_classes_apart(fitted, colours):
    photos = sorted(colours.rglob("*.png"))
    names = [file.parent.name for file in photos]
    assert fitted.classes_.tolist() == sorted(COLOURS)
    assert fitted.score(photos, names) == 1
    assert fitted.predict(photos).tolist() == names
    assert fitted.figures.recall == 1
    assert fitted.figures.photos == 18


def test_probabilities_are_the_softmax_of_the_margins_of_the_descriptors(fitted, colours, pool5):
    photos = sorted(colours.rglob("*.png"))[::5]
    spec = fitted.spec
    X = vggfeat.describe(photos, weights=pool5, layer="pool5", scales=spec.scales, agg=spec.agg)
    margins = X @ fitted.content.coef.T + fitted.content.intercept
    assert fitted.decision_function(photos) == pytest.approx(margins, abs=1e-4)
    powers = np.exp(margins.astype(float) / fitted.content.temperature)
    assert fitted.predict_proba(photos) == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-3)


def test_the_first_of_the_answers_is_the_prediction_and_the_threshold_decides(fitted, colours):
    photos = sorted(colours.rglob("*.png"))
    margins, answers = fitted.decision_function(photos), fitted.answers(photos, top=2)
    assert [answer.classes[0][0] for answer in answers] == fitted.predict(photos).tolist()
    assert {len(answer.classes) for answer in answers} == {2}
    refused = margins.max(axis=1) < fitted.content.threshold
    assert [answer.none_of_these for answer in answers] == refused.tolist()
    low = np.full((1, 3), fitted.content.threshold - 1, np.float32)
    assert fitted.answers_of(low)[0].none_of_these


def test_a_store_gives_the_same_model_as_its_folder(fitted, colours, pool5):
    again = vggfeat.fit(colours.parent / "colours.vggfeat", weights=pool5, minutes=0.02, jobs=1)
    assert again.content.fingerprint["weights_sha256"] == fitted.content.fingerprint["weights_sha256"]
    assert again.predict(sorted(colours.rglob("*.png"))).tolist() == fitted.predict(sorted(colours.rglob("*.png"))).tolist()


def test_equal_files_are_twins_also_under_other_labels(store_of, tmp_path):
    red = {f"red/{i}.png": "red" for i in range(4)}
    path = store_of(red | {f"blue/{i}.png": "blue" for i in range(4)})
    shutil.copy(tmp_path / "photos/red/0.png", tmp_path / "photos/blue/copy.png")
    shutil.copy(tmp_path / "photos/red/0.png", tmp_path / "photos/red/copy.png")
    model = vggfeat.fit(tmp_path / "photos", store=path, weights=model_weights(path), scales=(32,), minutes=0, jobs=1)
    assert model.figures.twins == 3


def model_weights(store):
    """The file of weights that made a store, beside which it lies in these tests."""
    return Store(store).meta["weights"]


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        ({"a.png": "red", "b.png": "blue"}, r"its photos have no labels; put those of each class into a folder"),
        ({"red/a.png": "red", "red/b.png": "red"}, "all photos are of one class, red; at least two are needed"),
        (
            {"all/red/a.png": "red", "all/blue/b.png": "blue"},
            "one class, all; at least two are needed; the class is the first folder: to use the folders in it, name all",
        ),
        ({"red/a.png": "red", "blue/b.png": "blue", "blue/c.png": "blue"}, r"class red has one photo, red/a\.png; each"),
    ],
    ids=["no labels", "one class", "folders of folders", "one photo"],
)
def test_what_cannot_train_is_refused(store_of, photos, message):
    with pytest.raises(DataError, match=message):
        vggfeat.fit(store_of(photos))


def test_photos_without_a_label_are_counted(store_of):
    path = store_of({"loose.png": "red", **{f"{c}/{i}.png": c for c in ("red", "blue") for i in range(2)}})
    samples = samples_of_store(Store(path), most=100, seed=0)
    assert (len(samples), samples.classes) == (4, ("blue", "red"))
    assert samples.remarks.lines() == ["photos without a label, left out: 1, such as loose.png"]


def test_too_many_photos_are_drawn_evenly_and_counted(store_of):
    path = store_of({f"{c}/{i}.png": c for c, n in (("red", 7), ("blue", 3)) for i in range(n)})
    samples = samples_of_store(Store(path), most=6, seed=0)
    assert np.bincount(samples.labels).tolist() == [3, 3]
    assert "because 6 train at most (--most): 4, such as red/" in samples.remarks.lines()[0]
    assert samples.paths == [Store(path).paths[i] for i in sorted(map(Store(path).paths.index, samples.paths))]


@pytest.mark.parametrize(("most", "counts"), [(8, [3, 3, 2]), (15, [10, 3, 2]), (4, [2, 2, 2])])
def test_a_draw_is_even(most, counts):
    labels = np.repeat([0, 1, 2], [10, 3, 2])
    assert np.bincount(labels[drawn(labels, most, seed=0)]).tolist() == counts


def test_settings_that_a_store_has_already_are_refused(colours, fitted):
    store = colours.parent / "colours.vggfeat"
    with pytest.raises(UsageError, match="is a store, whose descriptors are made already; leave out --scales"):
        vggfeat.fit(store, scales=(64,))
    with pytest.raises(UsageError, match="is a store already; leave out --store"):
        vggfeat.fit(store, store="other")


def test_an_aggregation_cannot_be_given(colours):
    with pytest.raises(UsageError, match="agg is chosen or fixed by fit"):
        vggfeat.fit(colours, agg="max")


def test_labels_of_no_class_of_the_model_are_refused(fitted, colours):
    with pytest.raises(ModelError, match="has no class violet; its classes are blue, green, red"):
        fitted.score([colours / "red/0.png"], ["violet"])


def test_one_image_is_no_list(fitted, colours):
    with pytest.raises(UsageError, match=r"a model takes a list of images; give \[image\] for one"):
        fitted.predict(colours / "red/0.png")
