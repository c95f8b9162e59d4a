"""Stores for other tools: .npy, .npz, .h5, .csv, .mat."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vggfeat.aggregate import Aggregation, Normalisation
from vggfeat.errors import UsageError
from vggfeat.store import Descriptors, load


def export(
    store: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    agg: Aggregation | None = None,
    normalize: Normalisation = "l2",
    scales: Sequence[int] | None = None,
) -> Path:
    """Write a store (several: fused) as X float32 (N, dim), with paths and labels; returns `out`.

    .npy holds X alone, its paths beside it in <out>.paths.txt; .npz, .h5 and .mat hold X, paths and labels
    ("" for none); .csv a line an image: path, label, d0, d1, ... The other arguments are those of `load`.

    Raises UsageError for another suffix, StoreError as `load` does, OSError where `out` can't be written.
    """
    out = Path(out)
    if out.suffix not in WRITERS:
        raise UsageError(f"{out}: can't export to {out.suffix or 'a file without suffix'}; take {', '.join(WRITERS)}")
    WRITERS[out.suffix](load(store, agg=agg, normalize=normalize, scales=scales), out)
    return out


def _labels(data: Descriptors) -> list[str]:
    return [label or "" for label in data.labels]


def _npy(data: Descriptors, out: Path) -> None:
    np.save(out, data.X)
    names = out.with_suffix(".npy.paths.txt")
    names.write_text("".join(f"{path}\n" for path in data.paths), encoding="utf-8")


def _npz(data: Descriptors, out: Path) -> None:
    np.savez(out, X=data.X, paths=np.array(data.paths), labels=np.array(_labels(data)))


def _h5(data: Descriptors, out: Path) -> None:
    import h5py

    with h5py.File(out, "w") as file:
        file["X"] = data.X
        file["paths"] = data.paths
        file["labels"] = _labels(data)


def _csv(data: Descriptors, out: Path) -> None:
    import pandas as pd

    columns = [f"d{i}" for i in range(data.X.shape[1])]
    table = pd.DataFrame(data.X, columns=columns)
    table.insert(0, "path", data.paths)
    table.insert(1, "label", _labels(data))
    table.to_csv(out, index=False)


def _mat(data: Descriptors, out: Path) -> None:
    from scipy.io import savemat

    cells = {"paths": np.array(data.paths, dtype=object), "labels": np.array(_labels(data), dtype=object)}
    savemat(out, {"X": data.X, **cells})


WRITERS: dict[str, Callable[[Descriptors, Path], None]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".h5": _h5,
    ".csv": _csv,
    ".mat": _mat,
}
