"""Splits in a file, and records of results."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vggfeat import cli
from vggfeat.bench import BENCHMARKS, BenchmarkResult, BenchmarkSettings, check, read_record, record_of, run
from vggfeat.bench.mean_class_recall import class_splits
from vggfeat.bench.protocol import hold_out
from vggfeat.bench.split_files import read_splits, write_splits
from vggfeat.data import ImageSet
from vggfeat.data.base import Sample, single_label
from vggfeat.errors import DataError, UsageError


@pytest.fixture
def images():
    pixels = np.random.default_rng(0).integers(0, 255, (16, 32, 40, 3), np.uint8)
    return single_label("folder", "ab", [Sample(f"{'ab'[i % 2]}/{i:02}.png", pixels[i], i % 2) for i in range(16)])


@pytest.fixture
def splits(images):
    """Those of Caltech's protocol, in which a fifth of the training images chooses C."""
    settings = BenchmarkSettings(seeds=2, train_per_class=5, test_per_class=2)
    return class_splits(BENCHMARKS["caltech101"], images, settings)


def test_splits_come_back_as_they_were_written(images, splits, tmp_path):
    write_splits(splits, images, "folder", tmp_path / "s.json")
    text = (tmp_path / "s.json").read_text()
    assert '"b/03.png"' in text  # names, not rows
    back = read_splits(tmp_path / "s.json", images, "folder")
    assert back.by_seed.keys() == {0, 1}
    for seed, fold in splits.by_seed.items():
        assert fold.named() == back.by_seed[seed].named()


def test_the_result_of_a_run_comes_back_with_its_splits(images, tmp_path):
    folder = replace(BENCHMARKS["folder"], read=lambda root: images)
    options = {"weights": "slim", "layer": "pool5", "scales": (32,), "stores": tmp_path / "stores", "jobs": 1}
    file = tmp_path / "s.json"
    first = run(folder, seeds=2, save_splits=file, **options)
    again = run(folder, splits=file, **options)
    assert again.splits == first.splits
    assert again.config["splits"].startswith("given, sha256 ")
    with pytest.raises(UsageError, match="a file of splits decides"):
        run(folder, seeds=2, splits=file, **options)


def test_without_validation_it_is_drawn_from_the_training_images(images, tmp_path):
    given = {"train": [f"a/{i:02}.png" for i in (0, 2, 4, 6)] + ["b/01.png", "b/03.png"], "test": ["a/08.png"]}
    (tmp_path / "s.json").write_text(json.dumps({"benchmark": "folder", "splits": [given]}))
    fold = read_splits(tmp_path / "s.json", images, "folder").by_seed[0]
    assert fold.validation.tolist() == hold_out(images, fold.train, 0).tolist()
    assert len(fold.validation) == 2  # a fifth of 4 and of 2, at least one each


def test_without_validation_the_protocol_chooses(images, splits, tmp_path):
    """A folder's own images: cross-validation, which names no images in the file either."""
    folder = BENCHMARKS["folder"]
    crossed = class_splits(folder, images, BenchmarkSettings(seeds=1, train_per_class=5))
    write_splits(crossed, images, "folder", tmp_path / "s.json")
    assert "validation" not in json.loads((tmp_path / "s.json").read_text())["splits"][0]
    back = read_splits(tmp_path / "s.json", images, "folder", folder.protocol.validation)
    assert back.by_seed[0].named() == crossed.by_seed[0].named()
    assert back.choice == crossed.choice == {"validation": "5-fold cross-validation"}
    assert splits.choice == {}


def one(**changes):
    return {"train": ["a/00.png", "a/02.png", "b/01.png"], "test": ["a/04.png"], **changes}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as splits"),
        ("[]", r"cannot be read as splits \(Expected 'object', got 'array'\)"),
        ("[" * 100_000, "cannot be read as splits"),
        ('{"benchmark": "caltech101", "splits": []}', "has the splits of 'caltech101', not of folder"),
        ([], "has no splits"),
        ([1], "split 0 has no seed"),
        ([one(seed=1), one(seed=1)], "split 1 has no seed of its own; give each split a different whole number"),
        ([one(seed=-1)], "has no seed"),
        ([one(test=[])], "split 0 has no test"),
        ([one(train="a/00.png")], "split 0 has no train"),
        ([one(train=[3])], "split 0 has no train"),
        ([one(test=["c/1.png", "../x"])], "names 2 images that folder does not have, such as 'c/1.png'"),
        ([one(test=["a/04.png", "a/04.png"])], "names an image twice in test"),
        ([one(test=["a/02.png"])], "1 images in train and test, such as a/02.png"),
        ([one(validation=["a/04.png"])], "a/04.png is in validation but not in train"),
    ],
)
def test_a_file_that_can_not_serve_is_one_line(text, message, images, tmp_path):
    file = tmp_path / "s.json"
    file.write_text(text if isinstance(text, str) else json.dumps({"benchmark": "folder", "splits": text}))
    with pytest.raises(DataError, match=message) as caught:
        read_splits(file, images, "folder")
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)


