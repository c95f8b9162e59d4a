"""The commands fit and predict."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import vggfeat
from tests.kit.training_photos import COLOURS, photo
from vggfeat import Model, ModelError, VggfeatError
from vggfeat.cli import app
from vggfeat.errors import StoreError
from vggfeat.store import Store
from vggfeat.store.writing import Record, Writer


@pytest.fixture
def command(model_file, pool5, monkeypatch, tmp_path):
    """Runs vggfeat predict with the model in a folder of its own; returns the lines of stdout."""
    monkeypatch.chdir(tmp_path)

    def run(*words, ends=None):
        ran = CliRunner().invoke(app, ["predict", str(model_file), *map(str, words), "--weights", pool5])
        assert type(ran.exception) is (ends or type(None)), ran.output
        return ran.stdout.splitlines(), str(ran.exception), ran.stderr

    return run


def test_a_folder_is_predicted_in_its_order(command, colours):
    lines, *_ = command(colours, "--top", "1")
    names = [line for line in lines if line.endswith(".png")]
    assert names == [str(file) for file in sorted(colours.rglob("*.png"))]
    assert [line.split()[-1] for line in lines if " % " in line] == [name.split("/")[-2] for name in names]


def test_files_hold_what_is_printed(command, colours, tmp_path):
    shutil.copy(colours / "red/0.png", tmp_path / "a,b é.png")
    photo(tmp_path / "grey.png", (128, 128, 128), 0)
    names = ["a,b é.png", "grey.png"]
    lines, *_ = command(*names, "--csv", "t.csv", "--json", "t.json", "--top", "2")
    assert lines == []
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()))
    found = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    printed, *_ = command(*names, "--top", "2")
    assert [row["path"] for row in rows] == [one["path"] for one in found] == names
    assert rows[0]["class_1"] == found[0]["classes"][0]["name"] == "red"
    for row, one in zip(rows, found, strict=True):
        assert float(row["probability_2"]) == pytest.approx(one["classes"][1]["probability"], rel=1e-5)
        assert row["none_of_these"] == str(int(one["none_of_these"]))
    assert sum(line.strip() == "none of these" for line in printed) == sum(one["none_of_these"] for one in found)


def test_a_photo_that_cannot_be_read_is_a_line_and_the_others_go_on(command, colours, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    words = ["gone.jpg", "broken.jpg", colours / "red/0.png"]
    lines, error, said = command(*words, "--top", "1", ends=VggfeatError)
    assert lines[0] == str(colours / "red/0.png")
    assert error == "2 of 3 photos could not be read; the lines above say why"
    assert "gone.jpg: no such folder, list or image" in said
    assert "broken.jpg: " in said
    command(*words, "--json", "t.json", ends=VggfeatError)
    found = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert ["error" in one for one in found] == [True, True, False]


def test_files_that_are_no_photos_are_counted(command, colours, tmp_path):
    folder = tmp_path / "mixed"
    photo(folder / "1.png", COLOURS["red"], 0)
    (folder / "notes.txt").write_text("x")
    *_, said = command(folder)
    assert "files that are not images, by their suffix: 1 (.txt), such as notes.txt" in said
    (folder / "1.png").unlink()
    assert "has no photos; name photos or folders" in command(folder, ends=VggfeatError)[1]


def test_no_files_are_left_if_the_weights_are_others(model_file, colours, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["predict", str(model_file), str(colours), "--csv", "t.csv", "--weights", "slim"]
    ran = CliRunner().invoke(app, words)
    assert "not with slim" in str(ran.exception)
    assert list(tmp_path.iterdir()) == []


def test_fit_writes_a_model_and_its_figures(colours, pool5, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = colours.parent / "colours.vggfeat"
    words = ["fit", str(store), "--out", "m.vggmodel", "--json", "m.json", "--minutes", "0", "--jobs", "1"]
    ran = CliRunner().invoke(app, words)
    assert ran.exception is None, ran.output
    assert ran.stdout.splitlines()[-1] == "m.vggmodel: a model of 3 classes"
    figures = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert (figures["photos"], figures["folds"]) == (18, 2)
    counts = figures["confusion"]["counts"]
    assert sum(map(sum, counts)) == figures["held_out"]
    assert f"mean class recall {figures['value']:.1f} %" in ran.stdout


def test_a_model_that_is_missing_is_said(command):
    ran = CliRunner().invoke(app, ["predict", "none.vggmodel", "a.jpg"])
    assert isinstance(ran.exception, ModelError)
    assert str(ran.exception).startswith("none.vggmodel: no such model")


def test_a_store_is_predicted_as_its_photos_are(fitted, colours, model_file):
    """It needs no weights. The last digits of a descriptor may depend on how many share its batch."""
    store, photos = colours.parent / "colours.vggfeat", sorted(colours.rglob("*.png"))
    model = Model.load(model_file, weights="none.safetensors")
    margins = model.decision_function(store)
    assert margins == pytest.approx(fitted.decision_function(photos), abs=1e-5)
    assert model.predict(Store(store)).tolist() == fitted.predict(photos).tolist()
    X = vggfeat.load(store, agg=model.spec.agg, scales=model.spec.scales).X
    assert (model.margins(X[3:5]) == margins[3:5]).all()


def test_a_store_a_folder_and_a_photo_are_predicted_in_their_order_and_alike_to_the_bit(command, colours):
    photo, store = colours / "red/0.png", colours.parent / "colours.vggfeat"
    command(store, colours, photo, "--json", "t.json")
    found = json.loads(Path("t.json").read_text())
    rows, photos = found[:18], found[18:36]
    assert [one["path"] for one in found[36:]] == [str(photo)]
    assert [one["path"] for one in photos] == [f"{colours}/{one['path']}" for one in rows]
    assert [one["classes"] for one in photos] == [one["classes"] for one in rows]


def stored(path, fingerprint, *vectors, failures=()):
    """A store of these descriptors."""
    with Writer(path, fingerprint) as writer:
        scales = fingerprint["scales"]
        writer.commit([Record(f"{i}.png", None, 9, 9, dict.fromkeys(scales, v)) for i, v in enumerate(vectors)])
        for name in failures:
            writer.fail(name, "is truncated")
    return path


def test_what_failed_in_a_store_fails_again(fitted, command, tmp_path):
    made = fitted.content.fingerprint
    stored(tmp_path / "s.vggfeat", made, np.ones(32, np.float32), failures=["broken.jpg"])
    lines, error, said = command("s.vggfeat", "--top", "1", ends=VggfeatError)
    assert lines[0] == "0.png"
    assert "broken.jpg: is truncated" in said
    assert error.startswith("1 of 2 photos could not be read")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"layer": "conv5_1"},
            r"s\.vggfeat: was made with layer 'conv5_1', and the model needs 'pool5'; give the photos",
        ),
        ({"weights_sha256": "0" * 64}, "was made with weights_sha256 '0000.*', and the model needs '"),
        ({"scales": [64]}, r"was made with scales \[64\], and the model needs \["),
    ],
)
def test_a_store_of_other_descriptors_is_refused(fitted, tmp_path, changed, message):
    stored(tmp_path / "s.vggfeat", {**fitted.content.fingerprint, **changed}, np.ones(32, np.float32))
    with pytest.raises(StoreError, match=message):
        fitted.predict(tmp_path / "s.vggfeat")
