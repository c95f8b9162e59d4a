"""Export: each format is read back by its own library."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import loadmat

from vggfeat.errors import StoreError, UsageError
from vggfeat.export import export
from vggfeat.store import Record, Writer, load


@pytest.fixture
def store(tmp_path):
    with Writer(tmp_path / "s", {"scales": [256, 384]}) as writer:
        rng = np.random.default_rng(0)
        writer.commit(
            [
                Record(f"ü {i}.jpg", ("cat", None, "dog")[i], 4, 3, {q: rng.random(5, np.float32) for q in (256, 384)})
                for i in range(3)
            ]
        )
    return tmp_path / "s"


NAMES = ["ü 0.jpg", "ü 1.jpg", "ü 2.jpg"]
LABELS = ["cat", "", "dog"]


def read_npy(file: Path):
    return np.load(file), file.with_name(f"{file.name}.paths.txt").read_text().splitlines(), None


def read_npz(file: Path):
    with np.load(file) as data:
        return data["X"], data["paths"].tolist(), data["labels"].tolist()


def read_h5(file: Path):
    with h5py.File(file) as data:
        return data["X"][:], list(data["paths"].asstr()), list(data["labels"].asstr())


def read_csv(file: Path):
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    X = np.array([[float(row[f"d{i}"]) for i in range(10)] for row in rows])
    return X, [row["path"] for row in rows], [row["label"] for row in rows]


def read_mat(file: Path):
    data = loadmat(file)
    labels = [str(cell[0]) if cell.size else "" for cell in data["labels"].ravel()]
    return data["X"], [str(cell[0]) for cell in data["paths"].ravel()], labels


@pytest.mark.parametrize(
    ("suffix", "read"),
    [(".npy", read_npy), (".npz", read_npz), (".h5", read_h5), (".csv", read_csv), (".mat", read_mat)],
)
def test_each_format_holds_the_matrix_the_names_and_the_labels(store, tmp_path, suffix, read):
    out = export(store, tmp_path / f"x{suffix}", agg="stack")
    X, paths, labels = read(out)
    np.testing.assert_allclose(X, load(store, agg="stack").X, rtol=1e-6)
    assert paths == NAMES
    assert labels in (LABELS, None)


def test_the_options_are_those_of_load(store, tmp_path):
    out = export(store, tmp_path / "x.npy", agg="max", scales=[384], normalize="none")
    np.testing.assert_array_equal(np.load(out), load(store, agg="max", scales=[384], normalize="none").X)


def test_unknown_formats_and_stores(store, tmp_path):
    with pytest.raises(UsageError, match=r"can't export to \.xls; take \.npy, \.npz, \.h5, \.csv, \.mat"):
        export(store, tmp_path / "x.xls")
    with pytest.raises(StoreError):
        export(tmp_path / "none", tmp_path / "x.npy")
