"""Descriptors of three scales behind each other: 12,288 values for each photo."""

import numpy as np
import pytest

from tests.kit.vector_stores import named
from vggfeat.index import build
from vggfeat.store.identity import Identity
from vggfeat.store.writing import Record, Writer

pytest.importorskip("faiss", reason="needs faiss: pip install 'vggfeat[index]'")

SCALES, ROWS, QUERIES = (256, 384, 512), 1200, 100


def photos(n):
    """float32 (n, 3, 4096): three views, each with its own values, of things that have twenty properties."""
    rng = np.random.default_rng(0)
    properties = rng.standard_normal((n, 20))
    return np.maximum(properties @ rng.standard_normal((3, 20, 4096)), 0).transpose(1, 0, 2).astype(np.float32)


@pytest.mark.slow
def test_many_values_are_searched_among_candidates_and_twins_are_found(tmp_path):
    made = photos(ROWS + QUERIES)
    made[1] = made[0] + np.random.default_rng(1).normal(scale=0.05, size=made[0].shape)  # a near twin
    rows = [
        Record(name, None, 640, 480, dict(zip(SCALES, views, strict=True)), Identity())
        for name, views in zip(named(ROWS), made, strict=False)
    ]
    with Writer(tmp_path / "s", {"net": "D", "layer": "fc7", "scales": list(SCALES)}) as writer:
        writer.commit(rows)
    X = made.reshape(len(made), -1)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    index = build(tmp_path / "s", agg="stack", exact_rows=100)
    found = index.nearest(X[ROWS:], 10)
    truth = np.argsort(-(X[ROWS:] @ X[:ROWS].T), axis=1)[:, :10]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, found.rows, strict=True)])
    assert X.shape[1] == 12_288
    assert min(recall, index.recall.value) >= 0.98
    assert found.cosines[:, 0] == pytest.approx((X[ROWS:] @ X[:ROWS].T).max(axis=1), abs=1e-3)
    assert [row.path for row in index.duplicates().rows] == named(2)
