"""The commands fit and predict."""

import csv
import json
import shutil

import pytest
from typer.testing import CliRunner

from tests.kit.training_photos import COLOURS, photo
from vggfeat import ModelError, VggfeatError
from vggfeat.cli import app


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
