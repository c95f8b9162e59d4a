"""Stores of given vectors, and photos that are almost the same."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from vggfeat.store.identity import Identity
from vggfeat.store.writing import Record, Writer

FINGERPRINT = {"net": "D", "layer": "fc7", "scales": [256]}


def unit_rows(n: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clustered(n: int, dim: int = 32, seed: int = 0, clusters: int = 20) -> np.ndarray:
    """Rows in clusters, as photos of several subjects."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((clusters, dim))
    rows = centres[rng.integers(clusters, size=n)] + 0.5 * rng.standard_normal((n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def named(n: int, first: int = 0) -> list[str]:
    return [f"{first + i:04}.jpg" for i in range(n)]


def write(
    path: Path, X: np.ndarray, names: Sequence[str], number: int = 0, content: str = "", fingerprint: dict = FINGERPRINT
) -> Path:
    """Add a part with a row for each vector. content : another one makes another file of the same name."""
    with Writer(path, fingerprint) as writer:
        writer.commit(
            [
                Record(
                    name, "cat", 640, 480, {256: x}, Identity(1, 1, sha256(f"{name} {content}".encode()).hexdigest())
                )
                for name, x in zip(names, X, strict=True)
            ],
            number,
        )
    return path
