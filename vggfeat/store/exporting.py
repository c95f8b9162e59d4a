"""Descriptors as files for other tools: .npy, .npz, .h5, .csv, .mat."""

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np

from vggfeat._util.files import check_writable, folder_lock, remove_leftovers, replacing
from vggfeat.errors import UsageError
from vggfeat.spec import Aggregation, Normalisation
from vggfeat.store.loading import Rows, Selection, write_matrix, write_npy

ROWS = 256  # rows that are written at once
MAT_BYTES = 2**31  # a MATLAB 5 file holds no larger matrix
MAT_CELL = 64  # bytes of a name in it, besides 4 at most for each of its characters


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
        .npy holds X alone, and <out>.paths.txt the names, one per line (a line break in a name is written as \n);
        the labels are in neither.
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
        If the suffix is unknown, the folder of `out` does not exist, the matrix is too large for .mat, or `agg` or
        `normalize` is unknown.
    StoreError
        If a path is not a store, a part is damaged, a scale is not stored, or the stores hold different images.
    OSError
        If `out` cannot be written.
    """
    out = Path(out)
    check_out(out)
    write(Selection(store, agg=agg, normalize=normalize, scales=scales), out, mat_bytes)
    return out


def check_out(out: Path) -> None:
    """Raise UsageError, before long work begins, if no writer has the suffix of `out`, or it cannot be written."""
    if out.suffix not in WRITERS:
        raise UsageError(f"{out}: cannot write {out.suffix or 'a file without suffix'}; take {', '.join(WRITERS)}")
    check_writable(out)


def write(rows: Rows, out: Path, mat_bytes: int = MAT_BYTES) -> None:
    """Write descriptors to a file that `check_out` accepts, whole or not at all. The arguments are those of `export`.

    Raises UsageError if they are too large for .mat, and OSError.
    """
    if out.suffix == ".mat":
        _refuse_too_large(rows, out, mat_bytes)
    remove_leftovers(out)
    with ExitStack() as renaming, replacing(out) as temporary:
        WRITERS[out.suffix](rows, temporary)
        if out.suffix == ".npy":
            with replacing(names_file(out)) as names:
                lines = (path.replace("\n", "\\n").replace("\r", "\\r") for path in rows.paths)
                names.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
                renaming.enter_context(folder_lock(out.parent))  # so that two exports do not mix their files


def _refuse_too_large(rows: Rows, out: Path, most: int) -> None:
    """Raise UsageError if a variable takes `most` bytes or more in a .mat."""
    names = {"paths": rows.paths, "labels": _labels(rows)}
    sizes = {"X": 4 * rows.shape[0] * rows.shape[1]}
    sizes |= {name: sum(MAT_CELL + 4 * len(text) for text in texts) for name, texts in names.items()}
    for name, size in sizes.items():
        if size >= most:
            raise UsageError(
                f"{out}: {name} has {size:,} bytes, and a .mat holds less than 2 GiB; write .h5 for MATLAB"
            )


def names_file(out: Path) -> Path:
    """Where the names of the images of a .npy are."""
    return out.with_name(f"{out.name}.paths.txt")


class InMemory:
    """Descriptors that are in no store, as `Rows`. X : float32 (N, dim). paths : N names."""

    def __init__(self, X: np.ndarray, paths: list[str]) -> None:
        self._X, self.paths = X, paths
        self.shape: tuple[int, int] = X.shape
        self.labels: list[str | None] = [None] * len(X)

    def fill(self, X: Any) -> None:
        """See `Rows`."""
        X[:] = self._X


def _labels(rows: Rows) -> list[str]:
    return [label or "" for label in rows.labels]


@contextmanager
def _matrix(rows: Rows, out: Path) -> Iterator[np.ndarray]:
    """X in a file without a name beside `out`, which ends with this process, however that ends."""
    with TemporaryFile(dir=out.parent) as file:
        yield write_matrix(rows, file)


def _npz(rows: Rows, out: Path) -> None:
    with _matrix(rows, out) as X, zipfile.ZipFile(out, "w") as archive:
        _write_array(archive, "X", X, "<f4", zipfile.ZIP_STORED)
        for name, values in (("paths", rows.paths), ("labels", _labels(rows))):
            _write_array(archive, name, values, f"<U{max(1, *map(len, values))}" if values else "<U1")


def _write_array(
    archive: zipfile.ZipFile, name: str, values: Any, kind: str, compression: int = zipfile.ZIP_DEFLATED
) -> None:
    """As np.savez would write it, but names are compressed: each takes the space of the longest."""
    entry = zipfile.ZipInfo(f"{name}.npy")
    entry.compress_type = compression
    with archive.open(entry, "w", force_zip64=True) as file:
        header = {"descr": kind, "fortran_order": False, "shape": np.shape(values)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(values), ROWS):
            file.write(np.asarray(values[start : start + ROWS], kind).tobytes())


def _h5(rows: Rows, out: Path) -> None:
    """HDF5 could end the process on a full disk. So it writes to memory all but X, which is the last in the file."""
    import h5py

    image = io.BytesIO()
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(image, "w") as file:
        file["paths"] = rows.paths
        file["labels"] = _labels(rows)
        place = file.create_dataset("X", rows.shape, "<f4", dcpl=early).id.get_offset()
    with out.open("w+b") as written:
        write_matrix(rows, written, image.getvalue()[:place])


def _csv(rows: Rows, out: Path) -> None:
    with _matrix(rows, out) as X, out.open("w", newline="", encoding="utf-8") as file:
        _write_table(rows, X, file)


def _write_table(rows: Rows, X: np.ndarray, file: IO[str]) -> None:
    import pandas as pd

    columns, labels = [f"d{i}" for i in range(rows.shape[1])], _labels(rows)
    for start in range(0, max(1, len(X)), ROWS):
        some = slice(start, start + ROWS)
        table = pd.DataFrame(X[some], columns=columns)
        table.insert(0, "path", rows.paths[some])
        table.insert(1, "label", labels[some])
        table.to_csv(file, index=False, header=start == 0, lineterminator="\n")


def _mat(rows: Rows, out: Path) -> None:
    from scipy.io import savemat

    cells = {
        "paths": np.array(rows.paths, dtype=object),
        "labels": np.array(_labels(rows), dtype=object),
    }
    with _matrix(rows, out) as X, out.open("wb") as file:
        savemat(file, {"X": X, **cells})


WRITERS: dict[str, Callable[[Rows, Path], None]] = {
    ".npy": write_npy,
    ".npz": _npz,
    ".h5": _h5,
    ".csv": _csv,
    ".mat": _mat,
}
