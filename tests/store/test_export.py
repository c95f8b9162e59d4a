"""Export: each format is read back by its own library."""

import csv
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import loadmat

from vggfeat.errors import StoreError, UsageError
from vggfeat.store import export, load
from vggfeat.store.exporting import ROWS, InMemory, write
from vggfeat.store.writing import Record, Writer


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


READERS = {".npy": read_npy, ".npz": read_npz, ".h5": read_h5, ".csv": read_csv, ".mat": read_mat}


@pytest.mark.parametrize(("suffix", "read"), READERS.items())
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
    with pytest.raises(UsageError, match=r"cannot write \.xls; take \.npy, \.npz, \.h5, \.csv, \.mat"):
        export(store, tmp_path / "x.xls")
    with pytest.raises(StoreError, match="none: no such store"):
        export(tmp_path / "none", tmp_path / "x.npy")


def stored(path: Path, order, dim=5, parts=3, name="{}.jpg", seed=0) -> Path:
    """A store with the given numbers as names, in that order; the vectors belong to the names."""
    X = np.random.default_rng(seed).random((max(order) + 1, 2, dim), np.float32)
    with Writer(path, {"scales": [256, 384]}) as writer:
        for some in np.array_split(np.array(order), parts):
            writer.commit([Record(name.format(i), None, 4, 3, {256: X[i, 0], 384: X[i, 1]}) for i in some])
    return path


@pytest.mark.parametrize(("suffix", "read"), READERS.items())
def test_fused_stores_whose_rows_are_in_another_order(tmp_path, suffix, read):
    """More rows than are written at once."""
    rng, n = np.random.default_rng(0), 2 * ROWS + 30
    stores = [stored(tmp_path / "D", range(n)), stored(tmp_path / "E", rng.permutation(n), seed=1)]
    before = set(tmp_path.iterdir())
    X, paths, _ = read(export(stores, tmp_path / f"x{suffix}"))
    fused = load(stores)
    np.testing.assert_allclose(X, fused.X, rtol=1e-6)
    assert paths == fused.paths == [f"{i}.jpg" for i in range(n)]
    assert {p.name for p in set(tmp_path.iterdir()) - before} <= {f"x{suffix}", "x.npy.paths.txt"}


def test_a_line_break_in_a_name_breaks_no_line(tmp_path):
    export(stored(tmp_path / "s", range(3), name="a\n{}\r.jpg"), tmp_path / "x.npy")
    assert (tmp_path / "x.npy.paths.txt").read_bytes().split(b"\n") == [
        rb"a\n0\r.jpg",
        rb"a\n1\r.jpg",
        rb"a\n2\r.jpg",
        b"",
    ]


def test_a_matrix_too_large_for_mat_is_one_line_and_leaves_nothing(tmp_path):
    path = stored(tmp_path / "s", range(30))
    with pytest.raises(UsageError, match=r"X has 600 bytes, and a \.mat holds less than 2 GiB; write \.h5"):
        export(path, tmp_path / "x.mat", mat_bytes=30 * 5 * 4)
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_names_too_large_for_mat_are_one_line_and_leave_nothing(tmp_path):
    """Not scipy's error after the work is done; its files are smaller than what is reckoned."""
    paths = ["ü" * 100] * 50
    reckoned = 50 * (64 + 400)
    with pytest.raises(
        UsageError, match=rf"paths has {reckoned:,} bytes, and a \.mat holds less than 2 GiB; write \.h5"
    ):
        write(InMemory(np.ones((50, 1), np.float32), paths), tmp_path / "x.mat", mat_bytes=reckoned)
    assert not list(tmp_path.iterdir())
    write(InMemory(np.ones((50, 1), np.float32), paths), tmp_path / "x.mat", mat_bytes=reckoned + 1)
    assert (tmp_path / "x.mat").stat().st_size < reckoned


def test_a_killed_export_leaves_nothing_that_the_next_one_keeps(store, tmp_path):
    for name in (".x.h5.123-abcd.tmp", ".x.h5.456-efgh_7hij.tmp"):
        (tmp_path / name).write_bytes(b"half")
    export(store, tmp_path / "x.h5")
    assert {file.name for file in tmp_path.iterdir()} == {"s", "x.h5"}


