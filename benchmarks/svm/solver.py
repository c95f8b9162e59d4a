"""The SVM solvers side by side: time, objectives and scores on held-out images, at the size of Caltech-101.

    python benchmarks/svm/solver.py caltech101 --store STORE --wide --every 6 --out results/caltech101-wide.json
    python benchmarks/svm/solver.py caltech256 --out results/caltech256.json

caltech101: 30 training images of each of 102 classes (3,060), the others test. The store holds descriptors of real
photos; where they are pool5's, --wide makes stand-ins for three scales of fc7 of them: three random layers of 4,096
with ReLU, each L2-normalised, stacked and normalised. liblinear trains every sixth class (--every 1: all).
caltech256: 15,420 x 24,576 synthetic descriptors of 257 classes, `newton` alone: time, peak memory, and objectives
against lower bounds of five classes.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score

import vggfeat
from vggfeat.metrics import mean_class_recall
from vggfeat.svm import CS, SOLVERS
from vggfeat.svm.kernel import Gram
from vggfeat.svm.problem import Problem, Solution, solve_whole
from vggfeat.svm.settings import NewtonTuning, SolverSettings

PER_CLASS = 30
WITHIN = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["caltech101", "caltech256"])
    parser.add_argument("--store", type=Path, help="of descriptors of Caltech-101")
    parser.add_argument("--wide", action="store_true", help="12,288-D stand-ins instead of what is in the store")
    parser.add_argument("--every", type=int, default=6, help="liblinear trains every so-many-th class")
    parser.add_argument("--rounds", type=int, default=3, help="of newton")
    parser.add_argument("--share", type=float, default=1.0, help="of Caltech-256's size, each way")
    parser.add_argument("--jobs", type=int, default=-1, help="cores; with 1, CPU seconds are recorded too")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    record = {"caltech101": caltech101, "caltech256": caltech256}[options.what](options)
    settings = {name: value for name, value in vars(options).items() if name not in ("out", "store")}
    text = json.dumps({"settings": settings, "machine": machine(), **record}, indent=1)
    options.out.write_text(text + "\n")
    print(text)


def caltech101(options: argparse.Namespace) -> dict[str, Any]:
    descriptors = vggfeat.load(options.store)
    names, labels = np.unique(np.asarray(descriptors.labels), return_inverse=True)
    X = wide(descriptors.X) if options.wide else descriptors.X
    train = first_of_each(labels, PER_CLASS, seed=0)
    problem = one_vs_rest(X[train], labels[train])
    some = np.arange(0, len(names), options.every)
    fewer = Problem(problem.X, problem.positive[:, some], problem.ignore[:, some])

    rounds = [timed("newton", problem, options.jobs) for _ in range(options.rounds)]
    ours, theirs = rounds[0][0], timed("liblinear", fewer, options.jobs)
    part = Solution(ours.coef[:, some], ours.intercept[:, some], ours.converged[:, some])
    times = {clock: statistics.median(one[1][clock] for one in rounds) for clock in rounds[0][1]}
    share = len(some) / len(names)
    return {
        "train": list(problem.X.shape),
        "test": int((~train).sum()),
        "classes": {"newton": len(names), "liblinear": len(some)},
        "newton": {clock: round(value, 2) for clock, value in times.items()},
        "its Gram matrix alone": gram_seconds(problem.X, options.jobs),
        "liblinear": {clock: round(value, 2) for clock, value in theirs[1].items()},
        "ratio, a fit against a fit": {
            clock: round(theirs[1][clock] / share / value, 1) for clock, value in times.items()
        },
        "not converged": {"newton": int((~ours.converged).sum()), "liblinear": int((~theirs[0].converged).sum())},
        "objective, relative to liblinear's": compare_objectives(fewer, part, theirs[0]),
        "points": compare_scores(X[~train], labels[~train], some, part, theirs[0]),
    }


def wide(X: np.ndarray) -> np.ndarray:
    """(N, D) -> (N, 12288), norm 1."""
    rng = np.random.default_rng(0)
    layers = [np.maximum(X @ rng.standard_normal((X.shape[1], 4096), dtype=np.float32), 0) for _ in range(3)]
    return normalised(np.hstack([normalised(layer) for layer in layers]))


def normalised(X: np.ndarray) -> np.ndarray:
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def first_of_each(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """bool (N,): so many of each class, at random."""
    chosen = np.zeros(len(labels), bool)
    order = np.random.default_rng(seed).permutation(len(labels))
    for label in np.unique(labels):
        chosen[order[labels[order] == label][:count]] = True
    return chosen


def one_vs_rest(X: np.ndarray, labels: np.ndarray) -> Problem:
    positive = labels[:, None] == np.unique(labels)
    return Problem(X, positive, np.zeros_like(positive))


def timed(solver: str, problem: Problem, jobs: int, device: str = "cpu") -> tuple[Solution, dict[str, float]]:
    """The solution at all C, and its seconds; of the CPU only where one process did it all."""
    wall, cpu = time.perf_counter(), time.process_time()
    solution = solve_whole(SOLVERS[solver](problem, SolverSettings(jobs, device=device)), problem, CS)
    seconds = {"wall_s": time.perf_counter() - wall}
    if jobs == 1:
        seconds["cpu_s"] = time.process_time() - cpu
    print(solver, seconds, flush=True)
    return solution, seconds


def gram_seconds(X: np.ndarray, jobs: int) -> dict[str, float]:
    before = torch.get_num_threads()
    torch.set_num_threads(jobs if jobs > 0 else before)
    wall, cpu = time.perf_counter(), time.process_time()
    Gram(torch.from_numpy(X), torch.float32, torch.device("cpu"), NewtonTuning())
    seconds = {"wall_s": round(time.perf_counter() - wall, 2), "cpu_s": round(time.process_time() - cpu, 2)}
    torch.set_num_threads(before)
    return seconds


def compare_objectives(problem: Problem, ours: Solution, theirs: Solution) -> dict[str, float]:
    mine, other = objectives(problem, ours), objectives(problem, theirs)
    difference = (mine - other) / other
    return {"largest": float(f"{difference.max():.1e}"), "smallest": float(f"{difference.min():.1e}")}


def objectives(problem: Problem, solution: Solution) -> np.ndarray:
    """(len(CS), K), in float64."""
    norms = (solution.coef.astype(float) ** 2).sum(2) + solution.intercept.astype(float) ** 2
    found = [(losses(problem, solution, i) ** 2).sum(0) for i in range(len(CS))]
    return norms / 2 + np.array(CS)[:, None] * np.array(found)


def losses(problem: Problem, solution: Solution, i: int) -> np.ndarray:
    """Of each sample in each class's problem (N, K) at the i-th C, in float64."""
    coef, intercept = solution.coef[i].astype(float), solution.intercept[i].astype(float)
    strips = (problem.X[start : start + 1024] for start in range(0, len(problem.X), 1024))
    scores = np.vstack([strip.astype(float) @ coef.T for strip in strips]) + intercept
    return np.maximum(0, 1 - np.where(problem.positive, 1, -1) * scores)


