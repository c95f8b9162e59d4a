"""Stores whose columns hold lists of any length: they are read as they were written, and damage is noticed."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vggfeat.errors import StoreError
from vggfeat.store import Store
from vggfeat.store.parts import MAX_LIST, signed
from vggfeat.store.parts import write as write_part
from vggfeat.store.writing import Record, Writer

MADE: dict[str, Any] = {"scales": [256, 384], "row": ["x", "y"]}
VALUES = {"a": ([1, 2], [3, 4, 5, 6]), "b": ([], [7, 8]), "c": ([9, 10], [])}


def record(name: str, *values: Any) -> Record:
    return Record(name, None, 4, 3, {q: np.array(v, np.float32) for q, v in zip(MADE["scales"], values, strict=True)})


def write(path: Path) -> Path:
    with Writer(path, MADE) as writer:
        writer.commit([record("a", *VALUES["a"]), record("b", *VALUES["b"])])
        writer.commit([record("c", *VALUES["c"])])
    return path


def test_lists_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = Store(write(tmp_path / "s")).read(["path", "q256", "q384"])
    found = {row["path"]: (row["q256"], row["q384"]) for row in table.to_pylist()}
    assert found == VALUES


def test_such_a_store_is_continued(tmp_path: Path) -> None:
    with Writer(write(tmp_path / "s"), MADE) as writer:
        assert len(writer.rows) == 3
        writer.commit([record("a", [0, 0], [])])  # a changed image: its old row goes
    rows = Store(tmp_path / "s").read(["path", "q256"]).to_pylist()
    assert sorted((row["path"], row["q256"]) for row in rows) == [("a", [0, 0]), ("b", []), ("c", [9, 10])]


def test_other_numbers_in_a_row_are_another_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"was made with row \['x', 'y'\], not \['y', 'x'\]"):  # noqa: SIM117
        with Writer(write(tmp_path / "s"), {**MADE, "row": ["y", "x"]}):
            pass


def test_values_that_cannot_be_stored(tmp_path: Path) -> None:
    with Writer(tmp_path / "s", MADE) as writer:
        assert "has 1,048,577 values at one scale" in writer.why_not(record("a", np.zeros(MAX_LIST + 1), []))
        assert "not finite" in writer.why_not(record("a", [np.nan, 1], []))
        assert not writer.why_not(record("a", [], []))


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0], pa.float32()), 2), "its column q256 is of type"),
        (pa.array([[1, 2]], pa.list_(pa.int32())), "its column q256 is of type"),
        (pa.array([[1, None]], pa.list_(pa.float32())), "its column q256 has a value that is not finite"),
        (pa.array([[1, np.inf]], pa.list_(pa.float32())), "its column q256 has a value that is not finite"),
        (pa.array([None], pa.list_(pa.float32())), "its column q256 lacks a value"),
    ],
)
def test_damaged_lists(tmp_path: Path, column: pa.Array, said: str) -> None:
    part = Store(write(tmp_path / "s")).parts[1]
    table = Store(tmp_path / "s").read()[2:]
    changed = table.set_column(table.schema.names.index("q256"), "q256", column)
    fingerprint = Store(tmp_path / "s").fingerprint
    write_part(signed(changed, fingerprint), part)
    with pytest.raises(StoreError, match=f"part-00001.parquet: is damaged .*{said}"):
        Store(tmp_path / "s").read()
