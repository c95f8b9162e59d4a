"""Stores as files for other tools: .npy, .npz, .h5, .csv, .mat."""

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np

from vggfeat._util.files import remove_leftovers, replacing
from vggfeat.errors import UsageError
from vggfeat.spec import Aggregation, Normalisation
from vggfeat.store.loading import Selection

ROWS = 256  # rows that are written at once
MAT_BYTES = 2**31  # a MATLAB 5 file holds no larger matrix


def export(
    store: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    agg: Aggregation | None = None,
    normalize: Normalisation = "l2",
    scales: Sequence[int] | None = None,
    mat_bytes: int = MAT_BYTES,
) -> Path:
    r"""Write a store to a file for other tools; several stores are fused.

    A store of any length takes little memory besides its names, except for .mat. While .npz, .csv and .mat are written
    they need disk space for the matrix as well. The file is written whole or not at all.

    Parameters
    ----------
    store : str, path, or sequence of these
        One store, or several stores of the same images.
    out : str or path
        The file; its suffix is the format. Each holds the matrix X, float32 (N, dim), and the names of the images.
        .npy holds X alone, and <out>.paths.txt the names, one per line (a line break in a name is written as \n).
        .npz, .h5 and .mat hold X, paths and labels ("" for none). .csv has one line per image: path, label, d0, d1, ...
    agg, normalize, scales
        See `load`.
    mat_bytes : int
        A matrix of that many bytes or more is not written to .mat, whose format holds less than 2 GiB.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    UsageError
        If the suffix is unknown, the matrix is too large for .mat, or `agg` or `normalize` is unknown.
    StoreError
        If a path is not a store, a part is damaged, a scale is not stored, or the stores hold different images.
    OSError
        If `out` cannot be written.
    """
    out = Path(out)
    if out.suffix not in WRITERS:
        raise UsageError(f"{out}: cannot export to {out.suffix or 'a file without suffix'}; take {', '.join(WRITERS)}")
    selection = Selection(store, agg=agg, normalize=normalize, scales=scales)
    size = 4 * selection.shape[0] * selection.shape[1]
    if out.suffix == ".mat" and size >= mat_bytes:
        raise UsageError(f"{out}: X has {size:,} bytes, and a .mat holds 2 GiB; export to .h5, which MATLAB reads")
    remove_leftovers(out)
    with replacing(out) as temporary:
        WRITERS[out.suffix](selection, temporary)
        if out.suffix == ".npy":
            with replacing(out.with_name(f"{out.name}.paths.txt")) as names:
                lines = (path.replace("\n", "\\n").replace("\r", "\\r") for path in selection.paths)
                names.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return out


def _labels(selection: Selection) -> list[str]:
    return [label or "" for label in selection.labels]


@contextmanager
def _matrix(selection: Selection, out: Path) -> Iterator[Path]:
    """X as .npy in a second temporary file, whose name `remove_leftovers` recognises as well."""
    with NamedTemporaryFile(dir=out.parent, prefix=out.name.removesuffix(".tmp"), suffix=".tmp") as file:
        selection.write_npy(Path(file.name))
        yield Path(file.name)


def _mapped(matrix: Path) -> np.ndarray:
    return np.load(matrix, mmap_mode="r")


def _npy(selection: Selection, out: Path) -> None:
    selection.write_npy(out)


def _npz(selection: Selection, out: Path) -> None:
    with _matrix(selection, out) as matrix, zipfile.ZipFile(out, "w") as archive:
        archive.write(matrix, "X.npy")
        _write_names(archive, "paths", selection.paths)
        _write_names(archive, "labels", _labels(selection))


def _write_names(archive: zipfile.ZipFile, name: str, values: list[str]) -> None:
    """As np.savez would write them, but compressed: each name takes the space of the longest."""
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
        selection.fill(file.create_dataset("X", selection.shape, np.float32))
        file["paths"] = selection.paths
        file["labels"] = _labels(selection)


def _csv(selection: Selection, out: Path) -> None:
    import pandas as pd

    columns = [f"d{i}" for i in range(selection.shape[1])]
    labels = _labels(selection)
    with _matrix(selection, out) as matrix, out.open("w", newline="", encoding="utf-8") as file:
        X = _mapped(matrix)
        for start in range(0, max(1, len(X)), ROWS):
            some = slice(start, start + ROWS)
            table = pd.DataFrame(X[some], columns=columns)
            table.insert(0, "path", selection.paths[some])
            table.insert(1, "label", labels[some])
            table.to_csv(file, index=False, header=start == 0)


def _mat(selection: Selection, out: Path) -> None:
    from scipy.io import savemat

    cells = {
        "paths": np.array(selection.paths, dtype=object),
        "labels": np.array(_labels(selection), dtype=object),
    }
    with _matrix(selection, out) as matrix, out.open("wb") as file:
        savemat(file, {"X": _mapped(matrix), **cells})


WRITERS: dict[str, Callable[[Selection, Path], None]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".h5": _h5,
    ".csv": _csv,
    ".mat": _mat,
}
