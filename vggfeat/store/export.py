"""Stores for other tools: .npy, .npz, .h5, .csv, .mat."""

import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from errno import EIO
from pathlib import Path

import numpy as np

from vggfeat.errors import UsageError
from vggfeat.spec import Aggregation, Normalisation
from vggfeat.store import Selection

ROWS = 256  # that are written at once
MAT_BYTES = 2**31  # a MATLAB 5 file holds no larger matrix


def export(
    store: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    agg: Aggregation | None = None,
    normalize: Normalisation = "l2",
    scales: Sequence[int] | None = None,
) -> Path:
    r"""Write a store (several: fused) as X float32 (N, dim), with paths and labels; returns `out`.

    .npy holds X alone, its paths beside it in <out>.paths.txt, a line each (a line break in a name as \n); .npz, .h5
    and .mat hold X, paths and labels ("" for none); .csv a line an image: path, label, d0, d1, ... The other
    arguments are those of `load`.

    A store of any length takes little memory besides its names, but for .mat, which holds 2 GiB at most. .npz, .csv
    and .mat need room for X on the disk while they are written. `out` is there whole or not at all.

    Raises UsageError for another suffix, or a .mat that would be too large; StoreError as `load` does, OSError where
    `out` can't be written.
    """
    out = Path(out)
    if out.suffix not in WRITERS:
        raise UsageError(f"{out}: can't export to {out.suffix or 'a file without suffix'}; take {', '.join(WRITERS)}")
    selection = Selection(store, agg=agg, normalize=normalize, scales=scales)
    temporary, names = out.with_name(f"{out.name}.part"), out.with_name(f"{out.name}.paths.txt.part")
    try:
        WRITERS[out.suffix](selection, temporary)
        if out.suffix == ".npy":
            lines = (path.replace("\n", "\\n").replace("\r", "\\r") for path in selection.paths)
            names.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        temporary.replace(out)
        if out.suffix == ".npy":
            names.replace(names.with_suffix(""))
    except OSError as error:  # of a temporary file, and from HDF5 in many lines
        reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0]
        raise OSError(error.errno or EIO, reason, str(out)) from error
    finally:
        for left in (temporary, names):
            left.unlink(missing_ok=True)
    return out


def _labels(selection: Selection) -> list[str]:
    return [label or "" for label in selection.labels]


@contextmanager
def _matrix(selection: Selection, out: Path) -> Iterator[np.ndarray]:
    """X in a file beside `out`, for as long as it is needed."""
    file = out.with_name(f"{out.name}.X")
    try:
        yield selection.mapped(file)
    finally:
        file.unlink(missing_ok=True)


def _npy(selection: Selection, out: Path) -> None:
    selection.mapped(out)


def _npz(selection: Selection, out: Path) -> None:
    with _matrix(selection, out), zipfile.ZipFile(out, "w") as archive:
        archive.write(out.with_name(f"{out.name}.X"), "X.npy")
        _names(archive, "paths", selection.paths)
        _names(archive, "labels", _labels(selection))


def _names(archive: zipfile.ZipFile, name: str, values: list[str]) -> None:
    """As np.savez would, but compressed: each name takes the room of the longest."""
    kind = f"<U{max(1, *map(len, values))}" if values else "<U1"
    entry = zipfile.ZipInfo(f"{name}.npy")
    entry.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(entry, "w", force_zip64=True) as file:
        header = {"descr": kind, "fortran_order": False, "shape": (len(values),)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(values), ROWS):
            file.write(np.array(values[start : start + ROWS], kind).tobytes())


def _h5(selection: Selection, out: Path) -> None:
    import h5py

    with h5py.File(out, "w") as file:
        selection.into(file.create_dataset("X", selection.shape, np.float32))
        file["paths"] = selection.paths
        file["labels"] = _labels(selection)


def _csv(selection: Selection, out: Path) -> None:
    import pandas as pd

    columns = [f"d{i}" for i in range(selection.shape[1])]
    labels = _labels(selection)
    with _matrix(selection, out) as X, out.open("w", newline="", encoding="utf-8") as file:
        for start in range(0, max(1, len(X)), ROWS):
            some = slice(start, start + ROWS)
            table = pd.DataFrame(X[some], columns=columns)
            table.insert(0, "path", selection.paths[some])
            table.insert(1, "label", labels[some])
            table.to_csv(file, index=False, header=start == 0)


def _mat(selection: Selection, out: Path) -> None:
    from scipy.io import savemat

    size = 4 * selection.shape[0] * selection.shape[1]
    if size >= MAT_BYTES:
        raise UsageError(f"{out.stem}: X has {size:,} bytes, and a .mat holds 2 GiB; export to .h5, which MATLAB reads")
    cells = {
        "paths": np.array(selection.paths, dtype=object),
        "labels": np.array(_labels(selection), dtype=object),
    }
    with _matrix(selection, out) as X, out.open("wb") as file:
        savemat(file, {"X": X, **cells})


WRITERS: dict[str, Callable[[Selection, Path], None]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".h5": _h5,
    ".csv": _csv,
    ".mat": _mat,
}
