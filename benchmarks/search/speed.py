"""A search among a million descriptors, against exact search by faiss in the same run.

    python benchmarks/search/speed.py STORE --rows 1000000 --out benchmarks/search/results/cpu.json

The descriptors are those of a real store, perturbed: each is a mixture of two of its rows, the second with a share of 0
to 1/2, to which noise of a random length of 0 to --noise times its own is added; values below 0 become 0, as after a
ReLU. The queries are made in the same way by another seed, so that none of them is in the index. They are written as a
store, `vggfeat index build` makes its index, and each query is searched alone, as in a loop over photos. The truth is
what faiss finds among all rows in float32. What it finds among the rows as the index stores them, and in float16, shows
what rounding alone costs. The fewer real rows, the nearer are the neighbours, and the more it costs.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np

from vggfeat import Index, load
from vggfeat.store import Store
from vggfeat.store.identity import Identity
from vggfeat.store.writing import Record, Writer

K = 10
PART = 20_000
LOOPED = 50  # queries that exact search answers one by one


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("store", type=Path)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--real", type=int, help="so many rows of STORE; default: all")
    options.add_argument("--queries", type=int, default=1000)
    options.add_argument("--noise", type=float, default=0.5)
    options.add_argument("--folder", type=Path, help="where to make the temporary store")
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    real = load(chosen.store, normalize="none").X[: chosen.real]
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        store = Path(folder) / "photos.vggfeat"
        write_store(store, Store(chosen.store), real, chosen.rows, chosen.noise)
        Q = unit(perturbed(real, chosen.queries, chosen.noise, np.random.default_rng([1, 0])))
        result = {
            "settings": {"rows": chosen.rows, "dim": real.shape[1], "real_rows": len(real), "noise": chosen.noise},
            "machine": {"cores": os.cpu_count(), "processor": platform.processor(), "faiss": faiss.__version__},
            "build": built(store),
            **searched(store, Q),
        }
    text = json.dumps(result, indent=1)
    print(text)
    if chosen.out:
        chosen.out.write_text(text + "\n")


def perturbed(real: np.ndarray, count: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    first, second = rng.integers(len(real), size=(2, count))
    share = rng.random((count, 1), np.float32) / 2
    mixed = (1 - share) * real[first] + share * real[second]
    added = rng.standard_normal(mixed.shape, np.float32)
    length = noise * rng.random((count, 1), np.float32) * np.linalg.norm(mixed, axis=1, keepdims=True)
    return np.maximum(mixed + added / np.linalg.norm(added, axis=1, keepdims=True) * length, 0)


def unit(X: np.ndarray) -> np.ndarray:
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def write_store(path: Path, like: Store, real: np.ndarray, rows: int, noise: float) -> None:
    """A store of perturbed descriptors at one scale."""
    scale = like.scales[0]
    fingerprint = {**like.fingerprint, "scales": [scale]}
    fingerprint.pop("dtype", None)
    with Writer(path, fingerprint) as writer:
        for start in range(0, rows, PART):
            some = perturbed(real, min(PART, rows - start), noise, np.random.default_rng([0, start]))
            named = [(f"{start + i:08}.jpg", Identity(1, 1, f"{start + i:064x}")) for i in range(len(some))]
            writer.commit(
                [Record(n, None, 1, 1, {scale: row}, known) for (n, known), row in zip(named, some, strict=True)]
            )


def built(store: Path) -> dict[str, object]:
    """The command in a process of its own: seconds, the most memory it takes, and bytes on disk."""
    code = (
        "import json, resource, sys, vggfeat.cli; sys.argv = ['vggfeat', 'index', 'build', sys.argv[1]]\n"
        "try: vggfeat.cli.main()\n"
        "except SystemExit: pass\n"
        "print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
    )
    start = time.perf_counter()
    ran = subprocess.run([sys.executable, "-c", code, store], check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - start
    said, most = ran.stdout.strip().rsplit("\n", 1)
    files = {file.name.split("-")[0]: file.stat().st_size for file in (store / "_index").glob("*.bin")}
    state = json.loads((store / "_index" / "index.json").read_text())
    lists = {key: state["lists"][key] for key in ("count", "dim", "probes", "candidates", "recall")}
    return {
        "seconds": round(seconds, 1),
        "peak_rss_mb": int(most) // 1024,
        "disk_mb": {name: round(size / 1e6, 1) for name, size in sorted(files.items())},
        "lists": lists,
        "said": said.split(": ", 1)[1],
    }


def searched(store: Path, Q: np.ndarray) -> dict[str, object]:
    before = resident_mb()
    start = time.perf_counter()
    index = Index(store)
    index.nearest(Q[0], K)
    opened = time.perf_counter() - start
    found, seconds = one_by_one(lambda q: index.nearest(q, K).rows[0], Q)
    after = resident_mb()
    X = load(store).X
    flat = faiss.IndexFlatIP(X.shape[1])
    flat.add(X)
    start = time.perf_counter()
    _, truth = flat.search(Q, K)
    batch = (time.perf_counter() - start) / len(Q)
    _, exact = one_by_one(lambda q: flat.search(q[None], K)[1][0], Q[:LOOPED])
    return {
        "vggfeat": {
            "recall_at_10": recall(found, truth),
            "ms_a_query": times(seconds),
            "open_seconds": round(opened, 2),
            "resident_mb": {
                "more_than_before": round(after["all"] - before["all"]),
                "mapped_files": round(after["file"]),
            },
        },
        "faiss_exact": {
            "ms_a_query": times(exact),
            "ms_a_query_in_a_batch": round(1000 * batch, 2),
            "matrix_mb": round(X.nbytes / 1e6),
        },
        "recall_of_exact_search": {
            "rows_of_the_index": recall(exact_search(flat, Q, index.descriptors), truth),
            "float16": recall(exact_search(flat, Q, lambda rows: X[rows].astype(np.float16).astype(np.float32)), truth),
        },
        "ratio_of_medians": round(float(np.median(exact) / np.median(seconds)), 1),
        "queries": len(Q),
        "load_average": [round(one, 1) for one in os.getloadavg()],
    }


def exact_search(flat, Q: np.ndarray, rows) -> np.ndarray:
    """What exact search finds among as many rows as `flat` has. rows : gives some of them."""
    numbers = np.arange(flat.ntotal)
    flat.reset()
    for start in range(0, len(numbers), PART):
        flat.add(rows(numbers[start : start + PART]))
    return flat.search(Q, K)[1]


def recall(found, truth) -> float:
    return round(float(np.mean([np.isin(one, other).mean() for one, other in zip(truth, found, strict=True)])), 4)


def one_by_one(search, Q: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    found, seconds = [], []
    for q in Q:
        start = time.perf_counter()
        found.append(search(q))
        seconds.append(time.perf_counter() - start)
    return found, np.array(seconds)


def times(seconds: np.ndarray) -> dict[str, float]:
    shown = {"median": 50, "p95": 95, "p99": 99}
    return {name: round(float(np.percentile(1000 * seconds, q)), 2) for name, q in shown.items()}


def resident_mb() -> dict[str, float]:
    """Resident memory of this process: all of it, and that of mapped files, which the system can take back."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[key].split()[0]) / 1024 for name, key in (("all", "VmRSS"), ("file", "RssFile"))}


if __name__ == "__main__":
    main()
