"""The file of a model: whole, bounded, never unpickled."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.kit.damage import changed_json, flipped
from vggfeat import Model
from vggfeat.errors import ModelError, VggfeatError, WeightsError
from vggfeat.model.file import read, write


def test_a_model_is_the_same_after_it_was_saved(fitted, model_file, pool5, colours):
    photos = sorted(colours.rglob("*.png"))
    again = Model.load(model_file, weights=pool5)
    assert (again.decision_function(photos) == fitted.decision_function(photos)).all()
    assert again.answers(photos) == fitted.answers(photos)
    assert again.content.figures["value"] == 100
    held, before = again.content.held_out, fitted.content.held_out
    assert held.photos() == before.photos()
    assert (held.margins == before.margins).all()


def test_a_model_of_an_earlier_version_has_no_held_out_photos(model_file, fitted, tmp_path):
    file = tmp_path / "m.vggmodel"
    save_file({name: load_file(model_file)[name] for name in ("coef", "intercept")}, file, header(model_file))
    old = Model.load(file).content
    assert old.held_out is None
    assert (old.coef == fitted.content.coef).all()


def test_other_tools_can_read_it(model_file, fitted):
    tensors = load_file(model_file)
    photos = tensors.pop("photos").tobytes()
    assert len(json.loads(photos)["paths"]) == 18
    assert {name: array.shape for name, array in tensors.items()} == {
        "coef": fitted.content.coef.shape,
        "intercept": (3,),
        "margins": (18, 3),
    }


def test_other_weights_are_refused_by_name(model_file, tiny_weights, colours):
    other = tiny_weights("A", width=1 / 16, top="fc7")
    model = Model.load(model_file, weights=other)
    with pytest.raises(WeightsError, match=r"was made with the weights A-.*sha256 .*, not with .*fc7.*name the file"):
        model.predict([colours / "red/0.png"])


def test_weights_that_are_a_file_are_asked_for(model_file, colours):
    with pytest.raises(WeightsError, match=r"which are in no list; name the file A-.*\.safetensors with --weights"):
        Model.load(model_file).predict([colours / "red/0.png"])


def test_weights_in_the_current_folder_are_found_by_their_name(model_file, fitted, colours, pool5, monkeypatch):
    monkeypatch.chdir(Path(pool5).parent)
    photo = colours / "red/0.png"
    for weights in (None, Path(pool5).name):
        model = Model.load(model_file, weights=weights)
        np.testing.assert_array_equal(model.decision_function([photo]), fitted.decision_function([photo]))


def test_a_model_of_many_classes_can_be_read_again(fitted, tmp_path):
    """Names and figures of each class fit into the bounded header."""
    names = tuple(f"{'long name ' * 3}{i}" for i in range(5000))
    figures = {**fitted.content.figures, "per_class": dict.fromkeys(names, 12.345678901234567)}
    assert "confusion" not in figures
    many = replace(
        fitted.content,
        classes=names,
        coef=np.zeros((5000, 32), np.float32),
        intercept=np.zeros(5000, np.float32),
        figures=figures,
        held_out=None,
    )
    write(many, tmp_path / "many.vggmodel")
    assert Model.load(tmp_path / "many.vggmodel").content.classes == names


def changed(model_file, out, metadata=None, **tensors):
    """The file with other tensors or other facts."""
    facts = json.loads(header(model_file)["model"]) | (metadata or {})
    arrays = load_file(model_file) | tensors
    save_file(arrays, out, {**header(model_file), "model": json.dumps(facts)})
    return out


def header(file):
    data = file.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


@pytest.mark.parametrize(
    ("metadata", "tensors", "message"),
    [
        ({"classes": ["a", "b"]}, {}, "coef is not float32 with a row for each of its 2 classes"),
        ({"classes": ["a", "a", "b"]}, {}, "it has a class twice"),
        ({"classes": ["a", "b", ""]}, {}, "of length >= 1"),
        ({"temperature": 0}, {}, "> 0.0"),
        ({"threshold": float("nan")}, {}, "threshold"),
        ({"agg": "median"}, {}, "Invalid enum value 'median'"),
        ({"fingerprint": {}}, {}, "missing required field 'net'"),
        ({}, {"coef": np.full((3, 32), np.nan, np.float32)}, "coef has values that are not finite"),
        ({}, {"coef": np.zeros((3, 32))}, "coef is not float32"),
        ({}, {"intercept": np.zeros((3, 1), np.float32)}, "intercept is not float32"),
        (
            {},
            {"margins": np.zeros((18, 2), np.float32)},
            "margins is not float32 with a column for each of its 3 classes",
        ),
        ({}, {"margins": np.zeros((17, 3), np.float32)}, "its held-out photos, their labels and margins do not fit"),
        ({}, {"margins": np.full((18, 3), np.inf, np.float32)}, "margins has values that are not finite"),
        ({}, {"photos": np.zeros(9)}, "photos is not uint8"),
        ({}, {"photos": np.frombuffer(b'{"store": "s"}', np.uint8)}, "missing required field 'paths'"),
    ],
)
def test_what_does_not_fit_is_refused(model_file, tmp_path, metadata, tensors, message):
    with pytest.raises(ModelError, match=message):
        Model.load(changed(model_file, tmp_path / "m.vggmodel", metadata, **tensors))


def test_svms_of_another_length_are_refused(model_file, tmp_path, pool5, colours):
    file = changed(model_file, tmp_path / "m.vggmodel", coef=np.zeros((3, 7), np.float32))
    with pytest.raises(ModelError, match="its SVMs have 7 weights for"):
        Model.load(file, weights=pool5).predict([colours / "red/0.png"])


def test_descriptors_that_cannot_be_made_again_are_refused(model_file, tmp_path, pool5, colours):
    fingerprint = json.loads(header(model_file)["model"])["fingerprint"]
    boxes = changed(model_file, tmp_path / "a", {"fingerprint": {**fingerprint, "view": "box"}})
    with pytest.raises(ModelError, match="its descriptors depend on view"):
        Model.load(boxes)
    older = changed(model_file, tmp_path / "b", {"fingerprint": {**fingerprint, "rescaling": "nearest"}})
    with pytest.raises(ModelError, match="was made of descriptors with rescaling 'nearest', not"):
        Model.load(older, weights=pool5).predict([colours / "red/0.png"])


def test_what_is_no_model_is_refused(tmp_path, pool5):
    with pytest.raises(ModelError, match="no such model; make one with vggfeat fit"):
        Model.load(tmp_path / "none.vggmodel")
    with pytest.raises(ModelError, match="not a regular file"):
        Model.load(tmp_path)
    with pytest.raises(ModelError, match="not of the format vggfeat-model/1"):
        Model.load(pool5)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ModelError, match="is not a safetensors file; name a model"):
        Model.load(tmp_path / "text")
    with pytest.raises(ModelError, match="more than 4 bytes"):
        read(tmp_path / "text", max_bytes=4)


def test_damage_is_one_line(model_file, tmp_path):
    """Bits that are flipped, cuts, and facts of other types: a model that can be used, or one line."""
    data, draw = model_file.read_bytes(), random.Random(0)
    facts = header(model_file)["model"].encode()
    refused = 0
    for number in range(120):
        file = tmp_path / "m.vggmodel"
        if number % 3 == 2:
            text = changed_json(facts, draw).decode(errors="replace")
            save_file(load_file(model_file), file, {**header(model_file), "model": text})
        else:
            file.write_bytes(flipped(data, draw) if number % 3 else data[: draw.randrange(len(data))])
        try:
            model = Model.load(file)
            assert np.isfinite(model.margins(np.zeros((1, model.content.coef.shape[1]), np.float32))).all()
        except VggfeatError as error:
            refused += 1
            assert "\n" not in str(error)
            assert str(file) in str(error)
    assert refused > 60
