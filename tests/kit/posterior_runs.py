"""Runs with made-up posteriors, as the evaluation stores them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat.data.imagenet import Classified
from vggfeat.evaluate.classes import Outputs, match_classes
from vggfeat.evaluate.finished import write_facts
from vggfeat.evaluate.runs import facts_of
from vggfeat.store.writing import Record, Writer


def make_run(
    path: Path,
    posteriors: Mapping[int, Any],
    truth: Sequence[int] | None,
    *,
    net: str = "D",
    width: float = 1.0,
    sha256: str = "",
    method: str = "dense",
    precision: str = "float32",
    train_scale: tuple[int, ...] | None = None,
    classes: Sequence[str] = ("a", "b", "c"),
    outputs: Sequence[str] | None = None,
    named: Mapping[str, str] | None = None,
    failures: Mapping[str, str] | None = None,
    data: str = "set val",
    order: Sequence[int] | None = None,
    first: int = 0,
    facts: bool = True,
) -> Path:
    """A run of N images, from Q -> (N, K), in two parts. Returns `path`.

    The images are 0.jpg, 1.jpg, ..., from number `first` on, and stored in this `order`. truth : the class number of
    each image; None for a test set. outputs : names of the K columns, by default the data set's `classes`. named : as
    the file --classes. facts : whether the run is finished.
    """
    matrices = {q: np.asarray(matrix, np.float32) for q, matrix in posteriors.items()}
    count = len(next(iter(matrices.values())))
    made = {
        "net": net,
        "width": width,
        "weights_sha256": sha256 or f"{net}-{width}-{train_scale}",
        "layer": "fc8",
        "scales": list(matrices),
        "method": method,
        "precision": precision,
    }
    labels = None if truth is None else [classes[i] for i in truth]
    with Writer(path, made, weights="made up") as writer:
        writer.failures.update(failures or {})
        rows = [
            Record(f"{first + i}.jpg", labels[i] if labels else None, 10, 10, {q: m[i] for q, m in matrices.items()})
            for i in order or range(count)
        ]
        writer.commit(rows[: count // 2])  # two parts
        writer.commit(rows[count // 2 :])
    paths = sorted([f"{i}.jpg" for i in range(count)] + list(failures or {}))
    numbers = None if truth is None else np.zeros(len(paths), np.int64)
    if facts:
        images = Classified(data, tuple(classes), paths, [Path(name) for name in paths], numbers)
        outputs = outputs or classes
        places = match_classes(outputs, classes, named, partial=True)
        write_facts(path, facts_of(images, Outputs(str(path), outputs, places), train_scale))
    return path
