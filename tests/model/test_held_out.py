"""The photos that trained a model, as it sees them without having learnt from them."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from sklearn.svm import LinearSVC

import vggfeat
from tests.kit.clusters import clusters, trainer
from vggfeat.errors import ModelError
from vggfeat.model.folds import grouped_folds
from vggfeat.model.held_out import TOO_MANY, held_out_from, held_out_of
from vggfeat.model.samples import Candidate
from vggfeat.model.stores import store_of
from vggfeat.store import Store


def test_a_model_has_the_names_files_and_classes_of_its_photos(fitted, colours):
    held = fitted.content.held_out
    assert held.store == str(colours.parent / "colours.vggfeat")
    assert sorted(held.paths) == [str(file.relative_to(colours)) for file in sorted(colours.rglob("*.png"))]
    assert [fitted.classes_[number] for number in held.labels] == [path.split("/")[0] for path in held.paths]
    assert list(held.sha256) == [hashlib.sha256((colours / path).read_bytes()).hexdigest() for path in held.paths]
    assert (held.margins.argmax(axis=1) == held.labels).all()


def test_an_anonymous_model_says_nothing_of_its_photos_and_predicts_the_same(fitted, model_file, colours, tmp_path):
    model = vggfeat.fit(colours.parent / "colours.vggfeat", minutes=0, jobs=1, anonymous=True)
    file = model.save(tmp_path / "anonymous.vggmodel")
    held = fitted.content.held_out
    private = [text.encode() for text in (held.store, *held.paths, *held.sha256)]
    assert all(text in model_file.read_bytes() for text in private)
    assert not any(text in file.read_bytes() for text in private)
    store = Store(colours.parent / "colours.vggfeat")
    assert vggfeat.Model.load(file).predict(store).tolist() == fitted.predict(store).tolist()
    with pytest.raises(ModelError, match=r"does not have the photos that trained it, because it was .* --anonymous"):
        store_of(model.content, file)


def test_a_photo_is_scored_by_svms_that_saw_neither_it_nor_its_twin():
    samples, groups = replace(clusters(apart=1.0), store="s.vggfeat"), np.arange(36) // 2
    trained = trainer(samples, groups).train(np.arange(36), [Candidate((64,))])
    held = held_out_of(samples, trained, [])
    assert (held.paths, held.labels.tolist()) == (tuple(samples.paths), samples.labels.tolist())
    X, folds = samples.matrix(Candidate((64,))), grouped_folds(samples.labels, groups, seed=0)
    assert (folds[::2] == folds[1::2]).all()
    for out in (folds == number for number in range(5)):
        other = LinearSVC(C=trained.C, tol=1e-8, max_iter=100_000).fit(X[~out], samples.labels[~out])
        assert held.margins[out] == pytest.approx(other.decision_function(X[out]), abs=1e-3)


def test_too_many_photos_are_not_kept_and_it_is_said():
    samples, notes = replace(clusters(), store="s.vggfeat"), []
    trained = trainer(samples).train(np.arange(36), [Candidate((64,))])
    size = len(held_out_of(samples, trained, notes).photos())
    assert held_out_of(samples, trained, notes, most=36 * 3, most_bytes=size) is not None
    assert notes == []
    assert held_out_of(samples, trained, notes, most=36 * 3 - 1) is None
    assert held_out_of(samples, trained, notes, most_bytes=size - 1) is None
    assert notes == [TOO_MANY] * 2


def test_labels_of_no_class_are_refused(fitted):
    held = fitted.content.held_out
    photos = replace(held, labels=held.labels + 1).photos()
    with pytest.raises(ValueError, match="its held-out photos, their labels and margins do not fit each other"):
        held_out_from(photos, held.margins)
