"""Models of the three colours of a small store of photos, whose margins are given."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tests.kit.explorers import CLASSES
from vggfeat.model.file import Content
from vggfeat.model.held_out import HeldOutPhotos

NAMES = tuple(sorted(CLASSES))
FACTS = {
    "net": "A", "width": 1, "weights_sha256": "0" * 64, "preprocessing": {}, "layer": "pool5", "mirror": True,
    "pooling": "floor", "precision": "float32", "rescaling": "antialiased",
}  # fmt: skip


def content(
    store: Path,
    paths: Sequence[str],
    margins: ArrayLike,
    labels: Sequence[int] | None = None,
    sha256: Sequence[str] | None = None,
) -> Content:
    """A model of three colours that trained on photos of a store; by default their labels are their folders."""
    labels = labels or [NAMES.index(path.split("/")[0]) for path in paths]
    sha256 = sha256 or [""] * len(paths)
    held = HeldOutPhotos(str(store), tuple(paths), tuple(sha256), np.array(labels), np.array(margins, np.float32))
    return Content(
        classes=NAMES, coef=np.zeros((3, 8), np.float32), intercept=np.zeros(3, np.float32), agg="mean", C=1.0,
        temperature=0.5, threshold=0.0, keep=0.95, weights="slim", fingerprint={**FACTS, "scales": [64]}, figures={},
        held_out=held,
    )  # fmt: skip
