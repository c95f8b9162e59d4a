"""Splits in a file, by the names of the images: to publish them, and to measure on published ones.

    {"benchmark": "caltech101",
     "splits": [{"seed": 0, "train": ["Faces/image_0001.jpg", ...], "validation": [...], "test": [...]}, ...]}

`validation` names those of `train` that choose C before all of them train; if it is left out, C is chosen as
in the benchmark.
"""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat._util.files import write_text
from vggfeat._util.json_files import read_json
from vggfeat._util.printable import reason_of
from vggfeat.bench.protocol import Fold, Splits, hold_out, shared_image
from vggfeat.data import ImageSet
from vggfeat.errors import DataError

FILE_BYTES = 2**28
MAX_SEED = 2**63 - 1

Choose = Callable[..., np.ndarray | None]


def write_splits(splits: Splits, images: ImageSet, benchmark: str, file: Path) -> None:
    """Write splits with the names of their images. Raises DataError if the file cannot be written."""
    listed = [
        {"seed": seed, **{part: [images.paths[i] for i in rows] for part, rows in fold.named().items()}}
        for seed, fold in splits.by_seed.items()
    ]
    try:
        write_text(file, json.dumps({"benchmark": benchmark, "splits": listed}, indent=0, ensure_ascii=False) + "\n")
    except OSError as error:
        raise DataError(f"{file}: cannot be written ({reason_of(error)}); name another file") from error


def read_splits(file: Path, images: ImageSet, benchmark: str, choose: Choose = hold_out) -> Splits:
    """The splits of a file, as rows of an image set. choose : as `Protocol.validation`, for splits without one.

    Raises DataError, one line, for a file that cannot be read, belongs to another benchmark, names an image twice or
    one that the set does not have, or has a training image in its test.
    """
    given = _read(file)
    if given.get("benchmark") != benchmark:
        raise DataError(f"{file}: has the splits of {given.get('benchmark')!r}, not of {benchmark}; name another file")
    place = {path: i for i, path in enumerate(images.paths)}
    listed = given.get("splits")
    if not isinstance(listed, list) or not listed:
        raise DataError(f'{file}: has no splits; it needs {{"benchmark": ..., "splits": [{{"train": [...], ...}}]}}')
    by_seed: dict[int, Fold] = {}
    for number, one in enumerate(listed):
        seed = one.get("seed", number) if isinstance(one, dict) else None
        if not isinstance(seed, int) or not 0 <= seed <= MAX_SEED or seed in by_seed:
            raise DataError(f"{file}: split {number} has no seed of its own; give each split a different whole number")
        by_seed[seed] = _fold(f"{file}: split {seed}", one, images, place, partial(choose, seed=seed))
    return Splits(by_seed, {"splits": f"given, sha256 {_digest(by_seed, images)}"})


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_json(file, dict[str, Any], FILE_BYTES)
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        raise DataError(f"{file}: cannot be read as splits ({reason}); name another file") from error


def _fold(where: str, one: dict[str, Any], images: ImageSet, place: dict[str, int], choose: Choose) -> Fold:
    train, test = (_rows(where, part, one.get(part), images, place) for part in ("train", "test"))
    # Samples that share an image share its descriptor: they stay on the same side.
    seen = {shared_image(images, i) for i in train}
    if common := sorted(seen & {shared_image(images, i) for i in test}):
        raise DataError(f"{where} has {len(common)} images in train and test, such as {common[0]}; keep each in one")
    if "validation" not in one:
        return Fold(train, choose(images, train), test)
    validation = _rows(where, "validation", one["validation"], images, place)
    if strange := np.setdiff1d(validation, train).tolist():
        raise DataError(f"{where}: {images.paths[strange[0]]} is in validation but not in train; add it to train")
    return Fold(train, validation, test)


def _rows(where: str, part: str, names: Any, images: ImageSet, place: dict[str, int]) -> np.ndarray:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where} has no {part}; give a list of names such as {images.paths[0]!r}")
    unknown = [name for name in names if name not in place]
    if unknown:
        raise DataError(
            f"{where} names {len(unknown)} images that {images.name} does not have, such as {unknown[0]!r}; remove them"
        )
    rows = np.unique([place[name] for name in names])
    if len(rows) < len(names):
        raise DataError(f"{where} names an image twice in {part}; remove one")
    return rows


def _digest(by_seed: dict[int, Fold], images: ImageSet) -> str:
    names = [
        [seed, *([images.paths[i] for i in rows] for rows in fold.named().values())]
        for seed, fold in sorted(by_seed.items())
    ]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]