def lower_bounds(problem: Problem, solution: Solution) -> np.ndarray:
    """Of the minimal objectives, (len(CS), K), in float64: dual objectives, from the systems on the supports found."""
    bounds = np.zeros((len(CS), problem.positive.shape[1]))
    for i, C in enumerate(CS):
        for k, loss in enumerate(losses(problem, solution, i).T):
            X, y = problem.X[loss > 0].astype(float), np.where(problem.positive[loss > 0, k], 1.0, -1.0)
            G = X @ X.T + 1
            a = np.maximum(0, y * np.linalg.solve(G + np.eye(len(y)) / (2 * C), y))
            bounds[i, k] = a.sum() - (a * y) @ G @ (a * y) / 2 - a @ a / (4 * C)
    return bounds


def compare_scores(X: np.ndarray, labels: np.ndarray, classes: np.ndarray, *both: Solution) -> dict[str, Any]:
    """Per cent at each C, and the largest difference: mean AP (scikit-learn's), and recall where all classes are."""
    table: dict[str, Any] = {"mean AP": [[], []], "mean class recall": [[], []]}
    for row, solution in enumerate(both):
        for coef, intercept in zip(solution.coef, solution.intercept, strict=True):
            scores = X @ coef.T + intercept
            found = [average_precision_score(labels == k, column) for k, column in zip(classes, scores.T, strict=True)]
            table["mean AP"][row].append(round(100 * float(np.mean(found)), 3))
            if len(classes) == labels.max() + 1:
                recall = mean_class_recall(scores.argmax(1), labels, len(classes))
                table["mean class recall"][row].append(round(100 * recall, 3))
    known = {name: np.array(rows) for name, rows in table.items() if rows[0]}
    return {
        name: {"newton": rows[0].tolist(), "liblinear": rows[1].tolist(), "largest": float(np.ptp(rows, axis=0).max())}
        for name, rows in known.items()
    }


