"""Damaged records and files of splits: the right answer or one line."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from tests.kit.damage import changed_json
from vggfeat.bench.record import read_record, recorded_result
from vggfeat.bench.split_files import read_splits
from vggfeat.data.base import ImageSet
from vggfeat.errors import DataError

CONFIG = {"net": "D", "layer": "fc7", "scales": [256, 384], "agg": "mean", "mirror": True}
RESULT = {
    "benchmark": "digits",
    "value": 91.25,
    "splits": [{"seed": 0, "value": 91.25, "C": 4.0}],
    "config": CONFIG,
    "weights": [{"name": "x", "sha256": "ab"}],
    "ablation": [{"row": "one scale", "value": 90.0}],
}
SPLITS = {"benchmark": "digits", "splits": [{"seed": 3, "train": ["a0", "a1", "b0"], "test": ["a2", "b1"]}]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"value": float("nan")}, r"Expected 'float' >= 0.0 - at '\[0\].value'"),
        ({"value": "91"}, "Expected 'float', got 'str'"),
        ({"value": 10**400}, "Number out of range"),
        ({"splits": [{"seed": 0}]}, "missing required field 'C'"),
        ({"ablation": [{"row": "x", "value": float("inf")}]}, "Expected 'float' <= 100.0"),
        ({"weights": {}}, "Expected 'array', got 'object'"),
        ({"config": {"net": "D"}}, "a result lacks net, layer, scales or agg in its config"),
        ({"config": {**CONFIG, "net": [["D"]]}}, r"at '\[0\].config\[...\]"),
    ],
)
def test_values_that_no_result_has(tmp_path, change, says):
    """A value of NaN would agree with every result."""
    file = tmp_path / "r.json"
    file.write_text(json.dumps([{**RESULT, **change}]))
    with pytest.raises(DataError, match=says) as refused:
        read_record(file)
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)


def records(file: Path, tries: int) -> int:
    draw, refused = random.Random(15), 0
    for _ in range(tries):
        file.write_bytes(changed_json(json.dumps([RESULT]).encode(), draw))
        try:
            found = recorded_result(file, "digits", CONFIG, RESULT["weights"])
            assert 0 <= found["value"] <= 100
        except DataError as error:
            assert "\n" not in str(error) and str(file) in str(error)
            refused += 1
    return refused


def test_damaged_records_are_one_line(tmp_path):
    assert records(tmp_path / "r.json", 200) > 80


@pytest.mark.slow
def test_many_damaged_records_are_one_line(tmp_path):
    assert records(tmp_path / "r.json", 20_000) > 8000


def images() -> ImageSet:
    paths = tuple(f"{name}{i}" for name in "ab" for i in range(5))
    labels = np.array([[name == "a", name == "b"] for name in "ab" for _ in range(5)])
    return ImageSet("digits", ("a", "b"), paths, [Path(path) for path in paths], labels, np.zeros_like(labels))


def splits(file: Path, tries: int) -> int:
    draw, refused = random.Random(15), 0
    of = images()
    for _ in range(tries):
        file.write_bytes(changed_json(json.dumps(SPLITS).encode(), draw))
        try:
            found = read_splits(file, of, "digits", lambda images, rows, seed: rows[:1])
            for fold in found.by_seed.values():
                assert not set(fold.train) & set(fold.test) and len(fold.test)
        except DataError as error:
            assert "\n" not in str(error) and str(file) in str(error)
            refused += 1
    return refused


def test_damaged_splits_are_one_line(tmp_path):
    assert splits(tmp_path / "s.json", 200) > 80


@pytest.mark.slow
def test_many_damaged_splits_are_one_line(tmp_path):
    assert splits(tmp_path / "s.json", 20_000) > 8000