def test_a_damaged_store_leaves_what_was_exported_before(tmp_path):
    path = stored(tmp_path / "s", range(30))
    before = export(path, tmp_path / "x.h5").read_bytes()
    part = max(path.glob("part-*"))
    part.write_bytes(part.read_bytes()[:-30])
    with pytest.raises(StoreError, match="damaged"):
        export(path, tmp_path / "x.h5")
    assert (tmp_path / "x.h5").read_bytes() == before


@pytest.mark.parametrize("suffix", READERS)
def test_a_full_disk_is_one_line_and_leaves_what_was_exported_before(tmp_path, suffix):
    """... and no crash: X is written through a map."""
    path, small = stored(tmp_path / "s", range(300), dim=256), tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        old = [small / f"x{suffix}", small / f"x{suffix}.paths.txt"]
        for file in old:
            file.write_text("before")
        with pytest.raises(OSError, match="No space left on device") as error:
            export(path, old[0])
        assert error.value.filename == str(old[0])
        assert len(str(error.value).splitlines()) == 1
        assert sorted(small.iterdir()) == old and {file.read_text() for file in old} == {"before"}
    finally:
        subprocess.run(["umount", small], check=True)


class During(InMemory):
    """Descriptors of `value`, named `value`; `then` is called while they are written."""

    def __init__(self, value, rows, then=lambda: None):
        super().__init__(np.full((rows, 5), value, np.float32), [str(value)] * rows)
        self.then = then

    def fill(self, X):
        self.then()
        super().fill(X)


@pytest.mark.parametrize(("suffix", "read"), [(s, r) for s, r in READERS.items() if s != ".csv"])
def test_two_exports_at_once_to_one_file_both_end_well(tmp_path, suffix, read):
    """The last one wins, with its own names and its own rows."""
    out = tmp_path / f"x{suffix}"
    write(During(1, 40, then=lambda: write(During(2, 30), out)), out)
    X, paths, _ = read(out)
    assert (X == 1).all() and paths == ["1"] * 40 == [str(int(row[0])) for row in X]
    assert {file.name for file in tmp_path.iterdir()} <= {out.name, "x.npy.paths.txt"}


def test_the_matrix_and_the_names_of_a_npy_are_of_the_same_export(tmp_path):
    """Four processes write one file again and again."""
    script = """
        import sys, numpy as np
        from pathlib import Path
        from vggfeat.store.exporting import InMemory, write
        n = int(sys.argv[1])
        for _ in range(40):
            write(InMemory(np.full((n, 2), n, np.float32), [str(n)] * n), Path(sys.argv[2]))
    """
    out = tmp_path / "x.npy"
    command = [sys.executable, "-c", textwrap.dedent(script)]
    writers = [subprocess.Popen([*command, str(n), str(out)]) for n in (3, 50, 200, 1000)]
    assert [writer.wait() for writer in writers] == [0] * 4
    X, paths, _ = read_npy(out)
    assert [str(int(row[0])) for row in X] == paths
    assert {file.name for file in tmp_path.iterdir()} == {"x.npy", "x.npy.paths.txt"}


