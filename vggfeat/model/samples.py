"""The labelled photos that train a model, as descriptors in memory."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from vggfeat._util.left_out import LeftOut
from vggfeat._util.memory import free_memory
from vggfeat._util.printable import printable
from vggfeat.aggregate import aggregate
from vggfeat.decisions import Decision
from vggfeat.errors import DataError, StoreError
from vggfeat.extraction.decided import REMOVED, UNKNOWN
from vggfeat.spec import Aggregation
from vggfeat.store import Store, load

COPIES = 5  # of all descriptors in memory at the same time: stored, aggregated, and three in the solver
UNLABELLED = "photos without a label, left out"
TOO_MANY = "photos left out, because {most:,} train at most (--most)"
NO_MEMORY = "photos left out, because the memory holds {most:,}"


class Candidate(NamedTuple):
    """A way to make one descriptor of the stored ones: which scales, and how they are aggregated."""

    scales: tuple[int, ...]
    agg: Aggregation = "mean"

    def __str__(self) -> str:
        return f"Q={','.join(map(str, self.scales))}" + (f" ({self.agg})" if len(self.scales) > 1 else "")


@dataclass(frozen=True, eq=False)
class Samples:
    """N photos of K classes.

    scales : the descriptors of each scale Q, float32 (N, C), not normalised. labels : int (N,), places in `classes`.
    paths : N names. sha256 : N checksums, "" for an unknown one. remarks : what was left out. store : the folder of
    their store, an absolute path; "" for none.
    """

    scales: Mapping[int, np.ndarray]
    labels: np.ndarray
    classes: tuple[str, ...]
    paths: Sequence[str]
    sha256: Sequence[str]
    remarks: LeftOut = field(default_factory=LeftOut)
    store: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def matrix(self, candidate: Candidate, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The descriptors of a candidate, float32 (n, dim), of norm 1."""
        return aggregate([self.scales[q][rows] for q in candidate.scales], candidate.agg)


def samples_of_store(
    store: Store, most: int, seed: int, decisions: Mapping[str, Decision] = MappingProxyType({})
) -> Samples:
    """The labelled photos of a store, after a user's decisions about them.

    Raises DataError if they cannot train a model, and StoreError.
    """
    remarks, name = LeftOut(), str(store.path)
    table = store.read(["path", "label", "sha256"])
    paths, found = np.array(table["path"].to_pylist(), object), table["label"].to_pylist()
    removed = _decide(paths, found, decisions, remarks)
    labelled = np.array([label is not None for label in found])
    remarks.add(UNLABELLED, *paths[~labelled & ~removed])
    if not labelled.any():
        raise DataError(
            f"{name}: its photos have no labels; put those of each class into a folder of its own, such as "
            "photos/cat/1.jpg, or give a list with the columns path and label"
        )
    classes, labels = classes_of([label for label in found if label is not None], paths[labelled], name)
    rows = np.flatnonzero(labelled)
    fits = _rows_in_memory(store)
    kept = drawn(labels, min(most, fits), seed)
    reason = NO_MEMORY.format(most=fits) if fits < most else TOO_MANY.format(most=most)
    remarks.add(reason, *np.delete(paths[rows], kept))
    rows, labels = rows[kept], labels[kept]
    X = load(store.path, agg="stack", normalize="none", rows=rows).X
    refuse_not_finite(X, paths[rows], name)
    return Samples(
        scales=dict(zip(store.scales, np.split(X, len(store.scales), axis=1), strict=True)),
        labels=labels,
        classes=tuple(map(str, classes)),
        paths=paths[rows].tolist(),
        sha256=[checksum or "" for checksum in table["sha256"].take(rows).to_pylist()],
        remarks=remarks,
        store=os.path.realpath(store.path),
    )


def _decide(
    paths: np.ndarray, labels: list[str | None], decisions: Mapping[str, Decision], remarks: LeftOut
) -> np.ndarray:
    """Change the labels as it was decided, to None for a removed photo. Returns which are removed, bool (N,)."""
    removed = np.zeros(len(paths), bool)
    unknown = set(decisions)
    for row, path in enumerate(paths):
        if (decision := decisions.get(path)) is None:
            continue
        unknown.discard(path)
        if decision.decision == "remove":
            labels[row], removed[row] = None, True
            remarks.add(REMOVED, path)
        elif decision.decision == "relabel":
            labels[row] = decision.label
    remarks.add(UNKNOWN, *unknown)
    return removed


def classes_of(labels: Any, paths: Sequence[str], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The classes, sorted (K,), and the class of each photo, int (N,).

    Raises DataError for one class only, and for a class with one photo.
    """
    classes, numbers, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    if len(classes) < 2:
        only = printable(str(classes[0]))
        deeper = {path.split("/")[1] for path in paths if path.count("/") > 1}
        inside = f"; the class is the first folder: to use the folders in it, give {only} as the source"
        wrong = f"{name}: all photos are of one class, {only}; at least two are needed"
        raise DataError(wrong + (inside if len(deeper) > 1 else ""))
    if (counts < 2).any():
        single = np.flatnonzero(counts < 2)
        example = paths[int(np.flatnonzero(numbers == single[0])[0])]
        others = f" and {len(single) - 1} more" if len(single) > 1 else ""
        raise DataError(
            f"{name}: class {printable(str(classes[single[0]]))}{others} has one photo, {printable(str(example))}; "
            "each class needs two at least: add some, or leave the class out"
        )
    return classes, numbers


def refuse_not_finite(X: np.ndarray, paths: Sequence[str], name: str) -> None:
    """Raise StoreError for a descriptor with NaN or infinite values."""
    finite = np.isfinite(X.sum(axis=1))
    if not finite.all():
        bad = printable(str(paths[int(finite.argmin())]))
        raise StoreError(f"{name}: the descriptor of {bad} has values that are not finite; extract it into a new store")


def drawn(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Which photos train, ascending: all, or about `most` at random, as evenly from the classes as possible."""
    counts = np.bincount(labels)
    if len(labels) <= most:
        return np.arange(len(labels))
    per_class = max((n for n in range(2, most) if np.minimum(counts, n).sum() <= most), default=2)
    order = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels))
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < per_class])


def _rows_in_memory(store: Store) -> int:
    """How many rows of a store can train with the memory that is free."""
    return free_memory() // (4 * store.length * len(store.scales) * COPIES)