def test_people_of_an_image_are_on_one_side(tmp_path):
    """They share its descriptor: to train on one and test on another would be to test on what was trained on."""
    pixels = [np.zeros((1, 1, 3), np.uint8)] * 3
    labels = np.array([[1, 0], [0, 1], [1, 0]], bool)
    names = ("a.jpg#1", "a.jpg#2", "b.jpg#1")
    boxes = np.tile([0, 0, 1, 1], (3, 1))
    people = ImageSet("people", ("run", "ride"), names, pixels, labels, np.zeros_like(labels), boxes=boxes)
    file = tmp_path / "s.json"
    file.write_text(json.dumps({"benchmark": "people", "splits": [{"train": [names[0]], "test": list(names[1:])}]}))
    with pytest.raises(DataError, match=r"1 images in train and test, such as a\.jpg"):
        read_splits(file, people, "people")
    given = {"train": list(names[:2]), "validation": [names[1]], "test": [names[2]]}
    file.write_text(json.dumps({"benchmark": "people", "splits": [given]}))
    assert read_splits(file, people, "people").by_seed[0].train.tolist() == [0, 1]


def test_a_file_that_is_not_there(images, splits, tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_splits(tmp_path / "s.json", images, "folder")
    with pytest.raises(DataError, match="cannot be written"):
        write_splits(splits, images, "folder", tmp_path / "no" / "s.json")


# --- records ---


def result(value, **config):
    settings = {"net": "E", "layer": "fc7", "scales": [256], "agg": "mean", "device": "cpu", **config}
    return BenchmarkResult(
        benchmark="digits",
        metric="mean class recall",
        value=value,
        std=None,
        splits=[],
        per_class={},
        metrics={},
        paper={},
        config=settings,
        weights=[{"name": "x", "sha256": "ab"}],
        timing={},
        notes=[],
        version="0",
    )


@pytest.fixture
def record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "benchmarks/digits/expected.json"
    file.parent.mkdir(parents=True)
    written = [json.loads(one.json()) for one in (result(91.25), result(80.0, scales=[256, 384]))]
    file.write_text(json.dumps(written))
    return file


def test_a_result_is_compared_with_that_of_the_same_settings(record, tmp_path):
    assert check(result(91.4)) == "digits: 91.40, recorded 91.25 (benchmarks/digits/expected.json): they agree"
    assert "80.10, recorded 80.00" in check(result(80.1, scales=[256, 384], device="cuda"))
    with pytest.raises(DataError, match=r"91.50, recorded 91.25 .*differ by more than 0.2"):
        check(result(91.5))
    with pytest.raises(DataError, match=r"more than 0.2 points \(C was \[\], is \[4.0\]\)"):
        check(replace(result(91.5), splits=[{"seed": 0, "value": 91.5, "C": 4.0}]))
    moved = record.rename(tmp_path / "mine.json")
    assert "they agree" in check(result(91.25), moved)
    with pytest.raises(DataError, match=r"no such record; .*--record"):
        check(result(91.25))


@pytest.mark.parametrize("name", ["caltech101", "caltech256"])
def test_from_the_command_line_to_a_record_and_back(name, tmp_path):
    """Table, JSON, splits; then the JSON is the record that the next run agrees with."""
    rng = np.random.default_rng(0)
    for k in range(3):
        (tmp_path / f"data/{name[7:]}_ObjectCategories/class {k}").mkdir(parents=True)
        for n in range(5):
            pixels = rng.integers(70 * k, 70 * k + 70, (32, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"data/{name[7:]}_ObjectCategories/class {k}/{n}.png")

    def bench(*more):
        words = [
            "bench",
            name,
            "--root",
            tmp_path / "data",
            "--recipe",
            "paper",
            "--weights",
            "slim",
            "--layer",
            "pool5",
        ]
        words += ["--scales", "32,64", "--train-per-class", 3, "--stores", tmp_path / "stores", "--jobs", 1, *more]
        return CliRunner().invoke(cli.app, list(map(str, words)), catch_exceptions=False).stdout

    printed = bench("--json", tmp_path / "r.json", "--save-splits", tmp_path / "s.json")
    measured = json.loads((tmp_path / "r.json").read_text())
    assert printed.startswith(f"{name}: mean class recall, per cent") and "paper: D & E" in printed
    assert measured["config"]["agg"] == "stack"  # of the recipe; its scales were given
    assert measured["config"]["scales"] == [32, 64]
    assert [split["seed"] for split in json.loads((tmp_path / "s.json").read_text())["splits"]] == [0, 1, 2]
    (tmp_path / "record.json").write_text(json.dumps([measured]))
    assert bench("--check", "--record", tmp_path / "record.json").endswith("they agree\n")


def test_other_settings_or_weights_have_no_record(record):
    with pytest.raises(DataError, match=r"no record of these settings; .* differs in agg max \(recorded mean\)$"):
        check(result(91.25, agg="max"))
    with pytest.raises(DataError, match=r"differs in weights cd \(recorded ab\)$"):
        check(replace(result(91.25), weights=[{"name": "x", "sha256": "cd"}]))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"value": 1}]', "[" * 100_000])
def test_a_record_that_is_none(text, record):
    record.write_text(text)
    with pytest.raises(DataError, match="record"):
        check(result(91.25))


def test_records_in_the_source_are_results_of_their_benchmarks():
    source = Path(__file__).parents[2]
    found = [name for name in BENCHMARKS if (source / record_of(name)).exists()]
    assert {"caltech101", "digits", "sample"} <= set(found)
    for name in found:
        recorded = read_record(source / record_of(name))
        assert recorded and {one["benchmark"] for one in recorded} == {name}
        assert all(0 <= one["value"] <= 100 for one in recorded)
