"""From a folder, a list or a store to a model."""

from dataclasses import replace

import numpy as np
import pytest

import vggfeat
from tests.kit.training_photos import COLOURS
from vggfeat.decisions import Decision
from vggfeat.errors import DataError, ModelError, StoreError, UsageError
from vggfeat.model.samples import Candidate, drawn, refuse_not_finite, samples_of_store
from vggfeat.model.twins import find_twins
from vggfeat.store import Store
from vggfeat.store.identity import Identity
from vggfeat.store.writing import Record, Writer


@pytest.fixture
def store_of(tmp_path):
    """Writes a store of photos with these names, whose descriptors nobody computed."""

    def make(*names, label=lambda name: name.split("/")[0] if "/" in name else None, sha256=None):
        random = np.random.default_rng(0)
        with Writer(tmp_path / "photos.vggfeat", {"scales": [32]}) as writer:
            vectors = random.normal(size=(len(names), 8)).astype(np.float32)
            checksums = sha256 or [None] * len(names)
            writer.commit(
                [
                    Record(name, label(name), 9, 9, {32: vector}, Identity(sha256=checksum))
                    for name, vector, checksum in zip(names, vectors, checksums, strict=True)
                ]
            )
        return Store(writer.path)

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
    hot = replace(fitted, content=replace(fitted.content, temperature=2.0))
    powers = np.exp(margins / 2)
    assert hot.predict_proba(photos) == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-4)


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
    again = vggfeat.fit(colours.parent / "colours.vggfeat", weights=pool5, minutes=0, jobs=1)
    assert again.content.fingerprint["weights_sha256"] == fitted.content.fingerprint["weights_sha256"]
    assert (
        again.predict(sorted(colours.rglob("*.png"))).tolist()
        == fitted.predict(sorted(colours.rglob("*.png"))).tolist()
    )


def test_equal_files_are_twins_also_under_other_labels(store_of):
    """The descriptors are unlike each other; the checksums decide."""
    names = [f"{name}/{i}.jpg" for name in ("red", "blue") for i in range(5)]
    store = store_of(*names, sha256=[f"{k:064x}" for k in (1, 2, 3, 4, 5, 1, 7, 8, 7, 1)])
    samples = samples_of_store(store, most=100, seed=0)
    twins = find_twins(samples.matrix(Candidate((32,))), samples.sha256)
    assert [len(set(twins.groups[rows])) for rows in ([0, 5, 9], [6, 8], [0, 6], range(10))] == [1, 1, 2, 7]
    assert "twins: 5 photos in 2 groups" in str(twins)


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        (["a.png", "b.png"], r"its photos have no labels; put those of each class into a folder"),
        (["red/a.png", "red/b.png"], "all photos are of one class, red; at least two are needed$"),
        (
            ["all/red/a.png", "all/blue/b.png"],
            "needed; the class is the first folder: to use the folders in it, give all as",
        ),
        (["red/a.png", "blue/b.png", "blue/c.png"], r"class red has one photo, red/a\.png; each class needs two"),
    ],
    ids=["no labels", "one class", "folders of folders", "one photo"],
)
def test_what_cannot_train_is_refused(store_of, photos, message):
    with pytest.raises(DataError, match=message):
        samples_of_store(store_of(*photos), most=100, seed=0)


def test_photos_without_a_label_are_counted(store_of):
    store = store_of("loose.png", "red/1.png", "red/2.png", "blue/1.png", "blue/2.png")
    samples = samples_of_store(store, most=100, seed=0)
    assert (samples.paths, samples.classes) == (store.paths[1:], ("blue", "red"))
    assert samples.labels.tolist() == [1, 1, 0, 0]
    assert samples.remarks.lines() == ["photos without a label, left out: 1, such as loose.png"]


def test_decisions_remove_and_relabel_photos(store_of):
    store = store_of("red/1.png", "red/2.png", "red/3.png", "blue/1.png", "blue/2.png", "blue/3.png")
    decisions = {
        "red/1.png": Decision("remove"),
        "red/2.png": Decision("relabel", "blue"),
        "blue/1.png": Decision("relabel", "red"),
        "blue/2.png": Decision("keep"),
        "gone.png": Decision("remove"),
    }
    samples = samples_of_store(store, 100, 0, decisions)
    labels = [samples.classes[number] for number in samples.labels]
    assert dict(zip(samples.paths, labels, strict=True)) == {
        "red/2.png": "blue", "red/3.png": "red", "blue/1.png": "red", "blue/2.png": "blue", "blue/3.png": "blue",
    }  # fmt: skip
    assert sorted(samples.remarks.lines()) == [
        "decisions on images that the source does not have: 1, such as gone.png",
        "images left out, because it was decided to remove them: 1, such as red/1.png",
    ]


def test_fit_takes_a_table_of_decisions(fitted, colours, pool5, tmp_path, capfd):
    """Without red there are two classes."""
    removed = "".join(f"red/{i}.png,remove,,\n" for i in range(6))
    (tmp_path / "d.csv").write_text(f"path,decision,label,reason\n{removed}")
    store = colours.parent / "colours.vggfeat"
    model = vggfeat.fit(store, decisions=tmp_path / "d.csv", weights=pool5, minutes=0, jobs=1)
    assert "red" not in model.classes_
    assert "decided to remove them: 6, such as red/0.png" in capfd.readouterr().err
    (tmp_path / "d.csv").write_text("path,decision,label,reason\nred/0.png,burn,,\n")
    with pytest.raises(DataError, match=r"d\.csv: cannot be read .*'burn' is no decision"):
        vggfeat.fit(store, decisions=tmp_path / "d.csv", weights=pool5)


def test_too_many_photos_are_drawn_evenly_and_counted(store_of):
    store = store_of(*(f"red/{i}.png" for i in range(7)), *(f"blue/{i}.png" for i in range(3)))
    samples = samples_of_store(store, most=6, seed=0)
    assert np.bincount(samples.labels).tolist() == [3, 3]
    assert "because 6 train at most (--most): 4, such as red/" in samples.remarks.lines()[0]
    every = vggfeat.load(store.path, normalize="none")
    assert samples.scales[32].tolist() == [every.X[every.paths.index(path)].tolist() for path in samples.paths]


def test_a_descriptor_that_is_not_finite_is_named():
    with pytest.raises(StoreError, match=r"s: the descriptor of b\.jpg has values that are not finite"):
        refuse_not_finite(np.array([[1, 2], [np.nan, 0]]), ["a.jpg", "b.jpg"], "s")


@pytest.mark.parametrize(("most", "counts"), [(8, [3, 3, 2]), (15, [10, 3, 2]), (4, [2, 2, 2])])
def test_a_draw_is_even(most, counts):
    labels = np.repeat([0, 1, 2], [10, 3, 2])
    assert np.bincount(labels[drawn(labels, most, seed=0)]).tolist() == counts


def test_settings_that_a_store_has_already_are_refused(colours, fitted):
    store = colours.parent / "colours.vggfeat"
    with pytest.raises(UsageError, match="is a store, whose descriptors are made already; leave out scales"):
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
