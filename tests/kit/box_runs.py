"""Runs with made-up boxes, as the evaluation of localisation stores them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat.evaluate.finished import write_facts
from vggfeat.localization.describing import ROW
from vggfeat.localization.predictions import BoxFacts
from vggfeat.store.identity import Identity
from vggfeat.store.writing import Record, Writer

Truth = Mapping[str, tuple[str, Sequence[Sequence[float]]]]  # photo -> label, boxes
SIZE = (100, 100)  # height and width of each photo


def make_box_run(
    path: Path,
    truth: Truth,
    boxes: Mapping[int, Mapping[str, Any]],
    *,
    protocol: int = 2,
    regression: str = "pcr",
    net: str = "D",
    width: float = 1.0,
    sha256: str = "",
    classes: Sequence[str] = ("cat", "dog"),
    constant: Sequence[float] | None = None,
    data: str = "set val",
    train_scale: int | None = None,
    tuned: Any = None,
    failures: Mapping[str, str] | None = None,
    content: str = "",
    keep: int = 10,
    facts: bool = True,
) -> Path:
    """A run of boxes, from Q -> photo -> rows. The rows of photos are stored in the order of the first scale.

    content : stands for the bytes of all photos. facts : whether the run is finished.
    """
    made: dict[str, Any] = {
        "net": net,
        "width": width,
        "weights_sha256": sha256 or f"{net}-{regression}",
        "layer": "boxes",
        "boxes": regression,
        "scales": list(boxes),
        "method": "dense" if protocol == 2 else "centre",
    }
    made |= {"row": list(ROW), "keep": keep} if protocol == 2 else {}
    identity = Identity(1, 1, (content or "0") * 64)
    with Writer(path, made, weights=f"{path.name}.safetensors") as writer:
        writer.failures.update(failures or {})
        vectors = {
            q: {name: np.ravel(rows).astype(np.float32) for name, rows in of_q.items()} for q, of_q in boxes.items()
        }
        names = list(next(iter(boxes.values())))
        records = [
            Record(name, truth[name][0], SIZE[1], SIZE[0], {q: of_q[name] for q, of_q in vectors.items()}, identity)
            for name in names
        ]
        writer.commit(records[:1])  # two parts
        writer.commit(records[1:])
    if facts:
        places = {name: i for i, name in enumerate(classes)}
        true = {name: [list(map(float, box)) for box in of_photo[1]] for name, of_photo in truth.items()}
        given = list(constant) if constant is not None else None
        S = [train_scale] if train_scale else None
        write_facts(path, BoxFacts(data, len(true), list(classes), places, true, given, S, tuned, ["a note"]))
    return path