def caltech256(options: argparse.Namespace) -> dict[str, Any]:
    n, dim, classes = (round(options.share * size) for size in (15420, 24576, 257))
    labels = np.arange(n) % classes
    X = mixture(labels, dim, seed=0)
    made = peak_gb()
    problem = one_vs_rest(X, labels)
    solution, seconds = timed("newton", problem, options.jobs)
    peak = peak_gb()
    print("peak", peak, "GB", flush=True)
    test_labels = np.arange(10 * classes) % classes
    test = mixture(test_labels, dim, seed=1)
    recalls = [
        round(100 * float((np.argmax(test @ coef.T + intercept, axis=1) == test_labels).mean()), 2)
        for coef, intercept in zip(solution.coef, solution.intercept, strict=True)
    ]
    some = np.arange(0, classes, max(1, classes // 4))
    fewer = Problem(X, problem.positive[:, some], problem.ignore[:, some])
    part = Solution(solution.coef[:, some], solution.intercept[:, some], solution.converged[:, some])
    gaps = (objectives(fewer, part) / lower_bounds(fewer, part) - 1).max(1)
    return {
        "train": [n, dim],
        "classes": classes,
        "newton": {clock: round(value, 1) for clock, value in seconds.items()},
        "peak_gb": {"descriptors made": made, "solved": peak},
        "not converged": int((~solution.converged).sum()),
        "objective over a lower bound, less 1, at each C, five classes": [float(f"{gap:.1e}") for gap in gaps],
        "recall at each C, %": recalls,
    }


def mixture(labels: np.ndarray, dim: int, seed: int) -> np.ndarray:
    """Descriptors (N, dim) of norm 1 around one centre a class, with a spectrum like that of real ones.

    512 latent values with standard deviations 1 / sqrt(1 + i / 8), WITHIN of the variance within a class, through
    a random layer with a bias and ReLU: a mean much longer than all else, a tail, and a floor.
    """
    shared, own = np.random.default_rng(0), np.random.default_rng(seed)
    spread = (1 / np.sqrt(1 + np.arange(512) / 8)).astype(np.float32)
    centres = shared.standard_normal((labels.max() + 1, 512), dtype=np.float32)
    layer = shared.standard_normal((512, dim), dtype=np.float32) * spread[:, None]
    bias = shared.standard_normal(dim, dtype=np.float32) * np.linalg.norm(spread)
    X = np.empty((len(labels), dim), np.float32)
    for start in range(0, len(labels), 1024):
        rows = labels[start : start + 1024]
        latent = own.standard_normal((len(rows), 512), dtype=np.float32) * WITHIN**0.5
        latent += centres[rows] * (1 - WITHIN) ** 0.5
        X[start : start + 1024] = normalised(np.maximum(latent @ layer + bias, 0))
    return X


def peak_gb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)


def machine() -> dict[str, Any]:
    models = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _lines(file: str) -> list[str]:
    return Path(file).read_text().splitlines() if Path(file).exists() else []


if __name__ == "__main__":
    main()
