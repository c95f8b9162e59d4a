"""Damaged runs of posteriors: the right errors or one line."""

import json
import random

import numpy as np
import pytest

from tests.kit.damage import changed_json, mangled
from tests.kit.posterior_runs import make_run
from vggfeat.errors import DataError, StoreError, VggfeatError
from vggfeat.evaluate import open_runs, summarise
from vggfeat.evaluate.classes import read_classes

POSTERIORS = {256: [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5]]}


def changed(run, name, **values):
    content = json.loads((run / name).read_text())
    (run / name).write_text(json.dumps(content | values))
    return run


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"places": {"a": 0, "b": 1, "c": 3}}, "a class is none of the 3 outputs"),
        ({"places": {"a": -1}}, "Expected 'int' >= 0"),
        ({"places": {"a": 0, "b": 1, "c": 1}}, "two classes are the same output"),
        ({"outputs": []}, "a class is none of the 0 outputs"),
        ({"outputs": "abc"}, "Expected 'array', got 'str'"),
        ({"train_scale": [256, 384, 512]}, "train_scale is neither one side nor two"),
        ({"images": float("nan")}, "Expected 'int', got 'float'"),
    ],
)
def test_facts_that_cannot_be(tmp_path, values, says):
    run = changed(make_run(tmp_path / "run", POSTERIORS, [0, 1, 2]), "run.json", **values)
    with pytest.raises(StoreError, match=rf"run\.json: cannot be read \({says}"):
        open_runs([run])


def test_labels_that_are_no_class_and_outputs_that_do_not_fit(tmp_path):
    run = changed(make_run(tmp_path / "run", POSTERIORS, [0, 1, 2]), "run.json", places={"a": 0, "b": 1})
    with pytest.raises(StoreError, match=r"run: 2\.jpg has the label 'c', none of the 2 classes of its run\.json"):
        summarise(open_runs([run]))
    run = changed(make_run(tmp_path / "wide", POSTERIORS, [0, 1, 2]), "run.json", outputs=["a", "b", "c", "d"])
    with pytest.raises(StoreError, match=r"wide: its rows are not posteriors of the 4 outputs of its run\.json"):
        summarise(open_runs([run]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_posteriors_that_are_no_numbers_do_not_count_as_right(tmp_path, value):
    run = make_run(tmp_path / "run", {256: [[value] * 3, [0.1, 0.8, 0.1]]}, [0, 1])
    with pytest.raises(StoreError, match="its column q256 has a value that is not finite"):
        summarise(open_runs([run]))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("net", 3),
        ("width", "1"),
        ("weights_sha256", None),
        ("method", "guess"),
        ("method", ["dense"]),
        ("scales", [-1]),
    ],
)
def test_a_fingerprint_that_is_not_that_of_a_run(tmp_path, key, value):
    run = make_run(tmp_path / "run", POSTERIORS, [0, 1, 2])
    made = json.loads((run / "meta.json").read_text())["fingerprint"]
    changed(run, "meta.json", fingerprint={**made, key: value})
    with pytest.raises(StoreError, match=r"meta\.json: ") as refused:
        open_runs([run])
    assert "\n" not in str(refused.value)


def damaged(folder, tries):
    run, draw, refused = make_run(folder / "run", POSTERIORS, [0, 1, 1]), random.Random(15), 0
    whole = (run / "run.json").read_bytes()
    right = [(row.top1, row.images) for row in summarise(open_runs([run])).rows]
    for _ in range(tries):
        (run / "run.json").write_bytes(changed_json(whole, draw))
        try:
            result = summarise(open_runs([run]))
            result.table(), result.json()
        except VggfeatError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert [(row.top1, row.images) for row in result.rows] in (right, [])  # [] : labelled is false
    return refused


def test_damaged_facts_give_the_right_errors_or_one_line(tmp_path):
    assert damaged(tmp_path, 100) > 30


@pytest.mark.slow
def test_many_damaged_facts_give_the_right_errors_or_one_line(tmp_path):
    assert damaged(tmp_path, 10_000) > 3000


def damaged_classes(file, tries):
    draw, refused = random.Random(15), 0
    for _ in range(tries):
        file.write_bytes(mangled('n01,tench\nn02,"a, b"\nn03,ä\n'.encode(), draw))
        try:
            found = read_classes(file)
            assert all(isinstance(name, str) for name in (*found, *found.values()))
        except DataError as error:
            assert "\n" not in str(error)
            refused += 1
    return refused


def test_damaged_lists_of_classes_are_one_line(tmp_path):
    assert damaged_classes(tmp_path / "classes.csv", 200) > 50


@pytest.mark.slow
def test_many_damaged_lists_of_classes_are_one_line(tmp_path):
    assert damaged_classes(tmp_path / "classes.csv", 20_000) > 5000