@pytest.mark.parametrize(
    ("suffix", "how"),
    [(".npz", signal.SIGKILL), (".h5", signal.SIGTERM), (".csv", signal.SIGKILL), (".npy", signal.SIGINT)],
)
def test_a_process_that_ends_in_the_middle_leaves_no_half_file(tmp_path, suffix, how):
    out = tmp_path / f"x{suffix}"
    write(During(1, 30), out)
    before = out.read_bytes()
    script = """
        import os, sys, numpy as np
        from pathlib import Path
        from vggfeat.store.exporting import InMemory, write
        class Ends(InMemory):
            def fill(self, X):
                X[:5] = 2
                os.kill(os.getpid(), int(sys.argv[2]))
        write(Ends(np.ones((30, 5), np.float32), ["x"] * 30), Path(sys.argv[1]))
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script), out, str(how.value)], capture_output=True)
    assert run.returncode == -how
    assert out.read_bytes() == before
    left = [file for file in tmp_path.iterdir() if file.name not in (out.name, "x.npy.paths.txt")]
    assert len(left) <= 1  # the file itself; a matrix beside it has no name that could be left
    write(During(1, 30), out)
    assert {file.name for file in tmp_path.iterdir()} <= {out.name, "x.npy.paths.txt"}


FULL = """
    import errno, random, resource, sys, numpy as np
    from pathlib import Path
    from vggfeat.store.exporting import InMemory, write
    out, tries = Path(sys.argv[1]), int(sys.argv[2])
    draw, least = random.Random(int(sys.argv[3])), 0
    failed = 0
    for i in range(tries):
        rows = draw.randint(1, 400)
        new = InMemory(np.full((rows, 16), i, np.float32), [f"{i} {'x' * draw.randint(0, 40)}"] * rows)
        limit = draw.choice((draw.randint(0, 3000), draw.randint(0, 80_000)))
        before = [file.read_bytes() if file.exists() else b"" for file in (out, out.with_name("x.npy.paths.txt"))]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            write(new, out)
        except OSError as error:
            failed += 1
            assert (error.errno, error.filename) in ((errno.EFBIG, str(out)), (errno.EFBIG, f"{out}.paths.txt")), error
            assert len(str(error).splitlines()) == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        after = [file.read_bytes() if file.exists() else b"" for file in (out, out.with_name("x.npy.paths.txt"))]
        if after != before:
            write(new, out.with_name(f"again{out.suffix}"))
            whole = out.with_name(f"again{out.suffix}").read_bytes()
            assert len(after[0]) == len(whole)
            assert out.suffix in (".mat", ".h5", ".npz") or after[0] == whole  # the others hold the time
        assert not [file for file in out.parent.iterdir() if file.name.endswith(".tmp")]
    print(failed)
"""


def fill_the_disk(out: Path, tries: int, seed: int) -> int:
    """Exports to a disk that takes files up to a random size, in a process that could end: how many of them failed.

    Each leaves the file of before, or the whole new one, and raises one line that names the file.
    """
    script = [sys.executable, "-c", textwrap.dedent(FULL), out, str(tries), str(seed)]
    run = subprocess.run(script, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


@pytest.mark.parametrize("suffix", READERS)
def test_files_that_may_not_grow_are_the_old_ones_or_whole(tmp_path, suffix):
    assert 5 < fill_the_disk(tmp_path / f"x{suffix}", 30, seed=1) < 30


@pytest.mark.slow
@pytest.mark.parametrize("suffix", READERS)
def test_many_files_that_may_not_grow_are_the_old_ones_or_whole(tmp_path, suffix):
    assert 100 < fill_the_disk(tmp_path / f"x{suffix}", 1000, seed=2) < 1000


def test_an_export_is_of_one_state_of_a_store_that_grows(tmp_path):
    """Its rows and its names are those of one listing."""
    path = stored(tmp_path / "s", range(60))
    script = """
        import sys, numpy as np
        from vggfeat.store.writing import Record, Writer
        with Writer(sys.argv[1], {"scales": [256, 384]}) as writer:
            for i in range(60, 900, 20):
                writer.commit([Record(f"{n}.jpg", None, 4, 3, {q: np.full(5, n, "f4") for q in (256, 384)})
                               for n in range(i, i + 20)])
    """
    writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), path], stderr=subprocess.DEVNULL)
    sizes = set()
    while writer.poll() is None:
        X, paths, labels = read_npz(export(path, tmp_path / "x.npz", normalize="none"))
        assert len(X) == len(paths) == len(labels)
        assert all(X[n, 0] == n for n, name in enumerate(paths) if n >= 60 and name == f"{n}.jpg")
        assert not any(X[60:].min(1, initial=np.inf) < 60)
        sizes.add(len(X))
    assert writer.returncode == 0 and len(sizes) > 1


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_little_memory_for_a_large_store(tmp_path, suffix):
    """16 MB of vectors, two stores of 8, pass through a fraction of that."""
    stores = [stored(tmp_path / net, range(4000), dim=512, parts=40, seed=n) for n, net in enumerate("DE")]
    tracemalloc.start()
    export(stores, tmp_path / f"x{suffix}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / f"x{suffix}").stat().st_size > 16e6
    assert peak < 8e6
